"""Long work behind an address: how it is started, who may see it, and how it is shown."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from policies.vocabulary import Action, Role
from vault.errors import NotFound
from vault.jobs import Progress
from vault.model import Job
from web.guard import caller, user
from web.site import site

#: Who sees everybody's jobs; others see their own.
_SEE_ALL: Final = frozenset({Role.ADMINISTRATOR, Role.OFFICER, Role.AUDITOR})


def start(action: Action, subject: str, work: Callable[[Progress], Mapping[str, Any]]) -> Job:
    """Start `work` in the background for whoever asks.

    Args:
        subject: what it is about, for people (a guest's name); never a secret.
    """
    return site().jobs.start(caller().principal.id, action, subject, work)


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
        "percent": job.percent,
        "sentence": job.sentence,
        "result": job.result,
        "error": job.error,
        "created_at": job.created_at.isoformat(),
        "ended_at": job.ended_at.isoformat() if job.ended_at else None,
    }


def _may_see(job: Job) -> bool:
    return job.account_id == user().login.account.id or sees_all()
