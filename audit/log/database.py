"""The log's SQLite file as such: made once, held by one writer, and proven to be the file that is open.

Invariant: when `transaction` ends without error, what was written is synced and lies in the files that the
paths lead to. The identity of the open files is compared before and after each commit, because SQLite would
not notice that they were removed (FACTS.md, Log).
"""

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from audit.errors import LogDamaged, LogHeld, LogUnavailable, TargetExists
from audit.log import schema
from audit.log.durable import sync_directory
from audit.log.open_files import OpenFiles
from audit.log.sqlite_errors import translate

#: How long SQLite waits for another program's lock on the database, in seconds.
_BUSY_TIMEOUT_S = 1.0

#: An append changes a page of each table and index, about eight, and SQLite writes whole pages: half of its usual
#: page size halves what one commit has to bring to the disk. A record of usual length still fits in a page twice.
_PAGE_BYTES = 2048

#: 8000 pages are 16 MiB of write-ahead log between its transfers to the database: seldom enough that they do
#: not count among the slowest hundredth of single appends. The cache is 16 MB.
_PRAGMAS = ("synchronous=FULL", "trusted_schema=OFF", "cache_size=-16000", "wal_autocheckpoint=8000")


def create_database(path: Path, *, origin: str, vkey: str) -> None:
    """Make an empty log. Killed half way, it leaves no log behind.

    Args:
        path: the file to make, in a directory that exists.
        origin: the log's identity, the name in its checkpoints.
        vkey: the log's verifier key, C2SP text.

    Raises:
        TargetExists: there is a file; a log is never overwritten.
        LogUnavailable: it cannot be written.
    """
    path = path.resolve()
    draft = path.with_name(path.name + ".new")
    try:
        draft.unlink(missing_ok=True)  # of a creation that was interrupted
        if path.exists():
            raise FileExistsError
        os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        with closing(sqlite3.connect(draft, isolation_level=None)) as connection:
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute(f"PRAGMA page_size={_PAGE_BYTES}")
            connection.execute(f"PRAGMA application_id={schema.APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version={schema.SCHEMA_VERSION}")
            connection.executescript(schema.statements())
            connection.executemany("INSERT INTO meta VALUES (?, ?)", [("origin", origin), ("vkey", vkey)])
            connection.execute("PRAGMA journal_mode=WAL")
        os.link(draft, path)  # unlike rename(2), it refuses to overwrite
        draft.unlink()
        sync_directory(path.parent)
    except FileExistsError as error:
        raise TargetExists("There is a log already.", "Keep it: its records cannot be made again.") from error
    except sqlite3.Error as error:
        raise translate(error) from error
    except OSError as error:
        raise LogUnavailable(
            f"The log cannot be made: {error.strerror}.", "Look at its directory."
        ) from error


