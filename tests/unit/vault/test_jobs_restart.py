"""What becomes of jobs that an earlier daemon left: none is lost, none acts twice, none goes on for ever."""

import threading
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import select

from policies.errors import ExitCode
from policies.vocabulary import Action, EntityRef, EntityType
from tests.fakes.permits import permit_for
from vault.database import Database
from vault.errors import NotFound
from vault.gate import Caller
from vault.identity.accounts import account_ref
from vault.jobs import Ending, Jobs, Kind, job_ref
from vault.jobs import table as job_table
from vault.model import ENDED, Job, JobState, utc_now

CALLER: dict[str, Any] = {
    "principal": "account:olga",
    "channel": "cli",
    "session": "session-1",
    "sealed_address": "c2VhbGVk",
    "second_factor": False,
}
INTENT = "ab" * 16
GUEST = EntityRef(EntityType.GUEST, "guest-1")
AGAIN, ONCE, KEYS = Action.REPORT_CREATE, Action.GUEST_STOP, Action.GUEST_START


class Restarted:
    """A daemon that finds jobs of the one before it."""

    def __init__(self, folder: Path) -> None:
        self.database = Database(folder / "state.db", create=True)
        self.done: list[tuple[Caller, dict[str, Any]]] = []
        self.result: Callable[[Ending], Mapping[str, Any]] = lambda ending: {"code": ending.code}
        self.jobs = Jobs(self.database, self._raise)

    def left(self, action: Action, **values: Any) -> str:  # noqa: ANN401 - the columns' own types
        """A row that the daemon before left."""
        given = {"account_id": "olga", "subject": "s", "arguments": {"n": 1}, "caller": CALLER, **values}
        job = Job(action=action, **given)
        with self.database.session() as session:
            session.add(job)
        return job.id

    def open(self, ending: Ending | None = None, *, sealed: bool = False) -> list[Job]:
        """Start, where the log tells `ending` of each intent."""
        kinds = {
            AGAIN: Kind(self._do, again=True, cancellable=True),
            ONCE: Kind(self._do, self.result, taken_back="It still runs.", look="Look."),
            KEYS: Kind(self._do, needs_keys=True),
        }
        return self.jobs.open(kinds, lambda _intent: ending, sealed=sealed)

    def ended(self, job_id: str) -> Job:
        """The job, once it has ended."""
        found = self.jobs.get(job_id)
        for _ in range(100):
            if found.state in ENDED:
                return found
            found = self.jobs.wait_for_change(job_id, found.revision, 0.5)
        raise AssertionError("the job did not end")

    def _do(self, caller: Caller, given: Mapping[str, Any], _progress: object) -> Mapping[str, Any]:
        self.done.append((caller, dict(given)))
        return {"made": True}

    @staticmethod
    def _raise(error: BaseException) -> None:
        raise error


@pytest.fixture
def restarted(tmp_path: Path) -> Any:  # noqa: ANN401 - a generator fixture
    made = Restarted(tmp_path)
    yield made
    made.jobs.close()
    made.database.close()


def ending(code: str, *, recovered: bool = True) -> Ending:
    return Ending(INTENT, GUEST, code, {}, recovered)


def test_a_waiting_job_begins_under_the_same_caller(restarted: Restarted) -> None:
    job = restarted.left(ONCE)
    restarted.open()
    done = restarted.ended(job)
    assert (done.state, done.attempt, done.result) == (JobState.DONE, 1, {"made": True})
    ((caller, given),) = restarted.done
    assert caller == Caller(account_ref("olga"), "cli", "session-1", "c2VhbGVk", job=job)
    assert given == {"n": 1}


def test_a_job_that_the_gate_had_not_let_through_begins_whatever_its_kind(restarted: Restarted) -> None:
    job = restarted.left(ONCE, state=JobState.RUNNING, attempt=1)
    restarted.open()
    assert (restarted.ended(job).attempt, len(restarted.done)) == (2, 1)


@pytest.mark.parametrize("code", ["recovery.rolled_back", "recovery.unknown", "host.failure"])
def test_work_that_only_makes_something_begins_again_and_says_so(restarted: Restarted, code: str) -> None:
    job = restarted.left(AGAIN, state=JobState.RUNNING, attempt=1, intent=INTENT, percent=60)
    restarted.open(ending(code))
    done = restarted.ended(job)
    assert (done.state, done.attempt, len(restarted.done)) == (JobState.DONE, 2, 1)


