"""Long work that goes on when the terminal, the tab or the daemon that it was asked of is gone (ADR 0014).

A job is a row: what kind of work, on what, for whom. `Kind` says how a kind is done, and what a restart may do with it;
`Jobs` runs them in threads of the daemon; `restart` decides what becomes of those that a daemon left behind.
"""

from vault.jobs.kind import Cancelled, Ending, Interrupted, Kind, NotCancellable, error_body
from vault.jobs.progress import CountingProgress, Progress, no_progress, tell_counts
from vault.jobs.runner import Jobs, job_ref

__all__ = [
    "Cancelled",
    "CountingProgress",
    "Ending",
    "Interrupted",
    "Jobs",
    "Kind",
    "NotCancellable",
    "Progress",
    "error_body",
    "job_ref",
    "no_progress",
    "tell_counts",
]
