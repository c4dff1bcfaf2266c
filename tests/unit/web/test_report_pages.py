"""The pages of reports: periods, what a form refuses, the history and its files."""

from datetime import UTC, datetime

import pytest
from flask.testing import FlaskClient

from tests.unit.web.browsing import enter, keeps_to_the_rules, see, send
from vault.errors import BadInput
from vault.model import Report
from vault.site import Site
from web.views import periods

NOW = datetime(2026, 5, 17, 10, 30, tzinfo=UTC)


def _day(year: int, month: int, day: int) -> datetime:
    return datetime(year, month, day, tzinfo=UTC)


@pytest.mark.parametrize(
    ("now", "preset", "since", "until"),
    [
        (NOW, "last-month", _day(2026, 4, 1), _day(2026, 5, 1)),
        (NOW, "last-quarter", _day(2026, 1, 1), _day(2026, 4, 1)),
        (NOW, "this-year", _day(2026, 1, 1), NOW),
        (_day(2026, 1, 31), "last-month", _day(2025, 12, 1), _day(2026, 1, 1)),
        (_day(2026, 2, 1), "last-quarter", _day(2025, 10, 1), _day(2026, 1, 1)),
        (_day(2028, 3, 31), "last-year", _day(2027, 1, 1), _day(2028, 1, 1)),
    ],
)
def test_the_usual_periods_are_whole_months_quarters_and_years(
    now: datetime, preset: str, since: datetime, until: datetime
) -> None:
    assert periods.chosen(preset, "", "", now) == periods.Period(since, until)


def test_own_dates_hold_both_days_whole() -> None:
    found = periods.chosen("own", "2026-02-01", "2026-02-28", NOW)
    assert found == periods.Period(_day(2026, 2, 1), _day(2026, 3, 1))
    assert periods.chosen("own", "2026-02-01", "2026-02-01", NOW).until == _day(2026, 2, 2)


@pytest.mark.parametrize(
    ("preset", "first", "last", "sentence"),
    [
        ("own", "2026-02-02", "2026-02-01", "ends before it begins"),
        ("own", "2026-02-30", "2026-03-01", "is not a time"),
        ("own", "", "2026-03-01", "a first and a last day"),
        ("own", "2027-01-01", "2027-02-01", "lies in the future"),
        ("own", "9999-12-31", "9999-12-31", "is not a time"),
        ("next-year", "", "", "There is no period"),
    ],
)
def test_a_period_that_cannot_be_is_one_sentence(preset: str, first: str, last: str, sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        periods.chosen(preset, first, last, NOW)


def test_a_report_is_asked_for_as_a_job_and_a_wrong_form_begins_none(
    site: Site, anybody: FlaskClient
) -> None:
    browser = enter(anybody, "carl-compliance")
    page = see(browser, "/reports")
    assert "No report yet" in page
    assert "no certificate" in page
    keeps_to_the_rules(page)
    for fields, sentence in (
        ({"framework": "iso"}, "Choose which framework"),
        ({"framework": "pci", "period": "own", "from": "2026-02-02", "to": "2026-02-01"}, "ends before"),
    ):
        answer = send(browser, "/reports", **fields)
        assert answer.status_code == 400
        assert sentence in answer.text
        assert site.jobs.latest() == []
    assert 'value="2026-02-02"' in answer.text
    answer = send(browser, "/reports", framework="hipaa", period="this-year")
    assert answer.status_code == 303
    assert site.jobs.latest()[0].action == "report.create"


def test_the_history_gives_out_files_and_an_auditor_may_take_them_but_make_none(
    site: Site, anybody: FlaskClient
) -> None:
    hostile = "<img src=x>.pdf"
    report = Report(
        framework="hipaa",
        period_from=_day(2026, 1, 1),
        period_to=_day(2026, 2, 1),
        created_by="id-carl-compliance",
        summary={"controls": 31, "tested": 22, "counts": {"SATISFIED": 21, "NOT-SATISFIED": 1, "PARTIAL": 0}},
        files=[{"name": name, "sha256": "ab" * 32, "size_bytes": 3} for name in ("report.pdf", hostile)],
    )
    folder = site.settings.data_dir / "reports" / report.id
    folder.mkdir()
    (folder / "report.pdf").write_bytes(b"pdf")
    with site.database.session() as session:
        session.add(report)
    browser = enter(anybody, "anna-auditor")
    page = see(browser, "/reports")
    assert "2026-01-01 to 2026-01-31" in page
    assert "carl-compliance" in page
    assert '<span class="pill good">21 satisfied</span>' in page
    assert '<span class="pill bad">1 not satisfied</span>' in page
    assert "partial" not in page
    assert "Make the report" not in page
    assert "<img src=x>" not in page
    keeps_to_the_rules(page)
    with browser.get(f"/reports/{report.id}/files/report.pdf") as answer:
        assert answer.data == b"pdf"
        assert "attachment" in answer.headers["Content-Disposition"]
    see(browser, f"/reports/{report.id}/files/facts.db", 404)
    see(browser, "/reports/none/files/report.pdf", 404)
    see(enter(anybody, "olga-operator"), "/reports", 403)
