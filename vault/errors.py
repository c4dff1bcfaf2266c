"""Errors of the vault layer: what can go wrong when acting, in words a person can use.

libvirt, subprocess and database errors are translated into these at the edge. Each type has
a stable `code`; the exit code follows DESIGN's table through `policies.errors.ExitCode`.
"""

from policies.errors import ExitCode, StrongroomError


class VaultError(StrongroomError):
    """Base of the vault layer's errors."""

    code = "vault.error"


class PermitRefused(VaultError):
    """Code tried to act without a fitting permit: a defect of ours, never a user's mistake."""

    code = "gate.permit_refused"


class PolicyDenied(VaultError):
    """The policy said no. `policies` names the deciding policies."""

    code = "policy.denied"
    exit_code = ExitCode.DENIED

    def __init__(self, message: str, hint: str = "", policies: tuple[str, ...] = ()) -> None:
        super().__init__(message, hint)
        self.policies = policies


class EvaluationFailed(PolicyDenied):
    """The policy could not be evaluated, which denies, and is an alarm (`vault.operations.alarms`)."""

    code = "policy.evaluation_failed"


class ApprovalNeeded(VaultError):
    """The policy allows this once an obligation is met."""

    code = "policy.obligation_unmet"
    exit_code = ExitCode.WAITING_FOR_APPROVAL


class NotAuthenticated(VaultError):
    """No session, a wrong password, or a token that expired or was revoked."""

    code = "session.not_authenticated"
    exit_code = ExitCode.DENIED


class BadInput(VaultError):
    """Something a person typed cannot be used; nothing was changed."""

    code = "input.bad"
    exit_code = ExitCode.BAD_INPUT


class NotFound(VaultError):
    """The named thing does not exist, or the caller may not know that it does."""

    code = "not_found"
    exit_code = ExitCode.NOT_FOUND


class Conflict(VaultError):
    """The present state of a thing does not allow the action."""

    code = "conflict"
    exit_code = ExitCode.CONFLICT


class Sealed(VaultError):
    """The key store is sealed."""

    code = "keystore.sealed"
    exit_code = ExitCode.KEY_UNAVAILABLE


class UnsealFailed(VaultError):
    """The seal did not open: wrong passphrase, or a damaged key store."""

    code = "keystore.unseal_failed"
    exit_code = ExitCode.KEY_UNAVAILABLE


class KeyUnavailable(VaultError):
    """A key is missing, destroyed, or the key process refused to hand it out."""

    code = "key.unavailable"
    exit_code = ExitCode.KEY_UNAVAILABLE


class IntentRefused(KeyUnavailable):
    """The key process read the log by itself and found no intent there that covers what was asked."""

    code = "key.intent_refused"


class KeyStoreDamaged(VaultError):
    """The key store's file is not a key store, is cut short, or contradicts itself."""

    code = "keystore.damaged"
    exit_code = ExitCode.KEY_UNAVAILABLE


class KeyStoreMissing(KeyStoreDamaged):
    """The key store's folder or file is not there: its device was pulled out, or it was removed."""

    code = "keystore.missing"


class KeyStoreOlder(KeyStoreDamaged):
    """The key store contradicts the state: it is an older copy, or another site's."""

    code = "keystore.older"


class DecryptionFailed(VaultError):
    """A wrapped key did not open. One opaque error for every cause, on purpose."""

    code = "key.decryption_failed"
    exit_code = ExitCode.KEY_UNAVAILABLE


class HostFailure(VaultError):
    """The hypervisor or the storage failed."""

    code = "host.failure"
    exit_code = ExitCode.HOST_FAILURE


class HostUnprotected(HostFailure):
    """The host would leave key material on a disk, or lacks another needed protection."""

    code = "host.unprotected"


class IntegrityFailure(VaultError):
    """A file or record is not what it was."""

    code = "integrity.failure"
    exit_code = ExitCode.INTEGRITY


class NotAsPromised(IntegrityFailure):
    """A file that somebody brings does not have the digest they gave: a bad download or a mistyped digest, no alarm."""

    code = "image.not_as_promised"


class OutcomeNotRecorded(VaultError):
    """The act was done, but its outcome could not be recorded; the gate has stopped acting."""

    code = "gate.outcome_not_recorded"
    exit_code = ExitCode.NOT_RECORDED
