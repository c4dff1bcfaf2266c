import threading
from pathlib import Path

import pytest

from audit.errors import LogUnavailable
from audit.log.record import Kind
from policies.vocabulary import Action, EntityRef, EntityType, Verdict
from tests.unit.vault.gate_bench import CALLER, GUEST, OLGA, SHOW, START, Bench, Entities
from vault.errors import ApprovalNeeded, Conflict, NotFound, OutcomeNotRecorded, PermitRefused, PolicyDenied
from vault.gate import Access, Caller, Gate
from vault.locks import ResourceLocks
from vault.permit import Permit


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_an_allowed_act_has_its_intent_before_and_its_outcome_after(bench: Bench) -> None:
    seen: list[list[Kind]] = []

    def act(permit: Permit) -> str:
        seen.append(bench.log.kinds())
        permit.note(size_bytes=5)
        return "did"

    assert bench.gate.run(START, act) == "did"
    assert seen == [[Kind.INTENT]]
    assert bench.log.kinds() == [Kind.INTENT, Kind.OUTCOME]
    assert bench.log.records[1].intent == bench.log.records[0].id
    assert bench.log.records[1].result == {"code": "ok", "facts": {"size_bytes": 5}}


def test_a_denied_act_is_recorded_with_its_policy_and_not_done(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Verdict.DENY)
    with pytest.raises(PolicyDenied) as caught:
        bench.gate.run(START, bench.act)
    assert bench.acts == []
    assert bench.log.kinds() == [Kind.DENIED]
    assert bench.log.records[0].policies == ("test.policy",)
    assert caught.value.record == bench.log.records[0].id


def test_an_unmet_obligation_waits_and_does_nothing(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Verdict.UNMET)
    with pytest.raises(ApprovalNeeded, match="dual_control"):
        bench.gate.run(START, bench.act)
    assert bench.acts == []
    assert bench.log.kinds() == [Kind.PENDING]


def test_without_a_log_nothing_is_done(bench: Bench) -> None:
    bench.log.fail_on = lambda _draft: True
    with pytest.raises(LogUnavailable):
        bench.gate.run(START, bench.act)
    assert bench.acts == []


def test_an_intent_that_became_durable_too_late_yields_no_permit(bench: Bench) -> None:
    bench.log.fail_on = lambda _draft: True
    bench.log.persist_failed = True
    with pytest.raises(LogUnavailable):
        bench.gate.run(START, bench.act)
    assert bench.acts == []
    assert bench.log.kinds() == [Kind.INTENT]


@pytest.mark.parametrize("persisted", [False, True], ids=["failed and not persisted", "failed but persisted"])
def test_an_outcome_that_cannot_be_recorded_stops_the_gate(bench: Bench, *, persisted: bool) -> None:
    bench.log.fail_on = lambda draft: draft.kind is Kind.OUTCOME
    bench.log.persist_failed = persisted
    with pytest.raises(OutcomeNotRecorded) as caught:
        bench.gate.run(START, bench.act)
    assert caught.value.exit_code == 11
    assert len(bench.acts) == 1
    assert bench.gate.stopped_by == bench.log.records[0].id
    bench.log.fail_on = lambda _draft: False
    with pytest.raises(OutcomeNotRecorded):
        bench.gate.run(START, bench.act)
    with pytest.raises(OutcomeNotRecorded):
        bench.gate.read(SHOW, lambda: "secret")
    assert len(bench.acts) == 1


def test_a_failing_act_that_cannot_be_recorded_stops_the_gate_too(bench: Bench) -> None:
    bench.log.fail_on = lambda draft: draft.kind is Kind.OUTCOME

    def act(_permit: Permit) -> None:
        raise NotFound("No such guest.")

    with pytest.raises(OutcomeNotRecorded, match="It failed"):
        bench.gate.run(START, act)


