"""Errors of the audit layer: what can go wrong with the log, in words a person can use.

Three families matter to those who catch them: the log cannot be written now, so nothing was done
(`LogUnavailable`); the stored log is not what it was (`LogDamaged`); a verification did not hold
(`VerificationFailed`).
"""

from collections.abc import Mapping

from policies.errors import ExitCode, StrongroomError


class AuditError(StrongroomError):
    """Base of the audit layer's errors."""

    code = "audit.error"


class LogUnavailable(AuditError):
    """A record could not be made durable, so what it would have told of must not happen."""

    code = "log.unavailable"
    exit_code = ExitCode.LOG_UNAVAILABLE


class LogTimeout(LogUnavailable):
    """A record was not durable in time; should it become so later, it is never acted on."""

    code = "log.timeout"


class LogRecovering(LogUnavailable):
    """Intents of an earlier run are not settled yet, so no new intent is taken."""

    code = "log.recovering"


class LogHeld(LogUnavailable):
    """Another process writes this log; a log has one writer."""

    code = "log.held"


class LogKeyRefused(LogUnavailable):
    """The log's signing key is missing, unreadable as one, or readable by others."""

    code = "log.key_refused"


class LogDamaged(AuditError):
    """The stored log contradicts itself, its signed checkpoint, or what was acknowledged before."""

    code = "log.damaged"
    exit_code = ExitCode.INTEGRITY


class NoteInvalid(AuditError):
    """A signed note or checkpoint that is malformed, or that no trusted key has signed."""

    code = "checkpoint.invalid"
    exit_code = ExitCode.INTEGRITY


class EpochInvalid(AuditError):
    """A change of the log's epoch key that does not follow from the key before it."""

    code = "epoch.invalid"
    exit_code = ExitCode.INTEGRITY


class ProofInvalid(AuditError):
    """An inclusion or consistency proof that is malformed, or does not lead to the signed root."""

    code = "proof.invalid"
    exit_code = ExitCode.INTEGRITY


class RecordInvalid(AuditError):
    """A draft or stored bytes without the shape of a record."""

    code = "record.invalid"


class NotCanonical(RecordInvalid):
    """A value or bytes outside the restricted RFC 8785 JSON that records are made of."""

    code = "record.not_canonical"


class RecordNotFound(AuditError):
    """No record has this id or number."""

    code = "record.not_found"
    exit_code = ExitCode.NOT_FOUND


class QueryInvalid(AuditError):
    """A question to the log that cannot be read: a page token or page size out of shape."""

    code = "query.invalid"
    exit_code = ExitCode.BAD_INPUT


class TargetExists(AuditError):
    """A file or folder stands where a new one was to be written; it is never overwritten."""

    code = "audit.target_exists"
    exit_code = ExitCode.CONFLICT


class ExportFailed(AuditError):
    """An export could not be written to its place; nothing half-made stays behind."""

    code = "export.failed"
    exit_code = ExitCode.HOST_FAILURE


class NotAnExport(AuditError):
    """The path given to verify holds no log export at all."""

    code = "verify.not_an_export"
    exit_code = ExitCode.BAD_INPUT


class VerificationImpossible(AuditError):
    """What is to be verified could not be read to its end, or there was no room to sort it."""

    code = "verify.impossible"
    exit_code = ExitCode.HOST_FAILURE


class TrustInvalid(AuditError):
    """A trust file that cannot be read as one."""

    code = "verify.trust_invalid"
    exit_code = ExitCode.BAD_INPUT


class VerificationFailed(AuditError):
    """A verification did not hold.

    Args:
        message: one sentence on what does not hold.
        finding: stable code of what was found, such as `record.changed`.
        seq: number of the first bad record, where one can be named.
        id: its id, where it has one.
        report: the whole report as INTERFACES shapes it, ready for JSON.
    """

    code = "verify.failed"
    exit_code = ExitCode.INTEGRITY

    def __init__(
        self,
        message: str,
        hint: str = "",
        *,
        finding: str,
        seq: int | None = None,
        id: str | None = None,  # noqa: A002 - the record's field has this name
        report: Mapping[str, object],
    ) -> None:
        super().__init__(message, hint)
        self.finding = finding
        self.seq = seq
        self.id = id
        self.report = report
