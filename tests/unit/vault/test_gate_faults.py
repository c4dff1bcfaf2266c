"""What a failing log, a full disk and a clumsy act must not make the gate do."""

import logging
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from audit.errors import LogUnavailable, NotCanonical, RecordInvalid
from audit.log.record import Draft, Kind
from policies.vocabulary import Action, EntityRef, EntityType
from tests.unit.vault.gate_bench import CALLER, GUEST, OLGA, SHOW, START, Bench, Entities
from vault.errors import NotFound, OutcomeNotRecorded, PermitRefused
from vault.gate import Access, Caller, Gate
from vault.locks import ResourceLocks
from vault.permit import Permit

SEAL = Access(CALLER, Action.KEYSTORE_SEAL, EntityRef(EntityType.KEY_STORE, "keystore"))


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def never(_draft: Draft) -> bool:
    return False


def always(_draft: Draft) -> bool:
    return True


def full_disk(path: Path) -> None:
    """Make the journal impossible to write, as a full disk does."""
    path.symlink_to("/dev/full")


def test_an_access_that_waited_while_the_gate_stopped_does_not_act_though_the_log_is_back(
    tmp_path: Path,
) -> None:
    bench = Bench(tmp_path)
    bench.gate = Gate(bench.engine, Entities(), bench.log, bench.journal, ResourceLocks(wait_s=10))
    inside, leave = threading.Event(), threading.Event()
    ends: list[type[BaseException]] = []

    def attempt(act: Callable[[Permit], object]) -> None:
        try:
            bench.gate.run(START, act)
        except OutcomeNotRecorded as error:
            ends.append(type(error))

    def slow(_permit: Permit) -> None:
        inside.set()
        leave.wait(10)

    seen = threading.Event()

    def fail_first_outcome(draft: Draft) -> bool:
        if draft.kind is Kind.OUTCOME and not seen.is_set():
            seen.set()
            return True
        return False

    bench.log.fail_on = fail_first_outcome
    first = threading.Thread(target=attempt, args=(slow,))
    first.start()
    inside.wait(10)
    second = threading.Thread(target=attempt, args=(bench.act,))
    second.start()
    leave.set()
    first.join()
    second.join()
    assert ends == [OutcomeNotRecorded, OutcomeNotRecorded]
    assert bench.acts == []


def test_two_people_never_share_the_record_of_a_view(bench: Bench) -> None:
    other = Access(Caller(EntityRef(EntityType.ACCOUNT, "else"), "cli", session="s2"), SHOW.action, GUEST)
    bench.gate.read(SHOW, lambda: 1, view="all")
    bench.gate.read(other, lambda: 1, view="all")
    assert [record.session for record in bench.log.records] == ["s1", "s2"]


def test_a_caller_without_session_is_recorded_each_time(bench: Bench) -> None:
    stranger = Access(Caller(OLGA, "cli"), SHOW.action, GUEST)
    for _ in range(3):
        bench.gate.read(stranger, lambda: 1, view="all")
    assert len(bench.log.records) == 3


def test_an_unrecorded_read_is_not_taken_for_seen(bench: Bench) -> None:
    bench.log.fail_on = always
    with pytest.raises(LogUnavailable):
        bench.gate.read(SHOW, lambda: 1, view="all")
    bench.log.fail_on = never
    bench.gate.read(SHOW, lambda: 1, view="all")
    assert len(bench.log.records) == 1


@pytest.mark.parametrize("fact", [1.5, "e\u0301", "\ud800", 2**53, object()], ids=repr)
def test_a_fact_that_no_record_can_hold_fails_the_act_and_leaves_no_open_intent(
    bench: Bench, fact: object
) -> None:
    def act(permit: Permit) -> None:
        permit.note(kept=1)
        permit.note(fact=fact)

    with pytest.raises(NotCanonical):
        bench.gate.run(START, act)
    assert bench.log.codes() == [None, "record.not_canonical"]
    assert bench.log.records[1].result == {"code": "record.not_canonical", "facts": {"kept": 1}}
    assert bench.gate.stopped_by is None


def test_data_is_no_fact(bench: Bench) -> None:
    with pytest.raises(RecordInvalid, match="too large"):
        bench.gate.run(START, lambda permit: permit.note(fact="x" * 70_000))
    assert bench.gate.stopped_by is None


def test_an_outcome_that_no_record_can_hold_stops_the_gate(bench: Bench) -> None:
    def act(permit: Permit) -> None:
        permit.facts["slipped_in"] = 1.5

    with pytest.raises(OutcomeNotRecorded):
        bench.gate.run(START, act)
    assert bench.gate.stopped_by == bench.log.records[0].id


