"""What a replay needs of a log, wherever it lies."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from audit.log.drafting import format_time


class Recorded(Protocol):
    """A log's records, and what they were decided on."""

    @property
    def first(self) -> int:
        """Number of the first record."""

    def records(self) -> Iterator[bytes]:
        """The records' bytes in order."""

    def size(self) -> int:
        """How many there are; 0 when that is not known."""

    def inputs(self, digests: Sequence[str]) -> Mapping[str, bytes]:
        """The policy inputs stored under some digests, as they lie there; those that there are."""

    def bundle(self, digest: str) -> Mapping[str, bytes]:
        """The files of a policy bundle, as they lie there; empty when there are none."""


@dataclass(frozen=True, slots=True)
class Span:
    """Which decisions are replayed: those recorded from `since` (included) to `until` (excluded), both aware."""

    since: datetime | None = None
    until: datetime | None = None

    def bounds(self) -> tuple[bytes, bytes]:
        """The span as records write times, so that their bytes can be compared."""
        first = "" if self.since is None else format_time(self.since)
        end = "~" if self.until is None else format_time(self.until)  # sorts after every time
        return first.encode(), end.encode()
