"""Long work: how it ends, what is told of it, how it is cancelled, and that nothing of it outlives the site."""

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from policies.errors import ExitCode
from policies.vocabulary import Action, EntityRef, EntityType
from tests.fakes.permits import OPERATOR, permit_for
from vault.database import Database
from vault.errors import Conflict, NotFound
from vault.gate import Caller
from vault.jobs import Jobs, Kind, NotCancellable, Progress, job_ref, no_progress, tell_counts
from vault.model import ENDED, Job, JobState

INTENT = "ab" * 16
SECRET = "hunter2-passphrase"
OLGA = Caller(EntityRef(EntityType.ACCOUNT, "olga"), "cli", "session-1", "c2VhbGVk")
Work = Callable[[Progress], Mapping[str, Any]]


class Bench:
    """Jobs over a real database, each kind doing what the test says."""

    def __init__(self, folder: Path) -> None:
        self.database = Database(folder / "state.db", create=True)
        self.reported: list[BaseException] = []
        self.jobs = Jobs(self.database, self.reported.append, finish_s=0.2)

    def start(self, work: Work, action: Action = Action.GUEST_START, **kind: Any) -> Job:  # noqa: ANN401
        """Start a job that does `work`."""
        one = Kind(lambda _caller, _given, progress: work(progress), **kind)
        self.jobs._kinds = {**self.jobs._kinds, action: one}
        return self.jobs.start(OLGA, action, "clinic-db", {"name": "clinic-db"})

    def cancel(self, job: Job) -> Job:
        """Cancel a job, as the gate would."""
        return self.jobs.cancel(permit_for(Action.JOB_CANCEL, job_ref(job.id)), job.id)

    def ended(self, job: Job) -> Job:
        """The job, once it has ended."""
        return self.once(job, lambda found: found.state in ENDED)

    def once(self, job: Job, is_so: Callable[[Job], bool]) -> Job:
        """The job, once it is so."""
        found = self.jobs.get(job.id)
        for _ in range(100):
            if is_so(found):
                return found
            found = self.jobs.wait_for_change(job.id, found.revision, 0.5)
        raise AssertionError("that never became so")


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.jobs.close()
    made.database.close()


# -- progress and ends ---------------------------------------------------------------------------------


def test_a_job_tells_its_progress_and_ends_with_its_result(bench: Bench) -> None:
    told, go_on = threading.Event(), threading.Event()

    def work(progress: Progress) -> Mapping[str, Any]:
        progress(40, "Half way.")
        told.set()
        go_on.wait(10)
        progress(250, "Nearly.")
        return {"id": "g1"}

    job = bench.start(work)
    told.wait(10)
    seen = bench.jobs.get(job.id)
    assert (seen.percent, seen.sentence, seen.state) == (40, "Half way.", JobState.RUNNING)
    assert (seen.attempt, seen.arguments, seen.account_id) == (1, {"name": "clinic-db"}, "olga")
    assert seen.started_at is not None
    go_on.set()
    done = bench.ended(job)
    assert (done.state, done.percent, done.result, done.error) == (JobState.DONE, 100, {"id": "g1"}, None)
    assert done.ended_at is not None
    assert [each.id for each in bench.jobs.latest()] == [job.id]


def test_the_percentage_never_goes_back_and_counts_are_told(bench: Bench) -> None:
    seen: list[tuple[int, int | None, int | None]] = []
    step, stepped = threading.Semaphore(0), threading.Semaphore(0)

    def work(progress: Progress) -> Mapping[str, Any]:
        for percent, done in ((50, 5), (20, 6), (60, 7)):
            tell_counts(progress, percent, "Counting.", done, 7)
            stepped.release()
            step.acquire(timeout=10)
        progress(10, "After all.")
        return {}

    job = bench.start(work)
    for _ in range(3):
        stepped.acquire(timeout=10)
        row = bench.jobs.get(job.id)
        seen.append((row.percent, row.done_count, row.total_count))
        step.release()
    assert seen[0] == (50, 5, 7)
    assert seen[1][0] == 50
    assert seen[2] == (60, 7, 7)
    bench.ended(job)


