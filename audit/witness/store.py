"""What a witness remembers: which logs it trusts, and of each the one tree that it cosigned last.

Invariants: the last tree is read, judged and replaced in one exclusive transaction, so two requests at once cannot
roll each other back; a cosignature leaves `cosign` only when the tree it is about is durable. A kill at any moment
therefore loses at most a cosignature that nobody got. The database alone remembers: put back from a backup it would
cosign again what it had left behind, so a witness is never restored, but made anew under another name.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path

from audit.errors import LogUnavailable, NoteInvalid, TargetExists
from audit.log.cosignature import CosigningKey
from audit.log.durable import sync_directory
from audit.log.merkle import TreeHead
from audit.log.note import Note, VerifierKey
from audit.witness.rules import Consistent, Inconsistent, LogUnknown, Request, judge

#: In the database's header: "SRwt".
APPLICATION_ID = 0x53527774
SCHEMA_VERSION = 1

#: Requests wait for each other this long, in seconds; then the client tries again.
_BUSY_TIMEOUT_S = 5.0

#: Contradictions that are kept of each log: each is proof that the log's key signed two histories, and one is enough.
MAX_CONTRADICTIONS = 16

_TABLES = """
CREATE TABLE log (vkey TEXT NOT NULL PRIMARY KEY, origin TEXT NOT NULL) STRICT, WITHOUT ROWID;
-- The tree of each log that was cosigned last, and the checkpoint with the log's signatures and ours.
CREATE TABLE latest (
    origin TEXT NOT NULL PRIMARY KEY, size INTEGER NOT NULL, root BLOB NOT NULL, note BLOB NOT NULL
) STRICT, WITHOUT ROWID;
-- Checkpoints with a valid signature of the log that contradict the tree cosigned last.
CREATE TABLE contradiction (
    id INTEGER PRIMARY KEY, origin TEXT NOT NULL, at TEXT NOT NULL, size INTEGER NOT NULL, request BLOB NOT NULL
) STRICT;
CREATE TRIGGER latest_smaller BEFORE UPDATE ON latest WHEN NEW.size < OLD.size OR NEW.origin <> OLD.origin
BEGIN SELECT RAISE(ABORT, 'A witness never goes back.'); END;
CREATE TRIGGER latest_delete BEFORE DELETE ON latest
BEGIN SELECT RAISE(ABORT, 'A witness never forgets.'); END;
"""


@dataclass(frozen=True, slots=True)
class WatchedLog:
    """A log that the witness watches.

    Attributes:
        origin, keys: which log, and the keys it signs with.
        size: records of the tree cosigned last; None before the first.
        note: the checkpoint of that tree, with the log's signatures and the witness's.
        contradictions: how many checkpoints of it were refused although its key signed them.
    """

    origin: str
    keys: tuple[VerifierKey, ...]
    size: int | None
    note: bytes | None
    contradictions: int


class WitnessStore:
    """The witness's database; each call has a connection of its own, so threads and processes may share it.

    Args:
        path: the database, made with `create`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    @classmethod
    def create(cls, path: Path) -> "WitnessStore":
        """Make an empty one, durable when this returns.

        Raises:
            TargetExists: there is one.
            LogUnavailable: it cannot be written.
        """
        try:
            path.touch(mode=0o600, exist_ok=False)
            with closing(sqlite3.connect(path, isolation_level=None)) as connection:
                connection.execute("PRAGMA synchronous=FULL")
                connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
                connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
                connection.executescript(_TABLES)
                connection.execute("PRAGMA journal_mode=WAL")
            sync_directory(path.parent)
        except FileExistsError as error:
            raise TargetExists("There is a witness here already.", "Keep it: it must not forget.") from error
        except (OSError, sqlite3.Error) as error:
            raise LogUnavailable(
                "The witness's database cannot be made.", f"Look at {path.parent}."
            ) from error
        return cls(path)

    def trust(self, key: VerifierKey) -> bool:
        """Watch the log of this key; its name is the log's origin. Tells whether that is new."""
        with self._transaction() as connection:
            added = connection.execute(
                "INSERT INTO log VALUES (?, ?) ON CONFLICT DO NOTHING", (str(key), key.name)
            ).rowcount
        return bool(added)

    def logs(self) -> list[WatchedLog]:
        """All logs that are watched."""
        with self._transaction() as connection:
            rows = connection.execute(
                "SELECT origin, size, note, (SELECT COUNT(*) FROM contradiction c WHERE c.origin = o.origin) "
                "FROM (SELECT DISTINCT origin FROM log) o LEFT JOIN latest USING (origin) ORDER BY origin"
            ).fetchall()
            return [
                WatchedLog(origin, tuple(_keys(connection, origin)), size, note, count)
                for origin, size, note, count in rows
            ]

    def cosign(self, untrusted: bytes, key: CosigningKey, now: datetime) -> bytes:
        """Judge a request; store the tree and cosign it. Returns the answer's body: a signature line.

        Raises:
            Refused: it is not to be cosigned; a contradiction is kept first.
            LogUnavailable: the tree could not be stored; nothing was cosigned.
        """
        request = Request.parse(untrusted)
        contradiction: Inconsistent | None = None
        with self._transaction() as connection:
            keys = _keys(connection, request.origin)
            try:
                consistent = judge(request, {request.origin: keys}, _latest(connection, request.origin))
            except Inconsistent as error:
                contradiction = error
                _keep(connection, request, untrusted, now)
            else:
                cosignature = key.cosign(consistent.text, now)
                note = Note(consistent.text, (*consistent.log_signatures, cosignature))
                _replace(connection, consistent, bytes(note))
        # Behind the commit: what is told now is durable.
        if contradiction is not None:
            raise contradiction
        return str(cosignature).encode()

    def checkpoint(self, origin_digest: str) -> bytes:
        """The checkpoint cosigned last of the log whose origin has this SHA-256, in hex.

        Raises:
            LogUnknown: nothing of it was cosigned yet.
        """
        for log in self.logs():
            if log.note is not None and origin_digest == digest_of(log.origin):
                return log.note
        raise LogUnknown("This witness has not cosigned that log yet.")

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """One exclusive transaction, durable when it ends without an error."""
        try:
            with closing(
                sqlite3.connect(
                    f"{self._path.absolute().as_uri()}?mode=rw",
                    uri=True,
                    isolation_level=None,
                    timeout=_BUSY_TIMEOUT_S,
                )
            ) as connection:
                connection.execute("PRAGMA synchronous=FULL")
                identity = [connection.execute(f"PRAGMA {each}").fetchone()[0] for each in _IDENTITY]
                if identity != list(_IDENTITY.values()):
                    raise LogUnavailable(f"{self._path} is no witness's database of this version.")
                connection.execute("BEGIN IMMEDIATE")
                try:
                    yield connection
                except BaseException:
                    connection.execute("ROLLBACK")
                    raise
                connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise LogUnavailable(
                "The witness cannot remember anything now, so it cosigns nothing.",
                f"Look at {self._path} and its disk.",
            ) from error


