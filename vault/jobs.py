"""Long work that goes on when the terminal or the tab that asked for it is gone.

A job is a row with its progress; the work runs in a thread of the daemon. A job that a killed daemon left
running is marked failed at the next start, after recovery has settled what it was doing.
"""

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from sqlmodel import col, select

from policies.errors import ExitCode, StrongroomError
from vault.database import Database
from vault.errors import Conflict, NotFound
from vault.model import Job, JobState, utc_now

#: Reports how far the work is: percent (0 to 100) and a sentence.
Progress = Callable[[int, str], None]
_WORKERS = 4


def no_progress(percent: int, sentence: str) -> None:
    """Ignore progress: for callers that wait anyway."""


class Jobs:
    """Starts, shows and remembers jobs."""

    def __init__(self, database: Database, report_unexpected: Callable[[BaseException], None]) -> None:
        self._database = database
        self._report_unexpected = report_unexpected
        self._pool = ThreadPoolExecutor(_WORKERS, thread_name_prefix="job")
        self._changed = threading.Condition()

    def start(
        self, account_id: str, action: str, subject: str, work: Callable[[Progress], Mapping[str, Any]]
    ) -> Job:
        """Start `work` in the background and return its job at once.

        Raises:
            Conflict: the daemon is stopping.
        """
        job = Job(account_id=account_id, action=action, subject=subject, sentence="Waiting for its turn.")
        with self._database.session() as session:
            session.add(job)
        try:
            self._pool.submit(self._run, job.id, work)
        except RuntimeError as error:  # the pool takes nothing after `close`
            refusal = Conflict("The daemon is stopping, so nothing new is begun.", "Try again once it runs.")
            self._update(job.id, state=JobState.FAILED, error=error_body(refusal), ended_at=utc_now())
            raise refusal from error
        return job

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

    def latest(self, count: int = 20) -> list[Job]:
        """The newest jobs first."""
        with self._database.session() as session:
            return list(session.exec(select(Job).order_by(col(Job.created_at).desc()).limit(count)))

    def wait_for_change(self, job_id: str, seen: tuple[int, str, str], timeout_s: float) -> Job:
        """Return the job when it differs from what was seen (percent, sentence, state), or after the time."""
        with self._changed:
            self._changed.wait_for(lambda: self._look(job_id) != seen, timeout=timeout_s)
        return self.get(job_id)

    def fail_interrupted(self) -> None:
        """Mark what a killed daemon left running as failed; recovery has already settled its effects."""
        with self._database.session() as session:
            for job in session.exec(select(Job).where(Job.state == JobState.RUNNING)):
                job.state = JobState.FAILED
                job.ended_at = utc_now()
                job.error = {
                    "code": "job.interrupted",
                    "message": "The daemon was stopped while this ran; what was half done has been settled.",
                    "hint": "Look at the log for what was settled, then start it again if you still want it.",
                    "exit": int(ExitCode.UNEXPECTED),
                    "record": None,
                }

    def close(self) -> None:
        """Wait for running jobs, take no new ones. What waited for its turn is marked at the next start."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _look(self, job_id: str) -> tuple[int, str, str]:
        job = self.get(job_id)
        return (job.percent, job.sentence, job.state)

    def _run(self, job_id: str, work: Callable[[Progress], Mapping[str, Any]]) -> None:
        try:
            self._work(job_id, work)
        except BaseException as error:  # noqa: BLE001 - the edge of a thread: nobody else would hear of it
            self._report_unexpected(error)

    def _work(self, job_id: str, work: Callable[[Progress], Mapping[str, Any]]) -> None:
        def progress(percent: int, sentence: str) -> None:
            self._update(job_id, percent=max(0, min(99, percent)), sentence=sentence)

        try:
            result = work(progress)
        except StrongroomError as error:
            self._update(job_id, state=JobState.FAILED, error=error_body(error), ended_at=utc_now())
        except Exception as error:  # noqa: BLE001 - the edge of a thread: reported, and told to the caller
            self._report_unexpected(error)
            unexpected = StrongroomError(
                "Something unexpected went wrong.", "The daemon's log has the detail; tell an administrator."
            )
            self._update(job_id, state=JobState.FAILED, error=error_body(unexpected), ended_at=utc_now())
        else:
            self._update(
                job_id,
                state=JobState.DONE,
                percent=100,
                sentence="Done.",
                result=dict(result),
                ended_at=utc_now(),
            )

    def _update(self, job_id: str, **values: object) -> None:
        with self._database.session() as session:
            job = session.get_one(Job, job_id)
            for name, value in values.items():
                setattr(job, name, value)
        with self._changed:
            self._changed.notify_all()


def error_body(error: StrongroomError) -> dict[str, Any]:
    """The body of an error as INTERFACES fixes it, without the outer `error` key."""
    return {
        "code": error.code,
        "message": error.message,
        "hint": error.hint,
        "exit": int(error.exit_code),
        "record": error.record,
    }