def test_whoever_waits_is_woken_by_a_change(bench: Bench) -> None:
    go_on = threading.Event()

    def work(progress: Progress) -> Mapping[str, Any]:
        go_on.wait(10)
        progress(1, "Begun.")
        return {}

    job = bench.start(work)
    seen = bench.once(job, lambda found: found.state == JobState.RUNNING)
    threading.Timer(0.05, go_on.set).start()
    changed = bench.jobs.wait_for_change(job.id, seen.revision, 10)
    assert changed.sentence in {"Begun.", "Done."}
    assert changed.revision > seen.revision


def test_an_error_of_ours_becomes_the_body_that_the_api_answers_with(bench: Bench) -> None:
    def work(_progress: Progress) -> Mapping[str, Any]:
        error = Conflict("It runs already.", "Stop it first.")
        error.record = "ab" * 16
        raise error

    failed = bench.ended(bench.start(work))
    assert failed.state == JobState.FAILED
    assert failed.error == {
        "code": "conflict",
        "message": "It runs already.",
        "hint": "Stop it first.",
        "exit": int(ExitCode.CONFLICT),
        "record": "ab" * 16,
    }


def test_the_text_of_an_unexpected_error_stays_in_the_daemon(bench: Bench) -> None:
    def work(_progress: Progress) -> Mapping[str, Any]:
        raise RuntimeError(SECRET)

    failed = bench.ended(bench.start(work))
    assert failed.error is not None
    assert failed.error["code"] == "unexpected"
    assert SECRET not in str(failed.error)
    assert [str(error) for error in bench.reported] == [SECRET]


def test_a_job_whose_row_cannot_be_written_is_reported_and_not_lost_silently(bench: Bench) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def work(_progress: Progress) -> Mapping[str, Any]:
        begun.set()
        go_on.wait(10)
        return {"cannot": object()}

    job = bench.start(work)
    begun.wait(10)
    go_on.set()
    bench.jobs.close()
    assert len(bench.reported) == 1
    with pytest.raises(NotCancellable, match="could not be written"):
        bench.cancel(job)


def test_a_job_that_does_not_exist_is_not_found(bench: Bench) -> None:
    with pytest.raises(NotFound):
        bench.jobs.get("none")
    with pytest.raises(NotFound):
        bench.jobs.wait_for_change("none", 0, 1)


def test_whoever_waits_anyway_may_ignore_progress() -> None:
    no_progress(5, "Half way.")
    tell_counts(no_progress, 5, "Half way.", 1, 2)


# -- cancelling ----------------------------------------------------------------------------------------


class Held:
    """Work that waits until it is told to go on, and remembers whether it came to its end."""

    def __init__(self) -> None:
        self.begun, self.go_on = threading.Event(), threading.Event()
        self.whole = False

    def __call__(self, progress: Progress) -> Mapping[str, Any]:
        self.begun.set()
        self.go_on.wait(10)
        progress(50, "Half way.")
        self.whole = True
        return {}


def test_a_job_that_runs_is_cancelled_at_its_next_step(bench: Bench) -> None:
    work = Held()
    job = bench.start(work, cancellable=True)
    work.begun.wait(10)
    assert bench.jobs.is_cancellable(bench.jobs.get(job.id))
    asked = bench.cancel(job)
    assert (asked.state, asked.cancelled_by) == (JobState.RUNNING, OPERATOR.id)
    assert not bench.jobs.is_cancellable(asked)
    work.go_on.set()
    ended = bench.ended(job)
    assert (ended.state, work.whole) == (JobState.CANCELLED, False)
    assert ended.error is not None
    assert (ended.error["code"], ended.error["exit"]) == ("job.cancelled", int(ExitCode.CONFLICT))


def test_a_waiting_job_of_any_kind_is_cancelled_at_once_and_never_begins(bench: Bench) -> None:
    busy = [Held() for _ in range(4)]
    for nth, work in enumerate(busy):
        bench.start(work, list(Action)[nth])
        work.begun.wait(10)
    late = Held()
    job = bench.start(late)
    assert bench.jobs.is_cancellable(bench.jobs.get(job.id))
    assert bench.cancel(job).state == JobState.CANCELLED
    for work in busy:
        work.go_on.set()
    bench.jobs.close()
    assert not late.begun.is_set()
    assert bench.jobs.get(job.id).attempt == 0


