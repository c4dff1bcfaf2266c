"""The part of the log a report rests on: fixed by a checkpoint, cut by a period, read as a stream.

The log grows while a report is made, so nothing after the snapshot's checkpoint is looked at: that is what
makes a report repeatable. Records are streamed and never held as a whole; a check that must remember
something across records remembers only what is still open.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from audit.evidence.instant import Period


@dataclass(frozen=True, slots=True)
class SeqSpan:
    """Records `first` to `last`, both included."""

    first: int
    last: int

    def __str__(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first} to {self.last}"


def spans(seqs: Iterable[int]) -> tuple[SeqSpan, ...]:
    """Write record numbers as the fewest spans, in order."""
    joined: list[SeqSpan] = []
    for seq in sorted(set(seqs)):
        if joined and joined[-1].last == seq - 1:
            joined[-1] = SeqSpan(joined[-1].first, seq)
        else:
            joined.append(SeqSpan(seq, seq))
    return tuple(joined)


@dataclass(frozen=True, slots=True)
class Event:
    """A record as the checks read it: INTERFACES' fields, with `result` and `source` taken apart.

    Attributes:
        code: `result.code`; None on an intent.
        channel: `source.channel`; None where the record has no source.
    """

    seq: int
    id: str
    kind: str
    at: str
    principal: str
    action: str
    resource: str
    decision: str | None = None
    policies: tuple[str, ...] = ()
    bundle: str | None = None
    code: str | None = None
    facts: Mapping[str, object] = field(default_factory=dict)
    channel: str | None = None
    session: str | None = None
    intent: str | None = None


@dataclass(frozen=True, slots=True)
class LogProof:
    """What verification of the stored bytes against the checkpoint found.

    Attributes:
        holds: chain, root and signature hold and no sequence number is missing.
        checked: number of records whose bytes were hashed.
        detail: one sentence; when it does not hold, which record and why.
        first_bad: sequence number of the first record that does not hold, if one can be named.
        root: Merkle root of the checkpoint, hex; None without a checkpoint.
        oldest_at: when the oldest covered record was made; None when there is none.
        steps_back: records dated before one that precedes them: the clock was set back.
        outside_period: records between the period's first and last that are themselves dated outside it.
    """

    holds: bool
    checked: int
    detail: str
    first_bad: int | None = None
    root: str | None = None
    oldest_at: str | None = None
    steps_back: int = 0
    outside_period: int = 0


@dataclass(frozen=True, slots=True)
class Difference:
    """A recorded decision that does not come out again: which record, what was found, and a sentence on it."""

    seq: int
    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class ReplayProof:
    """What making the recorded decisions again found.

    Attributes:
        decisions: how many were made again.
        different: how many of them do not come out as recorded, or cannot be made again.
        differences: the first of those.
        bundles: policy bundles that decided.
    """

    decisions: int
    different: int = 0
    differences: tuple[Difference, ...] = ()
    bundles: int = 0


class LogReader(Protocol):
    """Read-only access to the records that a checkpoint covers."""

    @property
    def size(self) -> int:
        """Number of records the checkpoint covers; they are numbered 0 to size - 1."""

    @property
    def proof(self) -> LogProof:
        """The result of verifying them."""

    def events(self, first: int, end: int) -> Iterator[Event]:
        """Stream records `first` (included) to `end` (excluded) in order."""

    def bounds(self, period: Period) -> tuple[int, int]:
        """First record of the period and the one after its last; equal when there is none."""

    def replay(self, first: int, end: int) -> ReplayProof:
        """Make the decisions of records `first` (included) to `end` (excluded) again."""


class LogRange:
    """The records of a period, and the whole covered log where a check must look further."""

    def __init__(self, reader: LogReader, period: Period) -> None:
        self._reader = reader
        self.first, self.end = reader.bounds(period)

    @property
    def size(self) -> int:
        """Number of records the checkpoint covers."""
        return self._reader.size

    @property
    def proof(self) -> LogProof:
        """What verification found."""
        return self._reader.proof

    @property
    def count(self) -> int:
        """Number of records in the period."""
        return self.end - self.first

    @property
    def span(self) -> tuple[SeqSpan, ...]:
        """The period's records as one span, or nothing."""
        return (SeqSpan(self.first, self.end - 1),) if self.count else ()

    def holds(self, seq: int) -> bool:
        """Whether this record belongs to the period."""
        return self.first <= seq < self.end

    def events(self) -> Iterator[Event]:
        """Stream the period's records."""
        return self._reader.events(self.first, self.end)

    def replay(self) -> ReplayProof:
        """Make the period's decisions again, from what was recorded."""
        return self._reader.replay(self.first, self.end)

    def all_events(self) -> Iterator[Event]:
        """Stream every covered record, for checks that join across the period's borders."""
        return self._reader.events(0, self.size)
