"""What becomes of a job that an earlier run of the daemon left waiting or running.

Recovery has settled what it was doing before this is asked, so the log knows the end of each intent. The rule that is
kept: an act on a guest is never done twice; only a job whose intent was never acted on, or whose kind has no effect but
what it makes, begins again, and not without end.
"""

import logging
from collections.abc import Callable, Mapping
from typing import Any

from policies.errors import ExitCode, StrongroomError
from vault.jobs.kind import Cancelled, Ending, Interrupted, Kind, cancelled_body, error_body
from vault.model import Job, JobState, utc_now

logger = logging.getLogger(__name__)

#: A job that was begun so often and never ended is not begun again: perhaps it is what kills the daemon.
MAX_ATTEMPTS = 3
GAVE_UP = "job.gave_up"
_DONE = "ok"


def settled(  # noqa: PLR0911 - one line for each end
    job: Job, kind: Kind | None, ending_of: Callable[[str], Ending | None]
) -> dict[str, Any] | None:
    """The end of a job as values of its row; None where it is to begin, for the first time or again.

    Args:
        job: it waits, or ran when the daemon was stopped.
        kind: how it is done; None where this version knows no such kind.
        ending_of: how the access under an intent ended.
    """
    if kind is None or job.arguments is None or job.caller is None:
        return _failed(_cut_off(Kind(_nothing), None))
    if job.state == JobState.WAITING:
        # It may have been cancelled in the moment in which a stop of the daemon sent it back to wait.
        return None if job.cancelled_by is None else _ended(JobState.CANCELLED, error=cancelled_body(None))
    ending = ending_of(job.intent) if job.intent is not None else None
    if ending is not None and ending.code == _DONE and (kind.result is not None or not kind.again):
        return _done(_result(kind, ending))
    if job.cancelled_by is not None or (ending is not None and ending.code == Cancelled.code):
        return _ended(JobState.CANCELLED, error=cancelled_body(job.intent))
    if ending is not None and not kind.again:
        return _failed(_cut_off(kind, ending) if ending.recovered else _failed_by_itself(ending))
    if job.attempt >= MAX_ATTEMPTS:
        return _failed(_gave_up(job))
    return None


def _result(kind: Kind, ending: Ending) -> Mapping[str, Any]:
    if kind.result is None:
        return {}
    try:
        return kind.result(ending)
    except StrongroomError as error:
        # It was done; what it made has gone since, as a guest that another deleted.
        logger.warning("The result of a job that was done cannot be shown: %s", error.message)
        return {}


def _done(result: Mapping[str, Any]) -> dict[str, Any]:
    return _ended(JobState.DONE, percent=100, sentence="Done.", result=dict(result))


def _failed(error: Mapping[str, Any]) -> dict[str, Any]:
    return _ended(JobState.FAILED, error=dict(error))


def _ended(state: JobState, **values: object) -> dict[str, Any]:
    return {"state": state, "ended_at": utc_now(), **values}


def _cut_off(kind: Kind, ending: Ending | None) -> dict[str, Any]:
    error = Interrupted(f"The daemon was stopped while this ran. {kind.taken_back}", kind.look)
    error.record = ending.intent if ending is not None else None
    return error_body(error)


def _failed_by_itself(ending: Ending) -> dict[str, Any]:
    """It had failed, and its outcome says why, when the daemon was stopped before the job could say so too."""
    return {
        "code": ending.code,
        "message": "It failed just before the daemon was stopped; the record tells the code of the failure.",
        "hint": "Start it again to see the whole sentence.",
        "exit": int(_exit_code(ending.code)),
        "record": ending.intent,
    }


def _gave_up(job: Job) -> dict[str, Any]:
    return {
        "code": GAVE_UP,
        "message": f"The daemon was stopped {job.attempt} times while this ran, so it is not begun again by itself.",
        "hint": "Look in the daemon's log for what stopped it, then start it again.",
        "exit": int(ExitCode.UNEXPECTED),
        "record": job.intent,
    }


def _exit_code(code: str) -> ExitCode:
    """The exit code that belongs to an error's code."""
    waiting = [StrongroomError]
    while waiting:
        error = waiting.pop()
        if error.code == code:
            return error.exit_code
        waiting += error.__subclasses__()
    return ExitCode.UNEXPECTED


def _nothing(*_: object) -> Mapping[str, Any]:
    raise NotImplementedError
