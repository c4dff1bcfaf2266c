"""The life of a finding: opened once, known, closed by itself or by hand, and opened again while its cause stands."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from policies.vocabulary import Action, EntityRef, EntityType
from tests.fakes.permits import OPERATOR, permit_for
from vault.database import Database
from vault.disks.measure import KeyslotProblem
from vault.errors import BadInput, Conflict, NotFound, PermitRefused
from vault.finding_codes import FINDING_CODES, Severity
from vault.findings import Findings, FindingState, finding_ref, is_closable, state_of
from vault.guests.ports import EventKind
from vault.model import Finding
from vault.permit import Permit

MENDED_BY_ITSELF = "log.verification_failed"


@pytest.fixture
def findings(tmp_path: Path) -> Iterator[Findings]:
    database = Database(tmp_path / "state.db", create=True)
    yield Findings(database)
    database.close()


def find(findings: Findings, code: str = "disk.keyslot_unknown", resource: str = "guest:1/root") -> str:
    return findings.open(code, resource=resource, sentence="A slot.").id


def to(action: Action, finding_id: str) -> Permit:
    return permit_for(action, finding_ref(finding_id))


def acknowledge(findings: Findings, finding_id: str, note: str = "Olga looks.") -> Finding:
    return findings.acknowledge(to(Action.FINDING_ACKNOWLEDGE, finding_id), finding_id, note)


def close(findings: Findings, finding_id: str, reason: str = "A test of ours.") -> Finding:
    return findings.close_by_hand(to(Action.FINDING_CLOSE, finding_id), finding_id, reason)


# -- opened and closed by checks -------------------------------------------------------------------------


def test_the_same_open_finding_is_not_opened_twice(findings: Findings) -> None:
    assert find(findings) == find(findings)
    assert find(findings, resource="guest:2/root") != find(findings, code="disk.header_changed")
    assert len(findings.all_open()) == 3


def test_many_threads_that_see_the_same_open_one_finding(findings: Findings) -> None:
    together = threading.Barrier(8)

    def work() -> None:
        together.wait(10)
        find(findings)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(findings.all_open()) == 1


def test_a_finding_that_was_mended_and_comes_back_is_a_new_one(findings: Findings) -> None:
    first = find(findings)
    other = find(findings, resource="guest:2/root")
    findings.close("disk.keyslot_unknown", "guest:1/root")
    findings.close("disk.keyslot_unknown", "guest:9/root")
    assert [finding.id for finding in findings.all_open()] == [other]
    again = findings.get(find(findings))
    assert (again.id != first, again.reopens) == (True, None)


def test_the_newest_finding_comes_first(findings: Findings) -> None:
    ids = [find(findings, resource=f"guest:{number}/root") for number in range(3)]
    assert [finding.id for finding in findings.all_open()] == ids[::-1]


def test_how_grave_it_is_and_what_to_do_come_from_its_code_unless_the_finding_knows_better(
    findings: Findings,
) -> None:
    plain = findings.open("guest.autostart_failed", resource="guest:1", sentence="It did not start.")
    exact = findings.open("guest.autostart_failed", resource="guest:2", sentence="s", remedy="Unseal first.")
    assert (plain.severity, plain.remedy) == (Severity.HIGH, FINDING_CODES[plain.code].remedy)
    assert exact.remedy == "Unseal first."


def test_a_check_with_a_code_that_nobody_described_is_a_defect(findings: Findings) -> None:
    with pytest.raises(KeyError):
        find(findings, code="made.up")
    assert findings.all_open() == []


def test_everything_that_the_watches_can_find_has_a_code_with_words() -> None:
    outside = {f"outside.{kind}" for kind in EventKind}
    assert outside | set(KeyslotProblem) <= set(FINDING_CODES)
    for code, known in FINDING_CODES.items():
        assert known.title, code
        assert known.remedy.endswith("."), code


# -- what people do --------------------------------------------------------------------------------------


def test_a_finding_is_open_then_known_then_closed_with_who_when_and_why(findings: Findings) -> None:
    found = find(findings)
    assert state_of(findings.get(found)) is FindingState.OPEN
    known = acknowledge(findings, found, "  Olga looks at the host.\n")
    assert (state_of(known), known.acknowledged_by) == (FindingState.ACKNOWLEDGED, OPERATOR.id)
    assert known.note == "Olga looks at the host."
    assert known.acknowledged_at is not None
    assert [each.id for each in findings.all_open()] == [found], "it stays open"
    closed = close(findings, found)
    assert (state_of(closed), closed.closed_by, closed.reason) == (
        FindingState.CLOSED,
        OPERATOR.id,
        "A test of ours.",
    )
    assert findings.all_open() == []
    assert findings.get(found).note == "Olga looks at the host."


def test_a_finding_closed_by_hand_whose_cause_still_stands_opens_again_and_names_the_old_one(
    findings: Findings,
) -> None:
    first = find(findings)
    close(findings, first, "It is nothing.")
    again = findings.get(find(findings))
    assert (again.reopens, state_of(again)) == (first, FindingState.OPEN)
    findings.close(again.code, again.resource)
    assert findings.get(find(findings)).reopens is None, "the last one went by itself"


def test_what_a_check_can_settle_is_not_talked_away(findings: Findings) -> None:
    found = find(findings, MENDED_BY_ITSELF, "log:log")
    assert not is_closable(findings.get(found))
    with pytest.raises(Conflict, match="by itself") as refused:
        close(findings, found)
    assert refused.value.hint == FINDING_CODES[MENDED_BY_ITSELF].remedy
    acknowledge(findings, found)
    assert [each.id for each in findings.all_open()] == [found]
    findings.close(MENDED_BY_ITSELF, "log:log")
    assert findings.get(found).closed_by is None


@pytest.mark.parametrize("words", ["", "  \n", "x" * 2001, "a\x1b[2Jb", "a\0b"])
def test_words_that_say_nothing_or_drive_a_terminal_change_nothing(findings: Findings, words: str) -> None:
    found = find(findings)
    with pytest.raises(BadInput):
        acknowledge(findings, found, words)
    with pytest.raises(BadInput):
        close(findings, found, words)
    assert state_of(findings.get(found)) is FindingState.OPEN


def test_what_is_over_is_not_changed_any_more(findings: Findings) -> None:
    found = find(findings)
    acknowledge(findings, found)
    with pytest.raises(Conflict, match="acknowledged already"):
        acknowledge(findings, found, "Me too.")
    close(findings, found)
    with pytest.raises(Conflict, match="closed already"):
        close(findings, found, "Again.")
    with pytest.raises(Conflict, match="closed already"):
        acknowledge(findings, found)
    assert findings.get(found).reason == "A test of ours."


def test_a_finding_that_does_not_exist_is_not_found(findings: Findings) -> None:
    with pytest.raises(NotFound):
        findings.get("none")
    with pytest.raises(NotFound):
        close(findings, "none")


def test_a_permit_for_one_finding_closes_no_other(findings: Findings) -> None:
    one, other = find(findings), find(findings, resource="guest:2/root")
    with pytest.raises(PermitRefused):
        findings.close_by_hand(to(Action.FINDING_CLOSE, one), other, "No.")
    with pytest.raises(PermitRefused):
        findings.close_by_hand(to(Action.FINDING_ACKNOWLEDGE, one), one, "No.")
    with pytest.raises(PermitRefused):
        findings.acknowledge(
            permit_for(Action.FINDING_ACKNOWLEDGE, EntityRef(EntityType.SITE, "x")), one, "No."
        )
    assert len(findings.all_open()) == 2


def test_the_list_is_filtered_by_state_and_severity(findings: Findings) -> None:
    grave, other = find(findings), find(findings, "job.gave_up", "job:1")
    gone = find(findings, resource="guest:3/root")
    close(findings, gone)
    acknowledge(findings, other)
    ids = {state: [each.id for each in findings.search((state,))] for state in FindingState}
    assert ids == {
        FindingState.OPEN: [grave],
        FindingState.ACKNOWLEDGED: [other],
        FindingState.CLOSED: [gone],
    }
    assert [each.id for each in findings.search(tuple(FindingState), (Severity.MEDIUM,))] == [other]
    assert len(findings.search(tuple(FindingState), limit=2)) == 2