_IDENTITY = {"application_id": APPLICATION_ID, "user_version": SCHEMA_VERSION}


def digest_of(origin: str) -> str:
    """What a log is called in a witness's addresses: the SHA-256 of its origin, in hex."""
    return sha256(origin.encode()).hexdigest()


def _keys(connection: sqlite3.Connection, origin: str) -> list[VerifierKey]:
    rows = connection.execute("SELECT vkey FROM log WHERE origin = ? ORDER BY vkey", (origin,))
    return [_key(str(vkey)) for (vkey,) in rows]


def _key(vkey: str) -> VerifierKey:
    try:
        return VerifierKey.parse(vkey)
    except NoteInvalid as error:
        raise LogUnavailable("The witness's database holds something that is no key.") from error


def _latest(connection: sqlite3.Connection, origin: str) -> TreeHead | None:
    row = connection.execute("SELECT size, root FROM latest WHERE origin = ?", (origin,)).fetchone()
    return None if row is None else TreeHead(*row)


def _replace(connection: sqlite3.Connection, tree: Consistent, note: bytes) -> None:
    connection.execute(
        "INSERT INTO latest VALUES (?, ?, ?, ?) ON CONFLICT (origin) "
        "DO UPDATE SET size = excluded.size, root = excluded.root, note = excluded.note",
        (tree.origin, tree.head.size, tree.head.root, note),
    )


def _keep(connection: sqlite3.Connection, request: Request, untrusted: bytes, now: datetime) -> None:
    connection.execute(
        "INSERT INTO contradiction (origin, at, size, request) SELECT ?1, ?2, ?3, ?4 "
        "WHERE (SELECT COUNT(*) FROM contradiction WHERE origin = ?1) < ?5",
        (request.origin, now.isoformat(), request.head.size, untrusted, MAX_CONTRADICTIONS),
    )
