"""What can go wrong before a check is even asked: bad snapshots, bad periods, unknown frameworks."""

from policies.errors import ExitCode, StrongroomError


class EvidenceError(StrongroomError):
    """Base of the evidence and report errors."""

    code = "evidence.error"


class SnapshotInvalid(EvidenceError):
    """The snapshot of facts cannot be read as one."""

    code = "evidence.snapshot_invalid"
    exit_code = ExitCode.BAD_INPUT


class PeriodInvalid(EvidenceError):
    """A report's period that is not two instants in order."""

    code = "evidence.period_invalid"
    exit_code = ExitCode.BAD_INPUT


class FrameworkUnknown(EvidenceError):
    """No catalogue of controls has this name."""

    code = "evidence.framework_unknown"
    exit_code = ExitCode.BAD_INPUT


class ReportUnwritable(EvidenceError):
    """The report's files cannot be written where they were asked for."""

    code = "report.unwritable"
    exit_code = ExitCode.HOST_FAILURE


class SignerUnusable(EvidenceError):
    """The key that signs reports is missing, unsafe, out of date, or does not fit its certificate."""

    code = "report.signer_unusable"
    exit_code = ExitCode.HOST_FAILURE