def test_what_acts_on_a_guest_is_not_cancelled_once_it_acts_and_goes_on(bench: Bench) -> None:
    work, callers = Held(), []

    def do(caller: Caller, _given: Mapping[str, Any], progress: Progress) -> Mapping[str, Any]:
        callers.append(caller)
        bench.jobs.note_intent(caller, INTENT)  # as the gate does, just before the act
        return work(progress)

    bench.jobs._kinds = {Action.GUEST_STOP: Kind(do)}
    job = bench.jobs.start(OLGA, Action.GUEST_STOP, "clinic-db", {})
    work.begun.wait(10)
    assert callers == [replace(OLGA, job=job.id)]
    assert bench.jobs.get(job.id).intent == INTENT
    assert not bench.jobs.is_cancellable(bench.jobs.get(job.id))
    with pytest.raises(NotCancellable, match=r"guest\.stop cannot be cancelled"):
        bench.cancel(job)
    work.go_on.set()
    assert bench.ended(job).state == JobState.DONE
    assert work.whole


def test_what_is_cancelled_before_the_gate_let_it_through_never_acts(bench: Bench) -> None:
    asked, acted = threading.Event(), []

    def do(caller: Caller, _given: Mapping[str, Any], _progress: Progress) -> Mapping[str, Any]:
        asked.wait(10)
        bench.jobs.note_intent(caller, INTENT)  # as the gate does, just before the act
        acted.append(True)
        return {}

    bench.jobs._kinds = {Action.GUEST_STOP: Kind(do)}
    job = bench.jobs.start(OLGA, Action.GUEST_STOP, "clinic-db", {})
    bench.once(job, lambda found: found.state == JobState.RUNNING)
    bench.cancel(job)
    asked.set()
    assert bench.ended(job).state == JobState.CANCELLED
    assert acted == []


def test_an_ended_job_stays_as_it_ended(bench: Bench) -> None:
    job = bench.start(lambda _progress: {"id": 1})
    bench.ended(job)
    with pytest.raises(NotCancellable, match="ended already"):
        bench.cancel(job)
    assert bench.jobs.get(job.id).result == {"id": 1}
    assert bench.jobs.get(job.id).cancelled_by is None


def test_an_intent_of_nobodys_job_is_none_of_our_business(bench: Bench) -> None:
    bench.jobs.note_intent(OLGA, INTENT)
    assert bench.jobs.latest() == []


# -- stopping in order ---------------------------------------------------------------------------------


def test_closing_waits_for_what_runs_and_leaves_no_thread(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    begun, ended = threading.Event(), []

    def work(_progress: Progress) -> Mapping[str, Any]:
        begun.set()
        threading.Event().wait(0.5)  # longer than the time after which what can begin again is cut short
        ended.append("whole")
        return {}

    before = set(threading.enumerate())
    job = bench.start(work)
    begun.wait(10)
    bench.jobs.close()
    bench.jobs.close()
    assert ended == ["whole"]
    assert set(threading.enumerate()) <= before
    assert bench.jobs.get(job.id).state == JobState.DONE
    bench.database.close()


def test_closing_cuts_short_what_can_begin_again_and_that_is_no_attempt(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    begun = threading.Event()

    def do(caller: Caller, _given: Mapping[str, Any], progress: Progress) -> Mapping[str, Any]:
        bench.jobs.note_intent(caller, INTENT)
        begun.set()
        while True:
            progress(30, "Still at it.")
            threading.Event().wait(0.02)

    bench.jobs._kinds = {Action.LOG_VERIFY: Kind(do, again=True, cancellable=True)}
    job = bench.jobs.start(OLGA, Action.LOG_VERIFY, "log", {})
    begun.wait(10)
    bench.jobs.close()
    left = bench.jobs.get(job.id)
    assert (left.state, left.attempt, left.percent) == (JobState.WAITING, 0, 30)
    assert left.error is None
    bench.database.close()


def test_a_job_that_comes_after_closing_is_refused_and_its_row_says_so(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.jobs.close()
    with pytest.raises(Conflict, match="stopping"):
        bench.start(lambda _progress: {})
    (job,) = bench.jobs.latest()
    assert job.state == JobState.FAILED
    assert job.error is not None
    bench.database.close()
