"""The log's tables in SQLite: a `LogStore` for one host, and the default (D10)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from sqlite3 import Connection

from audit.errors import LogDamaged
from audit.log import epochs
from audit.log.database import LogDatabase
from audit.log.merkle import leaf_hash
from audit.log.record import Kind, Record
from audit.log.store import Batch

#: Rows handled at once where the whole log is walked.
_CHUNK = 1000

_EPOCH_RECORD = """
SELECT bytes, hash FROM entry JOIN body USING (seq) JOIN leaf USING (seq)
WHERE action = ? AND seq < ? ORDER BY seq DESC LIMIT 1
"""

#: Most rows of one statement. SQLite takes 32,766 values, and an entry has nine.
_MAX_ROWS = 256

_PLACES = {
    "inputs": "(?, ?, ?)",
    "leaf": "(?, ?)",
    "body": "(?, ?)",
    "node": "(?, ?, ?)",
    "open_intent": "(?, ?)",
    "entry (seq, id, kind, at, principal, action, resource, decision, intent)": (
        "(?, ?, ?, ?, ?, ?, ?, ?, (SELECT seq FROM open_intent WHERE id = ?))"
    ),
}
_ENTRY = next(table for table in _PLACES if table.startswith("entry"))


class SqliteLogStore:
    """The log in one SQLite file.

    Args:
        path: the database, made with `create_database` before.

    Raises:
        LogHeld: another writer has it.
        LogUnavailable: it is missing or cannot be opened.
        LogDamaged: it is not a log's database.
    """

    def __init__(self, path: Path) -> None:
        self._database = LogDatabase(path)
        self._meta: Mapping[str, str] = {}
        self._look_around()

    @property
    def origin(self) -> str:
        """The log's identity, fixed when the log was made."""
        return self._meta["origin"]

    @property
    def vkey(self) -> str:
        """The log's verifier key, fixed when the log was made."""
        return self._meta["vkey"]

    def size(self) -> int:
        """Number of records."""
        last = self._database.value("SELECT MAX(seq) FROM leaf")
        return last + 1 if isinstance(last, int) else 0

    def hashes(self, level: int, first: int, count: int) -> list[bytes]:
        """Stored hashes of the tree, as `merkle.ReadHashes`."""
        end = first + count
        if level == 0:
            return self._blobs(
                "SELECT hash FROM leaf WHERE seq >= ? AND seq < ? ORDER BY seq", count, first, end
            )
        query = "SELECT hash FROM node WHERE level = ? AND idx >= ? AND idx < ? ORDER BY idx"
        return self._blobs(query, count, level, first, end)

    def bodies(self, first: int, count: int) -> list[bytes]:
        """The bytes of consecutive records."""
        query = "SELECT bytes FROM body WHERE seq >= ? AND seq < ? ORDER BY seq"
        return self._blobs(query, count, first, first + count)

    def open_intents(self) -> list[Record]:
        """The intents without outcome, oldest first, each checked against its leaf."""
        rows = self._database.rows(
            "SELECT bytes, hash FROM open_intent JOIN body USING (seq) JOIN leaf USING (seq) ORDER BY seq"
        )
        return [checked_record(data, stored) for data, stored in rows]

    def has_id(self, record_id: str) -> bool:
        """Whether a record has this id."""
        return self._database.value("SELECT 1 FROM entry WHERE id = ?", record_id) is not None

    def has_inputs(self, digest: str) -> bool:
        """Whether a policy input with this digest is stored."""
        return self._database.value("SELECT 1 FROM inputs WHERE digest = ?", digest) is not None

    def bundles(self) -> set[str]:
        """Digests of the stored policy bundles."""
        return {str(digest) for (digest,) in self._database.rows("SELECT DISTINCT digest FROM policies")}

    def epoch_record(self, end: int) -> Record | None:
        """The last record before number `end` that begins a key epoch, checked against its leaf."""
        rows = self._database.rows(_EPOCH_RECORD, epochs.ACTION, end)
        return checked_record(*rows[0]) if rows else None

    def latest_checkpoint(self) -> tuple[int, bytes] | None:
        """Size and signed note of the newest checkpoint."""
        match self._database.rows("SELECT size, note FROM checkpoint ORDER BY size DESC LIMIT 1"):
            case [(int(size), bytes(note))]:
                return size, note
            case _:
                return None

    def commit(self, batch: Batch) -> None:
        """Add a batch. Durable once this returns."""
        records = batch.records
        with self._database.transaction() as connection:
            _insert(connection, "inputs", [(each.digest, each.first_seq, each.data) for each in batch.inputs])
            _insert(connection, "leaf", [(each.seq, each.leaf_hash) for each in records])
            _insert(connection, "body", [(each.seq, each.bytes) for each in records])
            _insert(connection, "node", [(each.level, each.index, each.hash) for each in batch.nodes])
            _index(connection, records)

    def add_bundle(self, digest: str, files: Mapping[str, bytes]) -> None:
        """Add a policy bundle. Durable once this returns."""
        with self._database.transaction() as connection:
            connection.executemany(
                "INSERT INTO policies VALUES (?, ?, ?)",
                [(digest, name, data) for name, data in files.items()],
            )

    def add_checkpoint(self, size: int, note: bytes) -> None:
        """Add a signed checkpoint. Durable once this returns."""
        with self._database.transaction() as connection:
            connection.execute("INSERT INTO checkpoint VALUES (?, ?)", (size, note))

    def add_cosignature(self, size: int, witness: str, at_posix_s: int, line: str) -> None:
        """Add a witness's signature line; one that is there already stays as it is. Durable once this returns."""
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO cosignature SELECT ?1, ?2, ?3, ?4 WHERE NOT EXISTS "
                "(SELECT 1 FROM cosignature WHERE size = ?1 AND witness = ?2 AND at_posix_s = ?3)",
                (size, witness, at_posix_s, line),
            )

    def rebuild_index(self) -> None:
        """Make the derived tables again from the records' bytes.

        Raises:
            LogDamaged: a record's bytes are not what was hashed.
        """
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM entry")
            connection.execute("DELETE FROM open_intent")
            walk = connection.execute("SELECT bytes, hash FROM body JOIN leaf USING (seq) ORDER BY seq")
            while rows := walk.fetchmany(_CHUNK):
                records = [checked_record(data, stored) for data, stored in rows]
                _index(connection, records)

    def reopen(self) -> None:
        """Close what is open and open again, so that only what is really stored is seen."""
        self._database.reopen()
        self._look_around()

    def close(self) -> None:
        """Close; the store can be reopened."""
        self._database.close()

    def _look_around(self) -> None:
        self._meta = {
            str(name): str(value) for name, value in self._database.rows("SELECT name, value FROM meta")
        }
        if not {"origin", "vkey"} <= self._meta.keys():
            raise LogDamaged(
                "The log's database does not say which log it is.", "Restore it from its backup."
            )
        if self._database.value("SELECT MAX(seq) FROM entry") != self._database.value(
            "SELECT MAX(seq) FROM leaf"
        ):
            self.rebuild_index()

    def _blobs(self, query: str, count: int, *values: object) -> list[bytes]:
        blobs = [each for (each,) in self._database.rows(query, *values) if isinstance(each, bytes)]
        if len(blobs) != count:
            raise LogDamaged("A part of the log is missing from its database.", "Restore it from its backup.")
        return blobs