def test_an_act_on_a_guest_is_not_done_twice_and_the_job_says_what_was_settled(restarted: Restarted) -> None:
    job = restarted.left(ONCE, state=JobState.RUNNING, attempt=1, intent=INTENT)
    restarted.open(ending("recovery.rolled_back"))
    failed = restarted.ended(job)
    assert failed.state == JobState.FAILED
    assert failed.error == {
        "code": "job.interrupted",
        "message": "The daemon was stopped while this ran. It still runs.",
        "hint": "Look.",
        "exit": int(ExitCode.UNEXPECTED),
        "record": INTENT,
    }
    assert restarted.done == []


@pytest.mark.parametrize("recovered", [True, False])
def test_an_act_that_was_done_makes_its_job_done_with_the_result(
    restarted: Restarted, *, recovered: bool
) -> None:
    job = restarted.left(ONCE, state=JobState.RUNNING, attempt=1, intent=INTENT, percent=30)
    restarted.open(ending("ok", recovered=recovered))
    done = restarted.ended(job)
    assert (done.state, done.percent, done.result) == (JobState.DONE, 100, {"code": "ok"})
    assert restarted.done == []


def test_an_act_whose_result_has_gone_since_was_done_all_the_same(restarted: Restarted) -> None:
    def gone(_ending: Ending) -> Mapping[str, Any]:
        raise NotFound("The guest is gone.")

    restarted.result = gone
    job = restarted.left(ONCE, state=JobState.RUNNING, attempt=1, intent=INTENT)
    restarted.open(ending("ok"))
    assert (restarted.ended(job).state, restarted.ended(job).result) == (JobState.DONE, {})


def test_an_act_that_failed_by_itself_just_before_keeps_its_code_and_exit_code(restarted: Restarted) -> None:
    job = restarted.left(ONCE, state=JobState.RUNNING, attempt=1, intent=INTENT)
    restarted.open(ending("keystore.sealed", recovered=False))
    failed = restarted.ended(job)
    assert failed.error is not None
    assert (failed.error["code"], failed.error["exit"]) == ("keystore.sealed", 6)
    assert failed.error["record"] == INTENT


def test_a_code_that_no_error_has_any_more_is_told_as_it_is(restarted: Restarted) -> None:
    job = restarted.left(ONCE, state=JobState.RUNNING, attempt=1, intent=INTENT)
    restarted.open(ending("something.of_old", recovered=False))
    error = restarted.ended(job).error
    assert error is not None
    assert (error["code"], error["exit"]) == ("something.of_old", 1)


@pytest.mark.parametrize("intent", [None, INTENT])
def test_a_job_that_no_daemon_survived_is_given_up_and_told_of(
    restarted: Restarted, intent: str | None
) -> None:
    job = restarted.left(AGAIN, state=JobState.RUNNING, attempt=3, intent=intent)
    (given_up,) = restarted.open(ending("recovery.rolled_back"))
    failed = restarted.ended(job)
    assert (given_up.id, failed.state) == (job, JobState.FAILED)
    assert failed.error is not None
    assert failed.error["code"] == "job.gave_up"
    assert "3 times" in failed.error["message"]
    assert restarted.done == []


def test_a_job_cancelled_when_the_daemon_was_killed_does_not_begin_again(restarted: Restarted) -> None:
    rolled_back = restarted.left(AGAIN, state=JobState.RUNNING, attempt=1, intent=INTENT, cancelled_by="ada")
    restarted.open(ending("recovery.rolled_back"))
    assert restarted.ended(rolled_back).state == JobState.CANCELLED
    assert restarted.done == []


def test_a_job_cancelled_while_a_stop_sent_it_back_to_wait_does_not_begin_again(restarted: Restarted) -> None:
    job = restarted.left(AGAIN, state=JobState.WAITING, cancelled_by="ada")
    restarted.open()
    assert restarted.ended(job).state == JobState.CANCELLED
    assert restarted.done == []


