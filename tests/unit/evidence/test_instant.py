"""Periods as people type them, and as records are compared with them."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from audit.evidence.errors import FrameworkUnknown, PeriodInvalid
from audit.evidence.framework import Framework, framework_named
from audit.evidence.instant import Period, format_instant, parse_instant


def test_a_period_includes_its_first_instant_and_excludes_its_last() -> None:
    period = Period.between("2026-03-01T00:00:00Z", "2026-04-01T00:00:00Z")
    assert period.covers("2026-03-01T00:00:00.000000Z")
    assert period.covers("2026-03-31T23:59:59.999999Z")
    assert not period.covers("2026-04-01T00:00:00.000000Z")
    assert not period.covers("2026-02-28T23:59:59.999999Z")


@pytest.mark.parametrize(
    ("start", "end"),
    [("2026-04-01T00:00:00Z", "2026-03-01T00:00:00Z"), ("2026-03-01T00:00:00Z", "2026-03-01T00:00:00Z")],
)
def test_a_period_that_is_empty_or_runs_backwards_is_refused(start: str, end: str) -> None:
    with pytest.raises(PeriodInvalid, match="before"):
        Period.between(start, end)


@pytest.mark.parametrize(
    "untrusted",
    [
        "",
        "yesterday",
        "2026-03-01",
        "2026-03-01T00:00:00",
        "2026-03-01T00:00:00+00:00",
        "2026-13-01T00:00:00Z",
        "2026-03-01 00:00:00Z",
        "2026-03-01T00:00:00Z\n",
        "٢٠٢٦-03-01T00:00:00Z",
    ],
)
def test_what_is_not_rfc_3339_in_utc_is_refused(untrusted: str) -> None:
    with pytest.raises(PeriodInvalid):
        parse_instant(untrusted)


def test_an_instant_of_another_zone_is_written_in_utc() -> None:
    there = datetime(2026, 3, 1, 1, tzinfo=timezone(timedelta(hours=1)))
    assert format_instant(there) == "2026-03-01T00:00:00.000000Z"
    assert parse_instant("2026-03-01T00:00:00Z") == datetime(2026, 3, 1, tzinfo=UTC)


def test_an_unknown_framework_is_refused_with_those_that_exist() -> None:
    with pytest.raises(FrameworkUnknown) as refused:
        framework_named("soc2")
    assert refused.value.hint == "Choose hipaa or pci."
    assert framework_named("pci") is Framework.PCI
