"""The rows of jobs: found, changed, waited for, and forgotten when they are old."""

import threading
from datetime import timedelta
from typing import Any

from sqlmodel import col, delete, select, update

from vault.database import Database
from vault.errors import NotFound
from vault.model import ENDED, Job, utc_now

#: Ended jobs are forgotten after so many days, and beyond so many; the log keeps what they did.
KEPT_DAYS = 30
KEPT_COUNT = 1000


class JobTable:
    """Jobs as rows; whoever waits for a change of one is woken."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._changed = threading.Condition()

    def add(self, job: Job) -> None:
        """Add a job; durable on return. Old ones go."""
        with self._database.session() as session:
            session.add(job)
        self.prune()

    def get(self, job_id: str) -> Job:
        """The job with this id.

        Raises:
            NotFound: there is none.
        """
        with self._database.session() as session:
            job = session.get(Job, job_id)
        if job is None:
            raise NotFound("There is no such job.")
        return job

    def latest(self, count: int) -> list[Job]:
        """The newest jobs first."""
        with self._database.session() as session:
            return list(session.exec(select(Job).order_by(col(Job.created_at).desc()).limit(count)))

    def unfinished(self) -> list[Job]:
        """Jobs that have not ended, the oldest first."""
        with self._database.session() as session:
            rows = session.exec(select(Job).where(col(Job.state).not_in(ENDED)).order_by(col(Job.created_at)))
            return list(rows)

    def change(self, job_id: str, **values: Any) -> None:  # noqa: ANN401 - the columns' own types
        """Change a job; durable on return."""
        with self._database.session() as session:
            # One statement: two threads that change different columns at once lose nothing.
            session.exec(update(Job).where(col(Job.id) == job_id).values(revision=Job.revision + 1, **values))
        with self._changed:
            self._changed.notify_all()

    def wait_for_change(self, job_id: str, revision: int, timeout_s: float) -> Job:
        """Return the job once it differs from that revision, or after the time."""
        with self._changed:
            self._changed.wait_for(lambda: self.get(job_id).revision != revision, timeout=timeout_s)
        return self.get(job_id)

    def prune(self) -> None:
        """Forget ended jobs that are old or many."""
        ended = col(Job.state).in_(ENDED)
        kept = select(Job.id).where(ended).order_by(col(Job.ended_at).desc()).limit(KEPT_COUNT)
        with self._database.session() as session:
            before = utc_now() - timedelta(days=KEPT_DAYS)
            session.exec(delete(Job).where(ended, col(Job.ended_at) < before))
            session.exec(delete(Job).where(ended, col(Job.id).not_in(kept)))
