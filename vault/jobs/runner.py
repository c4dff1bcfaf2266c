"""Runs jobs in threads of the daemon, tells how far they are, ends them when asked, and takes them up again.

Invariants:

* a job's row is durable before the job begins, and its intent is in the row before anything is done under it;
* where a job stands changes only under one lock, so that a cancellation either comes before the act or is refused;
* an ended job stays as it ended.
"""

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from policies.errors import StrongroomError
from policies.vocabulary import Action, EntityRef, EntityType
from vault.database import Database
from vault.errors import Conflict
from vault.gate import Caller
from vault.jobs.kind import Cancelled, Ending, Interrupted, Kind, NotCancellable, cancelled_body, error_body
from vault.jobs.restart import GAVE_UP, settled
from vault.jobs.run import Run, caller_document, caller_of
from vault.jobs.table import JobTable
from vault.model import ENDED, Job, JobState, utc_now
from vault.permit import Permit

_WORKERS = 4
#: Running jobs may end by themselves for so long when the daemon stops; then what can begin again is cut short.
FINISH_S = 20.0
_WAITS = "Waiting for its turn."
_WAITS_FOR_KEYS = "Waiting until the key store is unsealed."
_AGAIN = "Begun again, because the daemon was stopped."
_LATER = "It begins again when the daemon is back."


def job_ref(job_id: str) -> EntityRef:
    """The job as the policy and the log name it."""
    return EntityRef(EntityType.JOB, job_id)