def test_the_code_of_a_failed_act_is_recorded_and_the_error_names_its_intent(bench: Bench) -> None:
    def act(_permit: Permit) -> None:
        raise Conflict("It runs already.")

    with pytest.raises(Conflict) as caught:
        bench.gate.run(START, act)
    assert bench.log.codes() == [None, "conflict"]
    assert caught.value.record == bench.log.records[0].id


def test_an_unexpected_error_is_recorded_without_its_text(bench: Bench) -> None:
    def act(_permit: Permit) -> None:
        raise RuntimeError("passphrase hunter2 did not work")

    with pytest.raises(RuntimeError):
        bench.gate.run(START, act)
    assert bench.log.codes() == [None, "unexpected"]
    assert b"hunter2" not in bench.log.records[1].bytes


def test_an_interrupt_in_the_act_is_recorded(bench: Bench) -> None:
    def act(_permit: Permit) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bench.gate.run(START, act)
    assert bench.log.codes() == [None, "unexpected"]


def test_a_permit_kept_for_later_is_refused(bench: Bench) -> None:
    bench.gate.run(START, bench.act)
    with pytest.raises(PermitRefused):
        bench.acts[0].require(GUEST, Action.GUEST_START)


def test_a_permit_for_another_guest_or_action_is_refused(bench: Bench) -> None:
    def act(permit: Permit) -> None:
        with pytest.raises(PermitRefused):
            permit.require(EntityRef(EntityType.GUEST, "other"), Action.GUEST_START)
        with pytest.raises(PermitRefused):
            permit.require(GUEST, Action.GUEST_DELETE)

    bench.gate.run(START, act)


def test_nobody_but_the_gate_makes_a_permit() -> None:
    with pytest.raises(PermitRefused):
        Permit(object(), principal=OLGA, action=Action.GUEST_START, resource=GUEST, intent="0" * 32)


def test_a_read_is_one_record_durable_before_the_data_is_handed_out(bench: Bench) -> None:
    assert bench.gate.read(SHOW, lambda: "data") == "data"
    assert bench.log.kinds() == [Kind.ACCESS]
    bench.log.fail_on = lambda _draft: True
    with pytest.raises(LogUnavailable):
        bench.gate.read(SHOW, lambda: "data")


def test_a_denied_read_produces_nothing(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Verdict.DENY)
    produced: list[str] = []
    with pytest.raises(PolicyDenied):
        bench.gate.read(SHOW, lambda: produced.append("data"))
    assert produced == []
    assert bench.log.kinds() == [Kind.DENIED]


def test_a_failing_read_is_recorded_with_its_code(bench: Bench) -> None:
    def missing() -> None:
        raise NotFound("No such guest.")

    def broken() -> None:
        raise RuntimeError("x")

    with pytest.raises(NotFound):
        bench.gate.read(SHOW, missing)
    with pytest.raises(RuntimeError):
        bench.gate.read(SHOW, broken)
    assert bench.log.codes() == ["not_found", "unexpected"]


def test_a_view_that_refreshes_is_recorded_once_in_five_minutes_but_decided_each_time(bench: Bench) -> None:
    for _ in range(10):
        bench.gate.read(SHOW, lambda: 1, view="guest/all")
    assert bench.log.kinds() == [Kind.ACCESS]
    assert len(bench.engine.asked) == 10
    bench.gate.read(SHOW, lambda: 1, view="guest/ephi")
    bench.clock.now += 301
    bench.gate.read(SHOW, lambda: 1, view="guest/all")
    assert len(bench.log.records) == 3


def test_a_role_revoked_between_refreshes_ends_the_view(bench: Bench) -> None:
    bench.gate.read(SHOW, lambda: 1, view="guest/all")
    bench.engine.verdict = Verdict.DENY
    with pytest.raises(PolicyDenied):
        bench.gate.read(SHOW, lambda: 1, view="guest/all")