def test_a_job_cancelled_while_it_waited_for_the_keys_stays_as_it_ended(restarted: Restarted) -> None:
    job = restarted.left(KEYS)
    restarted.open(sealed=True)
    cancelled = restarted.jobs.cancel(permit_for(Action.JOB_CANCEL, job_ref(job)), job)
    restarted.jobs.unsealed()
    assert (restarted.jobs.get(job), restarted.done) == (cancelled, [])


def test_a_job_that_was_done_before_its_cancellation_was_heard_is_done(restarted: Restarted) -> None:
    done = restarted.left(ONCE, state=JobState.RUNNING, attempt=1, intent=INTENT, cancelled_by="ada")
    restarted.open(ending("ok"))
    assert restarted.ended(done).state == JobState.DONE


@pytest.mark.parametrize("missing", ["arguments", "caller"])
def test_a_job_of_an_older_daemon_without_its_description_is_marked_as_cut_off(
    restarted: Restarted, missing: str
) -> None:
    job = restarted.left(AGAIN, state=JobState.RUNNING, **{missing: None})
    restarted.open()
    failed = restarted.ended(job)
    assert failed.error is not None
    assert (failed.state, failed.error["code"]) == (JobState.FAILED, "job.interrupted")
    assert failed.ended_at is not None


def test_a_kind_that_this_version_does_not_know_is_not_guessed_at(restarted: Restarted) -> None:
    job = restarted.left(Action.IMAGE_BUILD)
    restarted.open()
    assert restarted.ended(job).state == JobState.FAILED


def test_what_needs_the_sealed_key_store_waits_says_so_and_begins_after_the_unseal(
    restarted: Restarted,
) -> None:
    job = restarted.left(KEYS)
    restarted.open(sealed=True)
    held = restarted.jobs.get(job)
    assert (held.state, held.sentence) == (JobState.WAITING, "Waiting until the key store is unsealed.")
    assert restarted.jobs.is_cancellable(held)
    restarted.jobs.unsealed()
    assert restarted.ended(job).state == JobState.DONE
    restarted.jobs.unsealed()
    assert len(restarted.done) == 1


def test_what_had_ended_stays_as_it_was(restarted: Restarted) -> None:
    ended = {state: restarted.left(AGAIN, state=state, ended_at=utc_now()) for state in ENDED}
    restarted.open(ending("ok"))
    assert {state: restarted.jobs.get(job).state for state, job in ended.items()} == {
        state: state for state in ENDED
    }
    assert restarted.done == []


def test_old_and_many_ended_jobs_are_forgotten_and_unfinished_ones_never(
    restarted: Restarted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_table, "KEPT_COUNT", 3)
    long_ago = utc_now() - timedelta(days=job_table.KEPT_DAYS + 1)
    restarted.left(ONCE, state=JobState.DONE, created_at=long_ago, ended_at=long_ago)
    waiting = restarted.left(KEYS, created_at=long_ago)
    recent = [
        restarted.left(ONCE, state=JobState.FAILED, ended_at=utc_now() - timedelta(minutes=minutes))
        for minutes in range(5)
    ]
    restarted.open(sealed=True)
    with restarted.database.session() as session:
        assert set(session.exec(select(Job.id))) == {waiting, *recent[:3]}


def test_the_percentage_does_not_go_back_over_a_restart(tmp_path: Path) -> None:
    database = Database(tmp_path / "state.db", create=True)
    told, go_on = threading.Event(), threading.Event()

    def do(
        _caller: Caller, _given: Mapping[str, Any], progress: Callable[[int, str], None]
    ) -> dict[str, Any]:
        progress(5, "From the beginning.")
        told.set()
        go_on.wait(10)
        return {}

    with database.session() as session:
        job = Job(account_id="olga", action=AGAIN, subject="s", arguments={}, caller=CALLER, percent=60)
        session.add(job)
    jobs = Jobs(database, lambda _error: None)
    jobs.open({AGAIN: Kind(do, again=True)}, lambda _intent: None, sealed=False)
    told.wait(10)
    seen = jobs.get(job.id)
    assert (seen.percent, seen.sentence) == (60, "From the beginning.")
    go_on.set()
    jobs.close()
    database.close()
