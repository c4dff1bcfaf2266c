"""The log a report rests on, read from its database and verified against the snapshot's checkpoint.

One pass over the stored bytes checks signature, numbers, chain and root, and finds where the period begins and
ends; only bytes are believed, never the database's search columns. What the pass finds wrong it reports as a
`LogProof` that does not hold: a report about a damaged log is still a report, and says so on its cover.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from re import Match

from audit.errors import LogDamaged, NoteInvalid, VerificationFailed
from audit.evidence.facts import LogFacts
from audit.evidence.instant import Period
from audit.evidence.log_range import Difference, Event, LogProof, ReplayProof
from audit.log.checkpoint import Checkpoint
from audit.log.note import VerifierKey
from audit.log.query import LogQuery
from audit.log.record import Record
from audit.replay.decisions import replay
from audit.replay.recorded import Span
from audit.replay.source import StoredDecisions
from audit.verify.chain import Chain
from audit.verify.report import BadRecord

#: Records checked at once, and between two progress reports.
_CHUNK = 4096

Progress = Callable[[float, str], None]


class StoredLog:
    """The records a checkpoint covers; a `LogReader`.

    Args:
        path: the log's database; opened read-only.
        facts: origin, verifier key and checkpoint of the snapshot.
        period: the report's period.
        progress: called with a fraction from 0 to 1 and a sentence while the log is verified.

    Raises:
        LogUnavailable: there is no readable log at `path`.
        LogDamaged: the file is not a log's database.
    """

    def __init__(
        self,
        path: Path,
        facts: LogFacts,
        period: Period,
        progress: Progress = lambda _fraction, _sentence: None,
    ) -> None:
        self._query = LogQuery(path)
        self._survey = _survey(self._query, facts, period, progress)

    @property
    def size(self) -> int:
        """Number of records the checkpoint covers; 0 when there is no checkpoint that can be believed."""
        return self._survey.size

    @property
    def proof(self) -> LogProof:
        """What verification found."""
        return self._survey.proof

    def bounds(self, period: Period) -> tuple[int, int]:
        """First record of the period this log was opened for, and the one after its last."""
        if period != self._survey.period:
            raise ValueError("a stored log knows the bounds of the period it was opened for")
        return self._survey.first, self._survey.end

    def events(self, first: int, end: int) -> Iterator[Event]:
        """Stream records as events.

        Raises:
            LogUnavailable: it cannot be read any more.
            LogDamaged: a record is not what was hashed.
        """
        for record in self._query.records(first, end):
            yield as_event(record)

    def replay(self, first: int, end: int) -> ReplayProof:
        """Make the decisions of some records again, from the recorded policies and inputs.

        Raises:
            LogUnavailable: it cannot be read any more.
            LogDamaged: a record is missing.
        """
        try:
            told = replay(StoredDecisions(self._query, first, end), Span()).details
        except VerificationFailed as failure:
            told = failure.report
        differences = told["differences"]
        return ReplayProof(
            decisions=int(str(told["decisions"])),
            different=int(str(told["different"])),
            bundles=int(str(told["bundles"])),
            differences=tuple(
                Difference(each["seq"], each["code"], each["detail"])
                for each in (differences if isinstance(differences, list) else [])
            ),
        )

    def close(self) -> None:
        """Close the database."""
        self._query.close()


def as_event(record: Record) -> Event:
    """A record as the checks read it."""
    result, source = record.result or {}, record.source or {}
    facts, code, channel = result.get("facts"), result.get("code"), source.get("channel")
    return Event(
        seq=record.seq,
        id=record.id,
        kind=record.kind.value,
        at=record.at,
        principal=record.principal,
        action=record.action,
        resource=record.resource,
        decision=record.decision,
        policies=record.policies,
        bundle=record.bundle,
        code=code if isinstance(code, str) else None,
        facts=facts if isinstance(facts, dict) else {},
        channel=channel if isinstance(channel, str) else None,
        session=record.session,
        intent=record.intent,
    )


@dataclass
class _Survey:
    """What the one pass found; `examine` is shown every record's fields while the chain is checked."""

    period: Period
    size: int = 0
    first: int = 0
    end: int = 0
    inside: int = 0
    oldest_at: str | None = None
    steps_back: int = 0
    proof: LogProof = field(default_factory=lambda: _broken("There is no checkpoint to verify against."))
    _newest: bytes = b""

    def examine(self, seq: int, found: Match[bytes]) -> None:
        """Note where the period begins and ends, and where time runs backwards."""
        at = found["at"]
        if seq == 0:
            self.oldest_at = at.decode()
        self.steps_back += at < self._newest
        self._newest = max(at, self._newest)
        if self.period.covers(at.decode()):
            self.first = seq if self.inside == 0 else self.first
            self.end = seq + 1
            self.inside += 1


def _broken(detail: str, checked: int = 0, first_bad: int | None = None, root: str | None = None) -> LogProof:
    return LogProof(holds=False, checked=checked, detail=detail, first_bad=first_bad, root=root)


def _chunks(query: LogQuery, size: int) -> Iterator[list[bytes]]:
    """Read the records' bytes in pieces; what was read before a hole in the database still comes."""
    lines: list[bytes] = []
    try:
        for line in query.raw(0, size):
            lines.append(line)
            if len(lines) == _CHUNK:
                yield lines
                lines = []
    except LogDamaged:
        yield lines
        raise
    yield lines


def _survey(query: LogQuery, facts: LogFacts, period: Period, progress: Progress) -> _Survey:
    survey = _Survey(period)
    if facts.checkpoint is None:
        return survey
    # 1. The checkpoint says how many records there must be, and their root.
    try:
        checkpoint = Checkpoint.verify(facts.checkpoint.encode(), [VerifierKey.parse(facts.vkey)])
    except NoteInvalid as error:
        survey.proof = _broken(f"The checkpoint does not hold: {error.message}")
        return survey
    if checkpoint.origin != facts.origin:
        survey.proof = _broken("The checkpoint is of another log than the snapshot names.")
        return survey
    head = checkpoint.head
    survey.size = head.size
    # 2. Each record carries its number and the hash of the one before, and 3. all of them have the signed root.
    chain = Chain(survey.examine, watch=head.size)
    try:
        for lines in _chunks(query, head.size):
            chain.feed(lines)
            progress(chain.size / head.size, f"Verifying the log: record {chain.size:,} of {head.size:,}.")
        chain.finish(head)
    except BadRecord as error:
        survey.proof = _broken(error.sentence, chain.size, error.bad.seq, head.root.hex())
        return survey
    except LogDamaged as error:
        # The database itself has a hole: whatever stands before it was checked, nothing after it is looked at.
        survey.proof = _broken(error.message, chain.size, chain.size, head.root.hex())
        return survey
    survey.proof = LogProof(
        holds=True,
        checked=chain.size,
        detail="Every number, link and hash holds, and the root is the signed one.",
        root=head.root.hex(),
        oldest_at=survey.oldest_at,
        steps_back=survey.steps_back,
        outside_period=survey.end - survey.first - survey.inside,
    )
    return survey
