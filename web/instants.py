"""How people write instants, on the command line and in the filters of a page: RFC 3339, or a day, in UTC."""

import re
from datetime import UTC, date, datetime, timedelta

from vault.errors import BadInput

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


def parse_instant(written: str, *, end_of_day: bool = False) -> str:
    """Read an instant and write it as RFC 3339 UTC.

    Args:
        written: what somebody typed.
        end_of_day: a day alone means its end (the first instant of the next), not its beginning.

    Raises:
        BadInput: it is no instant; one without a time zone is refused rather than guessed at.
    """
    hint = "Write times as 2026-01-31T12:00:00Z, or a day as 2026-01-31 (UTC)."
    try:
        if _DAY.fullmatch(written):
            day = date.fromisoformat(written)
            moment = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=int(end_of_day))
        else:
            moment = datetime.fromisoformat(written)
    except (ValueError, OverflowError):
        raise BadInput(f"{written!r} is not a time.", hint) from None
    if moment.tzinfo is None:
        raise BadInput(f"{written!r} has no time zone.", hint)
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
