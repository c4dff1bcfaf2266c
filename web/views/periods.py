"""The periods that people make reports on: the usual ones by a word, others by their two days. All in UTC."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from vault.errors import BadInput
from web.instants import parse_instant

_MONTHS_OF_QUARTER = 3


@dataclass(frozen=True, slots=True)
class Period:
    """From one instant, included, to another, excluded."""

    since: datetime
    until: datetime

    @property
    def last_day(self) -> datetime:
        """The last day that is wholly or partly in it."""
        return self.until - timedelta(microseconds=1)


def presets(now: datetime) -> dict[str, tuple[str, Period]]:
    """The usual periods, each with how it is called; one that has not ended yet ends now."""
    month = datetime(now.year, now.month, 1, tzinfo=UTC)
    quarter = datetime(now.year, _first_month_of_quarter(now), 1, tzinfo=UTC)
    year = datetime(now.year, 1, 1, tzinfo=UTC)
    return {
        "last-month": ("Last month", Period(_months_before(month, 1), month)),
        "last-quarter": ("Last quarter", Period(_months_before(quarter, _MONTHS_OF_QUARTER), quarter)),
        "this-month": ("This month until now", Period(month, now)),
        "this-year": ("This year until now", Period(year, now)),
        "last-year": ("Last year", Period(_months_before(year, 12), year)),
    }


def chosen(preset: str, first_day: str, last_day: str, now: datetime) -> Period:
    """The period that a form asks for.

    Args:
        preset: a word of `presets`, or `own` for the two days.
        first_day, last_day: days or instants, both included.

    Raises:
        BadInput: a day is missing or no day, or the period ends before it begins or begins in the future.
    """
    known = presets(now)
    if preset in known:
        return known[preset][1]
    if preset != "own":
        raise BadInput(f"There is no period {preset!r}.", "Choose one from the list, or give two days.")
    if not first_day or not last_day:
        raise BadInput("Own dates need a first and a last day.", "Write days as 2026-01-31.")
    since = datetime.fromisoformat(parse_instant(first_day))
    until = datetime.fromisoformat(parse_instant(last_day, end_of_day=True))
    if since >= until:
        raise BadInput("The period ends before it begins.", "Give a first day that is not after the last.")
    if since > now:
        raise BadInput(
            "The period lies in the future, so there is nothing to report on yet.", "Choose earlier days."
        )
    return Period(since, until)


def _first_month_of_quarter(now: datetime) -> int:
    return (now.month - 1) // _MONTHS_OF_QUARTER * _MONTHS_OF_QUARTER + 1


def _months_before(first_of_month: datetime, months: int) -> datetime:
    count = first_of_month.year * 12 + first_of_month.month - 1 - months
    return datetime(count // 12, count % 12 + 1, 1, tzinfo=UTC)
