"""Instants and periods: RFC 3339 UTC, as typed by people and as compared with records.

Invariant: a period is half-open, `from` included and `to` excluded, so that adjoining periods share no
record.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from audit.evidence.errors import PeriodInvalid

_RFC3339_UTC = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,6})?Z")


def format_instant(at: datetime) -> str:
    """Write an aware instant as records do: `YYYY-MM-DDTHH:MM:SS.mmmmmmZ`, always 27 characters."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_instant(untrusted: str) -> datetime:
    """Read an instant in RFC 3339, UTC only.

    Raises:
        PeriodInvalid: any other form: a local time in a report is a dispute waiting to happen.
    """
    try:
        if not _RFC3339_UTC.fullmatch(untrusted):
            raise ValueError(untrusted)
        return datetime.fromisoformat(untrusted)
    except ValueError as error:
        raise PeriodInvalid(
            f"{untrusted[:40]!r} is not a time in RFC 3339 UTC.", "Write it like 2026-03-01T00:00:00Z."
        ) from error


@dataclass(frozen=True, slots=True)
class Period:
    """From `start` (included) to `end` (excluded), both aware UTC."""

    start: datetime
    end: datetime

    @classmethod
    def between(cls, untrusted_from: str, untrusted_to: str) -> "Period":
        """Read a period from two RFC 3339 instants.

        Raises:
            PeriodInvalid: one of them is not an instant, or the period is empty or runs backwards.
        """
        start, end = parse_instant(untrusted_from), parse_instant(untrusted_to)
        if start >= end:
            raise PeriodInvalid(
                "The period's `from` must be before its `to`.", "Swap them, or choose a later `to`."
            )
        return cls(start, end)

    @property
    def first(self) -> str:
        """First instant of the period, as records write it."""
        return format_instant(self.start)

    @property
    def last_excluded(self) -> str:
        """First instant after the period, as records write it."""
        return format_instant(self.end)

    def covers(self, at: str) -> bool:
        """Whether a record's time lies in the period; fixed-width UTC strings compare as instants do."""
        return self.first <= at < self.last_excluded
