"""The join of every access with one allow decision: what hides between intent, outcome and period."""

import pytest

from audit.evidence.check import CheckResult
from audit.evidence.instant import Period
from audit.evidence.log_range import SeqSpan, spans
from audit.evidence.verdict import Verdict
from tests.unit.evidence.examples import CARL, CLINIC, MARCH, Story, changed, healthy_facts, run, snapshot

JOIN = "access.one_decision"
GUEST = f"guest:{CLINIC}"


def _join(story: Story, period: Period = MARCH, in_flight: tuple[str, ...] = ()) -> CheckResult:
    facts = changed(healthy_facts(), "log", in_flight=in_flight)
    return run(JOIN, snapshot(facts=facts, events=story.events, period=period))


def test_an_outcome_without_intent_is_found() -> None:
    story = Story()
    story.add("outcome", "guest.start", resource=GUEST, intent="f" * 32)
    story.add("access", "guest.list")
    result = _join(story)
    assert result.verdict is Verdict.NOT_SATISFIED
    assert [row[0] for row in result.table.rows] == ["0"]


def test_two_outcomes_of_one_intent_are_found() -> None:
    story = Story()
    first = story.act("guest.start", resource=GUEST)
    story.add("outcome", "guest.start", resource=GUEST, changes={"intent": first.intent})
    assert _join(story).violations == 1


def test_an_intent_that_was_not_allowed_and_yet_acted_is_found() -> None:
    story = Story()
    intent = story.add("intent", "guest.start", resource=GUEST, decision="deny")
    story.add("outcome", "guest.start", resource=GUEST, intent=intent.id)
    assert "decided deny" in _join(story).table.rows[0][-1]


@pytest.mark.parametrize("field", ["principal", "resource"])
def test_an_outcome_of_somebody_or_something_else_is_found(field: str) -> None:
    story = Story()
    intent = story.add("intent", "guest.start", resource=GUEST)
    story.add(
        "outcome", "guest.start", changes={"resource": GUEST, "intent": intent.id, field: "account:other"}
    )
    assert "differs from its intent" in _join(story).table.rows[0][-1]


def test_an_intent_that_never_ended_is_found() -> None:
    story = Story()
    story.add("intent", "guest.start", resource=GUEST)
    assert "no outcome" in _join(story).table.rows[0][-1]


def test_an_intent_that_ran_when_the_facts_were_taken_is_no_finding_but_is_counted() -> None:
    story = Story()
    running = story.add("intent", "report.create")
    result = _join(story, in_flight=(running.id,))
    assert result.verdict is Verdict.SATISFIED
    assert "but for 1 that ran" in result.reason


def test_the_reports_own_intent_is_never_a_finding_but_an_older_one_that_never_ended_is() -> None:
    story = Story()
    for _ in range(2):
        story.add("intent", "report.create", principal=f"account:{CARL}")
    result = _join(story)
    assert [row[0] for row in result.table.rows] == ["0"]


@pytest.mark.parametrize(("detail", "found"), [("shutdown", 0), ("crashed", 0), ("destroyed", 1), (None, 1)])
def test_a_guest_that_ends_by_itself_is_no_finding_and_one_that_is_ended_is(
    detail: str | None, found: int
) -> None:
    story = Story()
    story.add("access", "guest.list")
    facts = {} if detail is None else {"detail": detail}
    story.add("external", "domain.stopped", principal="os:outside", resource=GUEST, changes={"facts": facts})
    assert _join(story).violations == found


def test_a_read_that_was_denied_and_yet_answered_is_found() -> None:
    story = Story()
    story.add("access", "log.list", decision="deny")
    assert _join(story).violations == 1


def test_an_intent_before_the_period_still_joins_its_outcome_inside() -> None:
    story = Story()
    intent = story.add("intent", "guest.start", at="2026-02-28T23:59:59.000000Z", resource=GUEST)
    story.add("outcome", "guest.start", at="2026-03-01T00:00:01.000000Z", resource=GUEST, intent=intent.id)
    story.add("access", "guest.list")
    assert _join(story).verdict is Verdict.SATISFIED


def test_what_is_wrong_outside_the_period_is_not_this_periods_finding() -> None:
    story = Story()
    story.add("external", "guest.stop", at="2026-02-01T00:00:00.000000Z", principal="os:0", resource=GUEST)
    story.add("access", "guest.list")
    assert _join(story).verdict is Verdict.SATISFIED


def test_a_period_without_records_has_no_population() -> None:
    story = Story()
    story.act("guest.start", resource=GUEST)
    later = Period.between("2027-01-01T00:00:00Z", "2027-02-01T00:00:00Z")
    result = _join(story, later)
    assert (result.verdict, result.seqs) == (Verdict.NO_POPULATION, ())


def test_record_numbers_are_written_as_the_fewest_spans() -> None:
    assert spans([5, 1, 2, 3, 9, 9]) == (SeqSpan(1, 3), SeqSpan(5, 5), SeqSpan(9, 9))
    assert [str(span) for span in spans([1, 2, 7])] == ["1 to 2", "7"]