def checked_record(data: object, stored_leaf: object) -> Record:
    """Read a stored record after comparing its bytes with its stored leaf hash (D4).

    Raises:
        LogDamaged: they differ.
        RecordInvalid: the bytes fit the leaf, but are not a record.
    """
    if not isinstance(data, bytes) or leaf_hash(data) != stored_leaf:
        raise LogDamaged("A stored record is not what was hashed.", "Run `strongroom audit verify`.")
    return Record.parse(data)


def _index(connection: Connection, records: Sequence[Record]) -> None:
    """Add records to the derived tables. In this order: an entry looks its intent up among the open ones."""
    opened = [(each.id, each.seq) for each in records if each.kind is Kind.INTENT]
    closed = [(each.intent,) for each in records if each.intent is not None]
    _insert(connection, "open_intent", opened)
    _insert(connection, _ENTRY, [_entry(each) for each in records])
    connection.executemany("DELETE FROM open_intent WHERE id = ?", closed)


def _insert(connection: Connection, table: str, rows: Sequence[tuple[object, ...]]) -> None:
    """Insert rows, as many with one statement as there are, in powers of two so that few statements exist.

    Python gives up its interpreter lock for each step of a statement, and under load waits long to get it back:
    one statement a row made a commit of 64 records twice as long.
    """
    first = 0
    while first < len(rows):
        count = min(_MAX_ROWS, 1 << (len(rows) - first).bit_length() - 1)
        places = ",".join([_PLACES[table]] * count)
        values = [value for row in rows[first : first + count] for value in row]
        connection.execute(f"INSERT INTO {table} VALUES {places}", values)  # noqa: S608 - tables of ours
        first += count


def _entry(record: Record) -> tuple[object, ...]:
    return (
        record.seq,
        record.id,
        record.kind,
        record.at,
        record.principal,
        record.action,
        record.resource,
        record.decision,
        record.intent,
    )