class Jobs:
    """Starts, shows, cancels and remembers jobs."""

    def __init__(
        self,
        database: Database,
        report_unexpected: Callable[[BaseException], None],
        finish_s: float = FINISH_S,
    ) -> None:
        self._table = JobTable(database)
        self._report_unexpected = report_unexpected
        self._finish_s = finish_s
        self._kinds: Mapping[Action, Kind] = {}
        self._pool = ThreadPoolExecutor(_WORKERS, thread_name_prefix="job")
        self._guard = threading.Condition()
        self._running: dict[str, Run] = {}
        self._held: list[str] = []
        self._closing = False

    # -- beginning -------------------------------------------------------------------------

    def open(
        self, kinds: Mapping[Action, Kind], ending_of: Callable[[str], Ending | None], *, sealed: bool
    ) -> list[Job]:
        """Learn how jobs are done, and take up those that an earlier run left; recovery has settled its effects.

        Args:
            kinds: how each kind of job is done.
            ending_of: how the access under an intent ended; None where the log has no such intent.
            sealed: whether the key store is sealed; jobs that need it wait for `unsealed`.

        Returns:
            those that are given up, because the daemon never survived them.
        """
        self._kinds = kinds
        self._table.prune()
        given_up = []
        for job in self._table.unfinished():
            kind = self._known(job.action)
            values = settled(job, kind, ending_of)
            if values is not None:
                self._table.change(job.id, **values)
                if (values.get("error") or {}).get("code") == GAVE_UP:
                    given_up.append(job)
            elif kind is not None and kind.needs_keys and sealed:
                self._table.change(job.id, state=JobState.WAITING, sentence=_WAITS_FOR_KEYS)
                self._held.append(job.id)
            else:
                self._table.change(job.id, state=JobState.WAITING, sentence=_AGAIN if job.attempt else _WAITS)
                self._pool.submit(self._run, job.id)
        return given_up

    def unsealed(self) -> None:
        """Begin what waited for the key store."""
        with self._guard:
            held, self._held = self._held, []
            for job_id in held:
                if self._table.get(job_id).state == JobState.WAITING:  # nobody cancelled it meanwhile
                    self._table.change(job_id, sentence=_WAITS)
                    self._submit(job_id)

    def start(self, caller: Caller, action: Action, subject: str, arguments: Mapping[str, Any]) -> Job:
        """Start a job in the background and return it at once.

        Args:
            caller: under whom it is done.
            action: what kind of job it is.
            subject: what it is about, for people (a guest's name).
            arguments: for the kind, as JSON; nothing secret, since they are kept.

        Raises:
            Conflict: the daemon is stopping.
        """
        job = Job(
            account_id=caller.principal.id,
            action=action,
            subject=subject,
            arguments=dict(arguments),
            caller=caller_document(caller),
            sentence=_WAITS,
        )
        self._table.add(job)
        try:
            self._submit(job.id)
        except Conflict as refusal:
            self._table.change(job.id, state=JobState.FAILED, error=error_body(refusal), ended_at=utc_now())
            raise
        return job

    # -- looking ---------------------------------------------------------------------------

    def get(self, job_id: str) -> Job:
        """The job with this id.

        Raises:
            NotFound: there is none.
        """
        return self._table.get(job_id)

    def latest(self, count: int = 20) -> list[Job]:
        """The newest jobs first."""
        return self._table.latest(count)

    def wait_for_change(self, job_id: str, revision: int, timeout_s: float) -> Job:
        """Return the job once it differs from that revision, or after the time."""
        return self._table.wait_for_change(job_id, revision, timeout_s)

    def is_cancellable(self, job: Job) -> bool:
        """Whether `cancel` would take it now."""
        with self._guard:
            run = self._running.get(job.id)
            if run is not None:
                return run.stop is None and run.may_be_cancelled()
        return job.state == JobState.WAITING

    # -- ending ----------------------------------------------------------------------------

    def cancel(self, permit: Permit, job_id: str) -> Job:
        """End a job where that is safe: at once when it waits, else at its next step, which takes back what it made.

        Raises:
            NotFound: there is none.
            NotCancellable: it has ended, or is where going on is safer.
        """
        permit.require(job_ref(job_id), Action.JOB_CANCEL)
        with self._guard:
            job = self._table.get(job_id)
            run = self._running.get(job_id)
            if job.state in ENDED:
                raise NotCancellable(
                    f"The job has ended already ({job.state}).", "See `strongroom job show`."
                )
            if run is not None and not run.may_be_cancelled():
                raise NotCancellable(
                    f"{job.action} cannot be cancelled once it is under way: it would leave the guest half done.",
                    "Wait until it has ended.",
                )
            if run is None and job.state != JobState.WAITING:
                raise NotCancellable(
                    "The job has ended, and how could not be written down.",
                    "The daemon's next start tells it.",
                )
            values: dict[str, Any] = {"cancelled_by": permit.principal.id}
            if run is None:
                values |= {
                    "state": JobState.CANCELLED,
                    "error": cancelled_body(None),
                    "ended_at": utc_now(),
                }
            else:
                run.stop = Cancelled
            self._table.change(job_id, **values)
        return self._table.get(job_id)

    def note_intent(self, caller: Caller, intent: str) -> None:
        """Remember under which intent a job acts, before it does; called by the gate.

        Raises:
            Cancelled, Interrupted: it is to end, so nothing is done.
        """
        with self._guard:
            run = self._running.get(caller.job) if caller.job is not None else None
            if run is None or caller.job is None:
                return
            run.heed()
            run.acting = True
        self._table.change(caller.job, intent=intent)

    def close(self) -> None:
        """Take no new jobs, give running ones time to end, and leave for the next start what can begin then.

        What neither ends nor can begin again is waited for: whoever stops the daemon has the last word.
        """
        self._pool.shutdown(wait=False, cancel_futures=True)
        with self._guard:
            self._closing = True
            self._interrupt(lambda run: not run.acting)
            self._guard.wait_for(lambda: not self._running, timeout=self._finish_s)
            self._interrupt(lambda run: run.kind.again)
        self._pool.shutdown(wait=True)

    def _interrupt(self, which: Callable[[Run], bool]) -> None:
        for run in self._running.values():
            if run.stop is None and which(run):
                run.stop = Interrupted

    # -- running, in a thread of the pool ----------------------------------------------------

    def _submit(self, job_id: str) -> None:
        try:
            self._pool.submit(self._run, job_id)
        except RuntimeError as error:  # the pool takes nothing after `close`
            raise Conflict(
                "The daemon is stopping, so nothing new is begun.", "Try again once it runs."
            ) from error

    def _run(self, job_id: str) -> None:
        try:
            begun = self._begin(job_id)
            if begun is not None:
                self._work(*begun)
        except BaseException as error:  # noqa: BLE001 - the edge of a thread: nobody else would hear of it
            self._report_unexpected(error)
        finally:
            self._forget(job_id)

    def _begin(self, job_id: str) -> tuple[Job, Run] | None:
        with self._guard:
            job = self._table.get(job_id)
            if self._closing or job.state != JobState.WAITING:  # it was cancelled while it waited
                return None
            run = Run(job, self._kinds[Action(job.action)], self._table)
            self._running[job_id] = run
            self._table.change(
                job_id, state=JobState.RUNNING, attempt=job.attempt + 1, intent=None, started_at=utc_now()
            )
            return job, run

    def _work(self, job: Job, run: Run) -> None:
        caller = caller_of(job)
        try:
            result = run.kind.do(caller, job.arguments or {}, run)
        except Cancelled as error:
            self._end(job, JobState.CANCELLED, error=cancelled_body(error.record))
        except Interrupted:
            # A stop in order is no fault of the job, so this attempt does not count.
            self._table.change(job.id, state=JobState.WAITING, attempt=job.attempt, sentence=_LATER)
        except StrongroomError as error:
            self._end(job, JobState.FAILED, error=error_body(error))
        except Exception as error:  # noqa: BLE001 - the edge of a thread: reported, and told to the caller
            self._report_unexpected(error)
            unexpected = StrongroomError(
                "Something unexpected went wrong.", "The daemon's log has the detail; tell an administrator."
            )
            self._end(job, JobState.FAILED, error=error_body(unexpected))
        else:
            self._end(job, JobState.DONE, percent=100, sentence="Done.", result=dict(result))

    def _end(self, job: Job, state: JobState, **values: object) -> None:
        with self._guard:
            self._table.change(job.id, state=state, ended_at=utc_now(), **values)

    def _forget(self, job_id: str) -> None:
        with self._guard:
            self._running.pop(job_id, None)
            self._guard.notify_all()

    def _known(self, action: str) -> Kind | None:
        return next((kind for known, kind in self._kinds.items() if known == action), None)
