"""How sizes and times are written on the command line: `2G`, `512M`; times in UTC."""

import re
from datetime import UTC, datetime
from typing import Final

from web.cli.failure import BadUsage

_SIZE: Final = re.compile(r"(\d{1,12})\s*([KMGT]?)(?:iB|B)?", re.IGNORECASE)
_FACTOR: Final = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}
_UNITS: Final = ("B", "K", "M", "G", "T")


def parse_size(written: str) -> int:
    """Read a size; the units are powers of 1024.

    Raises:
        BadUsage: it is not written so.
    """
    found = _SIZE.fullmatch(written.strip())
    if found is None:
        raise BadUsage(f"{written!r} is not a size.", "Write sizes as 512M or 2G.")
    return int(found[1]) * _FACTOR[found[2].upper()]


def write_size(size_bytes: int) -> str:
    """Write a size as it would be typed, to one decimal."""
    value, unit = float(size_bytes), 0
    while value >= 1024 and unit < len(_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    return f"{value:.0f}{_UNITS[unit]}" if value == int(value) else f"{value:.1f}{_UNITS[unit]}"


def write_time(at: str | None) -> str:
    """An instant for a table: to the second, in UTC."""
    if at is None:
        return "never"
    return datetime.fromisoformat(at).astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