def test_sealing_waits_for_nobody(bench: Bench) -> None:
    with bench.gate.locks.hold(str(SEAL.resource)):
        assert bench.gate.run_safe(SEAL, lambda _permit: "sealed") == "sealed"


def test_a_safe_action_on_a_full_disk_is_refused_with_one_clear_sentence(bench: Bench) -> None:
    bench.log.fail_on = always
    full_disk(bench.journal_path)
    done: list[str] = []
    with pytest.raises(LogUnavailable, match="Neither the log nor the journal") as caught:
        bench.gate.run_safe(SEAL, lambda _permit: done.append("sealed"))
    assert caught.value.exit_code == 9
    assert done == []


@pytest.mark.parametrize("fails", [False, True])
def test_a_safe_action_whose_end_cannot_be_journalled_says_so_and_stops_the_gate(
    bench: Bench, *, fails: bool
) -> None:
    bench.log.fail_on = always

    def act(_permit: Permit) -> None:
        bench.journal_path.unlink()
        full_disk(bench.journal_path)
        if fails:
            raise NotFound("There is none.")

    with pytest.raises(OutcomeNotRecorded, match="It failed" if fails else "It was done"):
        bench.gate.run_safe(SEAL, act)
    assert bench.gate.stopped_by is not None


def test_the_permit_of_a_journalled_action_ends_with_it(bench: Bench) -> None:
    bench.log.fail_on = always
    kept: list[Permit] = []
    bench.gate.run_safe(SEAL, kept.append)
    with pytest.raises(PermitRefused, match="ended"):
        kept[0].require(SEAL.resource, Action.KEYSTORE_SEAL)


@pytest.mark.parametrize("next_access", ["run", "read", "run_safe"])
def test_what_was_journalled_is_recorded_with_the_next_access_that_is(bench: Bench, next_access: str) -> None:
    bench.log.fail_on = always
    bench.gate.run_safe(SEAL, lambda _permit: "sealed")
    bench.log.fail_on = never
    if next_access == "run":
        bench.gate.run(START, bench.act)
    elif next_access == "read":
        bench.gate.read(SHOW, lambda: 1)
    else:
        bench.gate.run_safe(SEAL, lambda _permit: "sealed")
    last = bench.log.records[-1]
    assert (last.kind, last.action, str(last.resource)) == (
        Kind.RECOVERY,
        "keystore.seal",
        "keystore:keystore",
    )
    assert not bench.journal.waiting


def test_a_journal_that_cannot_be_recorded_yet_spoils_no_access_and_is_kept(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.log.fail_on = always
    bench.gate.run_safe(SEAL, lambda _permit: "sealed")
    bench.log.fail_on = lambda draft: draft.kind is Kind.RECOVERY
    with caplog.at_level(logging.WARNING):
        assert bench.gate.run(START, bench.act) == "did"
    assert "could not be recorded yet" in caplog.text
    assert bench.journal.waiting


def test_a_settled_intent_gets_code_and_facts_and_a_permit_that_ends(bench: Bench) -> None:
    bench.gate.run(START, bench.act)
    kept: list[Permit] = []

    def act(permit: Permit) -> str:
        permit.require(GUEST, Action.GUEST_START)
        permit.note(running=True)
        kept.append(permit)
        return "ok"

    assert bench.gate.settle(bench.log.records[0], act) == ("ok", {"running": True})
    assert kept[0].intent == bench.log.records[0].id
    assert "closed" in repr(kept[0])
    with pytest.raises(PermitRefused):
        kept[0].require(GUEST, Action.GUEST_START)


def test_a_settlement_that_fails_leaves_no_open_permit(bench: Bench) -> None:
    bench.gate.run(START, bench.act)
    kept: list[Permit] = []

    def act(permit: Permit) -> str:
        kept.append(permit)
        raise NotFound("There is none.")

    with pytest.raises(NotFound):
        bench.gate.settle(bench.log.records[0], act)
    with pytest.raises(PermitRefused):
        kept[0].require(GUEST, Action.GUEST_START)


def test_another_bundle_decides_from_the_next_access_on(tmp_path: Path, bench: Bench) -> None:
    other = Bench(tmp_path / "other").engine
    bench.gate.replace_engine(other)
    bench.gate.run(START, bench.act)
    assert bench.engine.asked == []
    assert len(other.asked) == 1
