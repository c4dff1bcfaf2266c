"""What a kind of job is: how it is done, whether it may be done again, and whether it can be cancelled."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from policies.errors import ExitCode, StrongroomError
from policies.vocabulary import EntityRef
from vault.errors import Conflict, VaultError
from vault.gate import Caller
from vault.jobs.progress import Progress


class Cancelled(VaultError):
    """Somebody cancelled the job. Raised inside its work, so that it takes back what it had begun."""

    code = "job.cancelled"
    exit_code = ExitCode.CONFLICT


class Interrupted(VaultError):
    """The daemon stopped while the job ran. Raised inside work that is begun again at the next start."""

    code = "job.interrupted"


class NotCancellable(Conflict):
    """The job has ended, or has come to where ending it would be worse than going on."""

    code = "job.not_cancellable"


@dataclass(frozen=True, slots=True)
class Ending:
    """How the access under an intent ended, as the log tells.

    Attributes:
        intent: id of the intent's record.
        resource: what was acted on.
        code: of the outcome, `ok` where it was done.
        facts: of the outcome.
        recovered: whether it was settled after a kill, not told by the act itself.
    """

    intent: str
    resource: EntityRef
    code: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    recovered: bool = False


@dataclass(frozen=True, slots=True)
class Kind:
    """How one kind of job is done, and what may be done with it.

    Attributes:
        do: does it under the caller, through the gate, and returns its result; gets the arguments and a progress.
        result: the result of one that was done, made from what its outcome says; None where only doing it again gives
            one. May raise a StrongroomError: what was made is gone again.
        again: it may be begun again after a kill: it has no effect but what it makes.
        cancellable: it can be cancelled while it acts, and then takes back what it made.
        needs_keys: it cannot be done while the key store is sealed.
        taken_back: for what is not begun again: one sentence on what was settled when it was cut off.
        look: what a person should do then.
    """

    do: Callable[[Caller, Mapping[str, Any], Progress], Mapping[str, Any]]
    result: Callable[[Ending], Mapping[str, Any]] | None = None
    again: bool = False
    cancellable: bool = False
    needs_keys: bool = False
    taken_back: str = "What was half done has been settled."
    look: str = "Look at the log for what was settled, then start it again if you still want it."


def error_body(error: StrongroomError) -> dict[str, Any]:
    """The body of an error as INTERFACES fixes it, without the outer `error` key."""
    return {
        "code": error.code,
        "message": error.message,
        "hint": error.hint,
        "exit": int(error.exit_code),
        "record": error.record,
    }


def cancelled_body(record: str | None) -> dict[str, Any]:
    """What a cancelled job shows as its error."""
    error = Cancelled(
        "The job was cancelled; what it had begun was taken back.", "Start it again if you want it."
    )
    error.record = record
    return error_body(error)