def test_a_second_act_on_a_busy_guest_is_a_conflict_and_decides_nothing(bench: Bench) -> None:
    inside, leave = threading.Event(), threading.Event()

    def slow(_permit: Permit) -> None:
        inside.set()
        leave.wait(10)

    thread = threading.Thread(target=bench.gate.run, args=(START, slow))
    thread.start()
    inside.wait(10)
    try:
        with pytest.raises(Conflict):
            bench.gate.run(START, bench.act)
        assert bench.acts == []
        assert bench.gate.locks.is_busy(str(GUEST))
        assert len(bench.engine.asked) == 1
    finally:
        leave.set()
        thread.join()
    assert not bench.gate.locks.is_busy(str(GUEST))


def test_a_role_revoked_while_an_access_waited_for_the_lock_denies_it(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.gate = Gate(bench.engine, Entities(), bench.log, bench.journal, ResourceLocks(wait_s=10))
    inside, leave = threading.Event(), threading.Event()
    refused: list[BaseException] = []

    def slow(_permit: Permit) -> None:
        inside.set()
        leave.wait(10)

    def second() -> None:
        try:
            bench.gate.run(START, bench.act)
        except PolicyDenied as error:
            refused.append(error)

    first = threading.Thread(target=bench.gate.run, args=(START, slow))
    first.start()
    inside.wait(10)
    waiting = threading.Thread(target=second)
    waiting.start()
    bench.engine.verdict = Verdict.DENY
    leave.set()
    first.join()
    waiting.join()
    assert len(refused) == 1
    assert bench.acts == []


def test_acts_on_the_site_by_two_people_do_not_wait_for_each_other() -> None:
    site = EntityRef(EntityType.SITE, "site")
    other = Caller(EntityRef(EntityType.ACCOUNT, "else"), "cli")
    first = Access(CALLER, Action.SESSION_LOGIN, site)
    assert first.lock_key != Access(other, Action.SESSION_LOGIN, site).lock_key
    assert first.lock_key != Access(CALLER, Action.IMAGE_BUILD, site).lock_key


SEAL = Access(CALLER, Action.KEYSTORE_SEAL, EntityRef(EntityType.KEY_STORE, "keystore"))


def test_a_safe_action_takes_the_ordinary_way_while_the_log_works(bench: Bench) -> None:
    assert bench.gate.run_safe(SEAL, lambda _permit: "sealed") == "sealed"
    assert bench.log.kinds() == [Kind.INTENT, Kind.OUTCOME]
    assert not bench.journal_path.exists()


def test_a_safe_action_goes_on_without_the_log_and_is_recorded_when_it_returns(bench: Bench) -> None:
    bench.log.fail_on = lambda _draft: True
    assert bench.gate.run_safe(SEAL, lambda _permit: "sealed") == "sealed"
    with pytest.raises(RuntimeError):
        bench.gate.run_safe(SEAL, _broken)
    assert bench.log.records == []
    bench.log.fail_on = lambda _draft: False
    with bench.journal_path.open("a") as file:
        file.write('{"entry": "cut sho')
    assert bench.journal.drain(bench.log.append) == 2
    assert bench.log.kinds() == [Kind.RECOVERY, Kind.RECOVERY]
    assert bench.log.codes() == ["ok", "unexpected"]
    assert bench.journal.drain(bench.log.append) == 0


def test_a_safe_action_goes_on_when_the_gate_has_stopped(bench: Bench) -> None:
    bench.log.fail_on = lambda draft: draft.kind is Kind.OUTCOME
    with pytest.raises(OutcomeNotRecorded):
        bench.gate.run(START, bench.act)
    assert bench.gate.run_safe(SEAL, lambda _permit: "sealed") == "sealed"
    assert bench.journal_path.exists()


def test_the_missing_log_is_no_way_round_the_policy(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Verdict.DENY)
    with pytest.raises(PolicyDenied):
        bench.gate.run_safe(SEAL, lambda _permit: "sealed")
    bench.log.fail_on = lambda _draft: True
    with pytest.raises(LogUnavailable):
        bench.gate.run_safe(SEAL, lambda _permit: "sealed")


def _broken(_permit: Permit) -> None:
    raise RuntimeError("x")
