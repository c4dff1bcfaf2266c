"""Reading the log from any process, without the power to change it.

Every record handed out was compared with its stored leaf hash first. The search columns only find records; what
is said about a record is read from its own bytes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from audit.errors import LogDamaged, QueryInvalid, RecordNotFound
from audit.log import epochs
from audit.log.drafting import format_time
from audit.log.read_only import ReadOnlyDatabase
from audit.log.record import Kind, Record
from audit.log.sqlite_store import checked_record

#: Most records of one page.
MAX_PAGE = 1000

#: Rows read at once where the log is walked.
_CHUNK = 1000

_EPOCH_RECORDS = """
SELECT seq, bytes, hash FROM entry JOIN body USING (seq) JOIN leaf USING (seq)
WHERE action = ? AND seq > ? AND seq < ? ORDER BY seq LIMIT ?
"""

_COSIGNED_LAST = """
SELECT size, at_posix_s FROM cosignature WHERE witness = ? ORDER BY size DESC, at_posix_s DESC LIMIT 1
"""

# Of each witness the newest line: SQLite takes the other columns from the row that has the maximum.
_COSIGNATURES = "SELECT line, MAX(at_posix_s) FROM cosignature WHERE size = ? GROUP BY witness"

_SELECT = "SELECT bytes, hash FROM entry JOIN body USING (seq) JOIN leaf USING (seq)"


@dataclass(frozen=True, slots=True)
class Filter:
    """Which records are wanted; what is None or empty does not restrict.

    Attributes:
        since: earliest instant, included, aware.
        until: latest instant, excluded, aware.
        kinds: kinds of record.
        principal: who, as `account:<id>`.
        action: what, as `guest.start`.
        resource: on what, as `guest:<id>`.
        decision: `allow`, `deny` or `unmet`.
    """

    since: datetime | None = None
    until: datetime | None = None
    kinds: tuple[Kind, ...] = ()
    principal: str | None = None
    action: str | None = None
    resource: str | None = None
    decision: str | None = None

    def conditions(self) -> tuple[list[str], list[object]]:
        """The filter as SQL conditions and their values."""
        conditions: list[str] = []
        values: list[object] = []
        for condition, value in (
            ("at >= ?", None if self.since is None else format_time(self.since)),
            ("at < ?", None if self.until is None else format_time(self.until)),
            ("principal = ?", self.principal),
            ("action = ?", self.action),
            ("resource = ?", self.resource),
            ("decision = ?", self.decision),
        ):
            if value is not None:
                conditions.append(condition)
                values.append(value)
        if self.kinds:
            conditions.append(f"kind IN ({', '.join('?' * len(self.kinds))})")
            values += self.kinds
        return conditions, values


@dataclass(frozen=True, slots=True)
class Page:
    """Some of the records found, and the token that asks for those after them, or None."""

    items: list[Record] = field(default_factory=list)
    next: str | None = None


@dataclass(frozen=True, slots=True)
class HourCount:
    """How many records of one hour have one decision (None where no policy was asked)."""

    hour: datetime
    decision: str | None
    records: int


@dataclass(frozen=True, slots=True)
class IntentState:
    """An intent, and whether its access is over.

    Attributes:
        record: the intent.
        settled: whether its outcome is recorded; then nothing may be done on its strength any more.
    """

    record: Record
    settled: bool


class LogQuery:
    """Reads a log's database. May be shared by threads, not by forks.

    Args:
        path: the log's database.

    Raises:
        LogUnavailable: it is missing or cannot be read.
        LogDamaged: it is not a log's database.
    """

    def __init__(self, path: Path) -> None:
        self._database = ReadOnlyDatabase(path)
        self._meta = {
            str(name): str(value) for name, value in self._database.rows("SELECT name, value FROM meta")
        }
        if not {"origin", "vkey"} <= self._meta.keys():
            raise LogDamaged(
                "The log's database does not say which log it is.", "Restore it from its backup."
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close. A later question opens it again."""
        self._database.close()

    @property
    def origin(self) -> str:
        """The log's identity."""
        return self._meta["origin"]

    @property
    def vkey(self) -> str:
        """The log's verifier key, C2SP text."""
        return self._meta["vkey"]

    def size(self) -> int:
        """Number of records."""
        last = self._database.rows("SELECT MAX(seq) FROM leaf")[0][0]
        return last + 1 if isinstance(last, int) else 0

    def latest_checkpoint(self) -> bytes | None:
        """The newest signed checkpoint, a C2SP note."""
        for (note,) in self._database.rows("SELECT note FROM checkpoint ORDER BY size DESC LIMIT 1"):
            return _blob(note)
        return None

    def checkpoint_of(self, size: int) -> bytes | None:
        """The signed checkpoint over `size` records, with the newest line of each witness that cosigned it."""
        for (note,) in self._database.rows("SELECT note FROM checkpoint WHERE size = ?", size):
            return _blob(note) + "".join(self._cosignatures(size)).encode()
        return None

    def cosigned_last(self, witness: str) -> tuple[int, datetime] | None:
        """Size of the largest checkpoint that this witness (its key as C2SP text) cosigned, and when it did so last."""
        for size, at in self._database.rows(_COSIGNED_LAST, witness):
            return int(str(size)), datetime.fromtimestamp(int(str(at)), UTC)
        return None

    def largest_cosigned(self, least: int, witnesses: Sequence[str], quorum: int) -> int | None:
        """Size of the largest checkpoint, from `least` records on, that `quorum` of these witnesses cosigned."""
        places = ", ".join("?" * len(witnesses))
        query = (
            f"SELECT size FROM cosignature WHERE size >= ? AND witness IN ({places}) GROUP BY size "  # noqa: S608
            "HAVING COUNT(DISTINCT witness) >= ? ORDER BY size DESC LIMIT 1"
        )
        for (size,) in self._database.rows(query, least, *witnesses, quorum):
            return int(str(size))
        return None

    def _cosignatures(self, size: int) -> list[str]:
        return [str(line) for line, _ in self._database.rows(_COSIGNATURES, size)]

    def epoch_records(self, end: int) -> Iterator[bytes]:
        """The bytes of the records before number `end` that begin key epochs, in order."""
        after = -1
        while rows := self._database.rows(_EPOCH_RECORDS, epochs.ACTION, after, end, _CHUNK):
            for seq, data, leaf in rows:
                after = int(str(seq))
                yield checked_record(data, leaf).bytes

    def checkpoint_over(self, seq: int) -> bytes | None:
        """The first signed checkpoint, a C2SP note, that covers record number `seq`; None while there is none."""
        for (note,) in self._database.rows(
            "SELECT note FROM checkpoint WHERE size > ? ORDER BY size LIMIT 1", seq
        ):
            return _blob(note)
        return None

    def count_by_hour(self, wanted: Filter, most_records: int) -> list[HourCount]:
        """How many records fit, hour by hour and by decision, from the newest `most_records` that do.

        Read from the search columns alone: it helps to find records, and is no evidence.
        """
        conditions, values = wanted.conditions()
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        rows = self._database.rows(
            "SELECT substr(at, 1, 13) AS hour, COALESCE(decision, ''), COUNT(*) FROM"  # noqa: S608 - our own columns
            f" (SELECT at, decision FROM entry{where} ORDER BY seq DESC LIMIT ?) GROUP BY 1, 2 ORDER BY 1, 2",
            *values,
            most_records,
        )
        return [
            HourCount(datetime.fromisoformat(f"{hour}:00:00+00:00"), str(decision) or None, int(str(count)))
            for hour, decision, count in rows
        ]

    def hashes(self, level: int, first: int, count: int) -> list[bytes]:
        """Stored hashes of the tree, as `merkle.ReadHashes`.

        Raises:
            LogDamaged: one is missing.
        """
        end = first + count
        if level == 0:
            query = "SELECT hash FROM leaf WHERE seq >= ? AND seq < ? ORDER BY seq"
            rows = self._database.rows(query, first, end)
        else:
            query = "SELECT hash FROM node WHERE level = ? AND idx >= ? AND idx < ? ORDER BY idx"
            rows = self._database.rows(query, level, first, end)
        if len(rows) != count:
            raise LogDamaged(
                "A part of the log's tree is missing from its database.", "Restore it from its backup."
            )
        return [_blob(value) for (value,) in rows]

    def by_id(self, record_id: str) -> Record:
        """The record with this id.

        Raises:
            RecordNotFound: there is none.
            LogDamaged: it is not what was hashed.
        """
        return self._one(f"{_SELECT} WHERE id = ?", record_id)

    def by_seq(self, seq: int) -> Record:
        """The record with this number.

        Raises:
            RecordNotFound: there is none.
            LogDamaged: it is not what was hashed.
        """
        return self._one("SELECT bytes, hash FROM body JOIN leaf USING (seq) WHERE seq = ?", seq)

    def search(
        self, wanted: Filter, *, limit: int = 100, token: str | None = None, newest_first: bool = True
    ) -> Page:
        """Find records, a page at a time. The log only grows, so pages neither repeat nor skip a record.

        Args:
            wanted: which.
            limit: most records of the page, 1 to `MAX_PAGE`.
            token: `next` of the page before.
            newest_first: order by falling number.

        Raises:
            QueryInvalid: the limit or token is out of shape.
            LogDamaged: a record is not what was hashed.
        """
        if not 1 <= limit <= MAX_PAGE:
            raise QueryInvalid(f"A page holds 1 to {MAX_PAGE} records.")
        conditions, values = wanted.conditions()
        if token is not None:
            if not (token.isascii() and token.isdigit() and len(token) <= 16):
                raise QueryInvalid("The page token is not one of this log's.", "Begin again without a token.")
            conditions.append("seq < ?" if newest_first else "seq > ?")
            values.append(int(token))
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        order = "DESC" if newest_first else "ASC"
        rows = self._database.rows(f"{_SELECT}{where} ORDER BY seq {order} LIMIT ?", *values, limit + 1)
        items = [checked_record(data, leaf) for data, leaf in rows[:limit]]
        return Page(items, str(items[-1].seq) if len(rows) > limit else None)

    def records(self, first: int = 0, end: int | None = None) -> Iterator[Record]:
        """Walk records in order, in flat memory.

        Args:
            first: number of the first.
            end: number after the last; None goes on to what is the end when that is reached.

        Raises:
            LogDamaged: a record is missing, or not what was hashed.
        """
        for data, leaf in self._walk(first, end):
            yield checked_record(data, leaf)

    def raw(self, first: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Walk records' stored bytes in order, in flat memory, unchecked: for those who hash them.

        Raises:
            LogDamaged: a record is missing.
        """
        for data, _ in self._walk(first, end):
            yield _blob(data)

    def inputs(self, end: int) -> Iterator[bytes]:
        """Walk the policy inputs that records before number `end` name, in order of their digests."""
        after = ""
        query = "SELECT digest, bytes FROM inputs WHERE digest > ? AND first_seq < ? ORDER BY digest LIMIT ?"
        while rows := self._database.rows(query, after, end, _CHUNK):
            for digest, data in rows:
                after = str(digest)
                yield _blob(data)

    def inputs_by_digest(self, digests: Sequence[str]) -> dict[str, bytes]:
        """The policy inputs stored under some digests, at most `MAX_PAGE`; those that there are."""
        marks = ", ".join("?" * len(digests))
        query = f"SELECT digest, bytes FROM inputs WHERE digest IN ({marks})"  # noqa: S608 - question marks
        return {str(digest): _blob(data) for digest, data in self._database.rows(query, *digests)}

    def inputs_of(self, record: Record) -> bytes | None:
        """The policy input that a record was decided on; None where it names none.

        Raises:
            LogDamaged: it names one that is not stored.
        """
        if record.inputs is None:
            return None
        for data in self.inputs_by_digest([record.inputs]).values():
            return data
        raise LogDamaged(f"The policy input of record {record.seq} is missing.")

    def outcome_of(self, intent: Record) -> Record | None:
        """The record that closes an intent; None while it is open, and for a record that is none."""
        for data, leaf in self._database.rows(f"{_SELECT} WHERE entry.intent = ?", intent.seq):
            return checked_record(data, leaf)
        return None

    def bundles(self) -> tuple[str, ...]:
        """Digests under which policy bundles are stored, sorted."""
        rows = self._database.rows("SELECT DISTINCT digest FROM policies ORDER BY digest")
        return tuple(str(digest) for (digest,) in rows)

    def bundle(self, digest: str) -> dict[str, bytes]:
        """The files of a policy bundle by name; empty when it is not stored."""
        rows = self._database.rows("SELECT name, bytes FROM policies WHERE digest = ? ORDER BY name", digest)
        return {str(name): _blob(data) for name, data in rows}

    def intent_state(self, intent_id: str) -> IntentState:
        """What the key process must know before it acts on an intent (D8).

        Raises:
            RecordNotFound: no durable intent has this id.
            LogDamaged: its bytes are not what was hashed.
        """
        # One statement sees one state of the log; an intent is open as long as it stands in open_intent.
        rows = self._database.rows(
            "SELECT bytes, hash, NOT EXISTS (SELECT 1 FROM open_intent WHERE open_intent.id = entry.id)"
            " OR EXISTS (SELECT 1 FROM entry AS outcome WHERE outcome.intent = entry.seq)"
            " FROM entry JOIN body USING (seq) JOIN leaf USING (seq) WHERE id = ?",
            intent_id,
        )
        for data, leaf, settled in rows:
            record = checked_record(data, leaf)
            if record.kind is Kind.INTENT and record.id == intent_id:
                return IntentState(record, bool(settled))
        raise RecordNotFound("The log has no intent with this id.")

    def _walk(self, first: int, end: int | None) -> Iterator[tuple[object, object]]:
        query = (
            "SELECT seq, bytes, hash FROM leaf LEFT JOIN body USING (seq) WHERE seq >= ? ORDER BY seq LIMIT ?"
        )
        while end is None or first < end:
            rows = self._database.rows(query, first, _CHUNK if end is None else min(_CHUNK, end - first))
            for seq, data, leaf in rows:
                if seq != first:
                    raise LogDamaged(f"Record {first} is missing from the log's database.")
                yield data, leaf
                first += 1
            if not rows:
                if end is not None:
                    raise LogDamaged(f"Record {first} is missing from the log's database.")
                return

    def _one(self, query: str, value: object) -> Record:
        for data, leaf in self._database.rows(query, value):
            return checked_record(data, leaf)
        raise RecordNotFound("The log has no such record.", "Look for it with `strongroom audit list`.")


def _blob(value: object) -> bytes:
    if not isinstance(value, bytes):
        raise LogDamaged("A part of the log is missing from its database.", "Restore it from its backup.")
    return value
