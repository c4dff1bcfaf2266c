"""Cancel long work. Whose job may be cancelled by whom, the policy says."""

from policies.vocabulary import Action
from vault.gate import Access, Caller
from vault.jobs import job_ref
from vault.model import Job
from vault.site import Site


def cancel_job(site: Site, caller: Caller, job_id: str) -> Job:
    """Cancel a job where that is safe; it may take a moment until it has ended.

    Raises:
        NotFound: there is none.
        NotCancellable: it has ended, or is where going on is safer.
    """
    site.jobs.get(job_id)  # before the policy is asked: of what does not exist it could say nothing
    return site.gate.run(
        Access(caller, Action.JOB_CANCEL, job_ref(job_id)), lambda permit: site.jobs.cancel(permit, job_id)
    )
