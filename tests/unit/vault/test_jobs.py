"""Long work: how it ends, what is told of it, and that nothing of it outlives the site."""

import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import col, update

from policies.errors import ExitCode
from vault.database import Database
from vault.errors import Conflict, NotFound
from vault.jobs import Jobs, Progress, no_progress
from vault.model import Job, JobState

SECRET = "hunter2-passphrase"


class Bench:
    def __init__(self, folder: Path) -> None:
        self.database = Database(folder / "state.db", create=True)
        self.reported: list[BaseException] = []
        self.jobs = Jobs(self.database, self.reported.append)

    def ended(self, job: Job) -> Job:
        found = self.jobs.get(job.id)
        for _ in range(100):
            if found.state != JobState.RUNNING:
                return found
            seen = (found.percent, found.sentence, found.state)
            found = self.jobs.wait_for_change(job.id, seen, 0.5)
        raise AssertionError("the job did not end")


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.jobs.close()
    made.database.close()


def test_a_job_tells_its_progress_and_ends_with_its_result(bench: Bench) -> None:
    told, go_on = threading.Event(), threading.Event()

    def work(progress: Progress) -> Mapping[str, Any]:
        progress(40, "Half way.")
        told.set()
        go_on.wait(10)
        progress(250, "Nearly.")
        return {"id": "g1"}

    job = bench.jobs.start("acc", "guest.create", "clinic-db", work)
    told.wait(10)
    seen = bench.jobs.get(job.id)
    assert (seen.percent, seen.sentence, seen.state) == (40, "Half way.", JobState.RUNNING)
    go_on.set()
    done = bench.ended(job)
    assert (done.state, done.percent, done.result, done.error) == (JobState.DONE, 100, {"id": "g1"}, None)
    assert done.ended_at is not None
    assert [each.id for each in bench.jobs.latest()] == [job.id]


def test_whoever_waits_is_woken_by_a_change(bench: Bench) -> None:
    go_on = threading.Event()

    def work(progress: Progress) -> Mapping[str, Any]:
        go_on.wait(10)
        progress(1, "Begun.")
        return {}

    job = bench.jobs.start("acc", "image.build", "debian-12", work)
    threading.Timer(0.05, go_on.set).start()
    changed = bench.jobs.wait_for_change(job.id, (0, "Waiting for its turn.", JobState.RUNNING), 10)
    assert changed.sentence in {"Begun.", "Done."}


def test_an_error_of_ours_becomes_the_body_that_the_api_answers_with(bench: Bench) -> None:
    def work(_progress: Progress) -> Mapping[str, Any]:
        error = Conflict("It runs already.", "Stop it first.")
        error.record = "ab" * 16
        raise error

    failed = bench.ended(bench.jobs.start("acc", "guest.start", "g", work))
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

    failed = bench.ended(bench.jobs.start("acc", "guest.start", "g", work))
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

    bench.jobs.start("acc", "guest.start", "g", work)
    begun.wait(10)
    go_on.set()
    bench.jobs.close()
    assert len(bench.reported) == 1


def test_closing_waits_for_what_runs_and_leaves_no_thread(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    begun, ended = threading.Event(), []

    def work(_progress: Progress) -> Mapping[str, Any]:
        begun.set()
        threading.Event().wait(0.2)
        ended.append("whole")
        return {}

    before = set(threading.enumerate())
    job = bench.jobs.start("acc", "guest.stop", "g", work)
    begun.wait(10)
    bench.jobs.close()
    bench.jobs.close()
    assert ended == ["whole"]
    assert set(threading.enumerate()) <= before
    assert bench.jobs.get(job.id).state == JobState.DONE
    bench.database.close()


def test_a_job_that_comes_after_closing_is_refused_and_its_row_says_so(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.jobs.close()
    with pytest.raises(Conflict, match="stopping"):
        bench.jobs.start("acc", "guest.start", "g", lambda _progress: {})
    (job,) = bench.jobs.latest()
    assert job.state == JobState.FAILED
    assert job.error is not None
    bench.database.close()


def test_what_a_killed_daemon_left_running_is_marked_and_what_had_ended_is_not(bench: Bench) -> None:
    done = bench.ended(bench.jobs.start("acc", "guest.stop", "g", lambda _progress: {}))
    cut = bench.ended(bench.jobs.start("acc", "guest.start", "g", lambda _progress: {}))
    with bench.database.session() as session:
        session.connection().execute(
            update(Job).where(col(Job.id) == cut.id).values(state=JobState.RUNNING, ended_at=None)
        )
    bench.jobs.fail_interrupted()
    marked = bench.jobs.get(cut.id)
    assert marked.state == JobState.FAILED
    assert marked.error is not None
    assert marked.error["code"] == "job.interrupted"
    assert marked.ended_at is not None
    assert bench.jobs.get(done.id).state == JobState.DONE


def test_a_job_that_does_not_exist_is_not_found(bench: Bench) -> None:
    with pytest.raises(NotFound):
        bench.jobs.get("none")
    with pytest.raises(NotFound):
        bench.jobs.wait_for_change("none", (0, "", ""), 1)


def test_whoever_waits_anyway_may_ignore_progress() -> None:
    no_progress(5, "Half way.")