class LogDatabase:
    """The open database of the one writer.

    Args:
        path: the database, made with `create_database` before.

    Raises:
        LogHeld: another process, or another part of this one, has the log open for writing.
        LogUnavailable: the file is missing or cannot be opened.
        LogDamaged: the file is not a log's database.
    """

    def __init__(self, path: Path) -> None:
        self._path = path.resolve()
        self._companions = tuple(self._path.with_name(self._path.name + end) for end in ("-wal", "-shm"))
        self._lock_path = self._path.with_name(self._path.name + ".lock")
        self._open: _Open | None = None
        self.reopen()

    def reopen(self) -> None:
        """Close what is open, without losing what was acknowledged, and open again."""
        self.close()
        if not self._path.is_file():
            raise LogUnavailable(
                "The log's database is missing.",
                "Restore it from its backup; a new one must never take its place.",
            )
        lock = self._take_lock()
        try:
            connection = self._connect()
            try:
                files = OpenFiles([self._path, *self._companions, self._lock_path])
            except BaseException:
                connection.close()
                raise
        except BaseException:
            os.close(lock)
            raise
        self._open = _Open(connection, files, lock)

    def close(self) -> None:
        """Close; what was acknowledged is first saved from files that were removed under us.

        Raises:
            LogUnavailable: it could not be saved; then the database stays open, so that it still can be.
        """
        if self._open is None:
            return
        try:
            self._save_removed(self._open)
        except sqlite3.Error as error:
            raise translate(error) from error
        except OSError as error:
            raise LogUnavailable(f"What the log holds cannot be saved: {error.strerror}.") from error
        # So that the database is whole by itself. What this cannot move stays in the write-ahead log, where the
        # next opening finds it.
        with suppress(sqlite3.Error):
            self._open.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._open.connection.close()
        os.close(self._open.lock)
        self._open = None

    def rows(self, query: str, *values: object) -> list[tuple[object, ...]]:
        """Run a query."""
        try:
            return self._use().connection.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise translate(error) from error

    def value(self, query: str, *values: object) -> object:
        """The first column of the first row, or None."""
        rows = self.rows(query, *values)
        return rows[0][0] if rows else None

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """One durable commit of what is written inside.

        Raises:
            LogUnavailable: it is not durable, or not in the log's own files; nobody may be told that it is.
        """
        in_use = self._use()
        in_use.files.check()
        try:
            in_use.connection.execute("BEGIN IMMEDIATE")
            yield in_use.connection
            in_use.connection.execute("COMMIT")
        except BaseException as error:
            # A commit that failed may have taken its transaction with it, or not: both are fine here.
            with suppress(sqlite3.Error):
                in_use.connection.execute("ROLLBACK")
            if isinstance(error, sqlite3.Error):
                raise translate(error) from error
            raise
        in_use.files.check()

    def _use(self) -> "_Open":
        if self._open is None:
            raise LogUnavailable("The log is closed.")
        return self._open

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"{self._path.as_uri()}?mode=rw",
            uri=True,
            isolation_level=None,
            check_same_thread=False,  # the writer opens it in one thread and then uses it in another
            timeout=_BUSY_TIMEOUT_S,
        )
        try:
            for pragma in _PRAGMAS:
                connection.execute(f"PRAGMA {pragma}")
            # Asking for the journal mode reads the database, which opens the write-ahead log.
            identity = _identity(connection)
            if identity == [schema.APPLICATION_ID, 1, "wal"]:
                connection.executescript(schema.from_version_1())
                identity = _identity(connection)
            if identity != [schema.APPLICATION_ID, schema.SCHEMA_VERSION, "wal"]:
                raise LogDamaged(
                    "The file is not a log's database, or one of another version.",
                    "Restore it from its backup.",
                )
        except sqlite3.Error as error:
            connection.close()
            raise translate(error) from error
        except BaseException:
            connection.close()
            raise
        return connection

    def _save_removed(self, in_use: "_Open") -> None:
        """Save what was acknowledged into files that have no name any more."""
        mark = os.urandom(4).hex()
        if not in_use.files.in_place(self._path):
            # All of it: copy it out beside the place where it was.
            rescue = self._path.with_name(f"{self._path.name}.rescued-{mark}")
            os.close(os.open(rescue, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            try:
                with closing(sqlite3.connect(rescue)) as copy:
                    in_use.connection.backup(copy)
            except BaseException:
                rescue.unlink()  # half a copy; the next attempt makes a whole one
                raise
            return
        foreign = [each for each in self._companions if not in_use.files.in_place(each)]
        if not foreign:
            return
        # The write-ahead log, which a reopened database would not read: move its content into the database.
        busy, frames, moved = in_use.connection.execute("PRAGMA wal_checkpoint(FULL)").fetchone()
        if busy or frames != moved:
            raise LogUnavailable(
                "The log's write-ahead log was removed, and readers keep it from being saved.",
                "End what reads the log, then try again.",
            )
        # Whatever somebody put in their places would be read as the newest part of the log: aside with it.
        for companion in foreign:
            with suppress(FileNotFoundError):
                companion.rename(companion.with_name(f"{companion.name}.foreign-{mark}"))

    def _take_lock(self) -> int:
        # flock(2), not fcntl(2) locks: those of one process do not exclude each other. The file stays behind:
        # were it removed, a second writer could lock another one.
        try:
            lock = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise LogUnavailable(f"The log's lock file cannot be opened: {error.strerror}.") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(lock)
            raise LogHeld(
                "The log is being written by another process already.", "Stop that one, or talk to it."
            ) from error
        return lock


@dataclass(frozen=True, slots=True)
class _Open:
    """What is open: the connection, the files it uses, and the descriptor that holds the lock."""

    connection: sqlite3.Connection
    files: OpenFiles
    lock: int


def _identity(connection: sqlite3.Connection) -> list[object]:
    return [
        connection.execute(f"PRAGMA {each}").fetchone()[0]
        for each in ("application_id", "user_version", "journal_mode")
    ]
