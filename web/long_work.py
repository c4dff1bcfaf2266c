"""Long work behind an address: how it is started and cancelled, who may see it, and how it is shown."""

from collections.abc import Mapping
from typing import Any, Final

from policies.vocabulary import Action, Role
from vault.errors import NotFound
from vault.model import ENDED, Job
from vault.operations.jobs import cancel_job
from web.guard import caller, user
from web.site import site

#: Who sees everybody's jobs; others see their own.
_SEE_ALL: Final = frozenset({Role.ADMINISTRATOR, Role.OFFICER, Role.AUDITOR})


def start(action: Action, subject: str, arguments: Mapping[str, Any]) -> Job:
    """Start long work in the background for whoever asks.

    Args:
        action: what kind of work; `vault.operations.job_kinds` says how it is done.
        subject: what it is about, for people (a guest's name); never a secret.
        arguments: for that kind, as JSON; never a secret, since they are kept until it has ended.
    """
    return site().jobs.start(caller(), action, subject, arguments)


def cancel(job_id: str) -> Job:
    """Cancel a job that the caller may see, as far as the policy allows.

    Raises:
        NotFound: there is none, or it is somebody else's.
        NotCancellable: it has ended, or is where going on is safer.
    """
    return cancel_job(site(), caller(), visible(job_id).id)


def has_ended(job: Job) -> bool:
    """Whether a job is done, failed or cancelled."""
    return job.state in ENDED


def visible(job_id: str) -> Job:
    """The job, if the caller may see it.

    Raises:
        NotFound: there is none, or it is somebody else's: the answer is the same.
    """
    unknown = NotFound("There is no such job.", "See `strongroom job list`.")
    try:
        job = site().jobs.get(job_id)
    except NotFound:
        raise unknown from None
    if not _may_see(job):
        raise unknown
    return job


def latest(count: int) -> list[Job]:
    """The newest jobs that the caller may see."""
    return [job for job in site().jobs.latest(count) if _may_see(job)]


def sees_all() -> bool:
    """Say whether the caller may see everybody's jobs, not only their own."""
    return not _SEE_ALL.isdisjoint(user().login.account.roles)


def view(job: Job) -> dict[str, Any]:
    """A job as people and programs see it."""
    return {
        "id": job.id,
        "action": job.action,
        "subject": job.subject,
        "state": job.state,
        "ended": has_ended(job),
        "percent": job.percent,
        "sentence": job.sentence,
        "counts": None if job.total_count is None else {"done": job.done_count, "total": job.total_count},
        "attempt": job.attempt,
        "cancellable": site().jobs.is_cancellable(job),
        "cancelling": job.cancelled_by is not None and not has_ended(job),
        "result": job.result,
        "error": job.error,
        "created_at": job.created_at.isoformat(),
        "started_at": job.started_at.isoformat() if job.started_at else None,
        "ended_at": job.ended_at.isoformat() if job.ended_at else None,
    }


def _may_see(job: Job) -> bool:
    return job.account_id == user().login.account.id or sees_all()
