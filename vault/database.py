"""The state database: what exists and what it should be, apart from the log and the keys (D10).

SQLite in WAL mode with full durability. Times are stored as RFC 3339 text so that they come back aware. A database of
an older schema is brought to the present one when it is opened (`vault.migrations`). SQLite would go on with files
that somebody removed or replaced, and acknowledge what is then lost (FACTS.md, Log): so each session compares the
open files with their paths, and the first that finds a stranger saves what was acknowledged and refuses from then on.
"""

import logging
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Engine, bindparam, event, select, text
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import PoolProxiedConnection
from sqlalchemy.types import String, TypeDecorator
from sqlmodel import Session, SQLModel, create_engine

from audit.errors import LogUnavailable
from audit.log.open_files import OpenFiles
from vault.errors import HostFailure
from vault.migrations import SCHEMA_VERSION, migrate

_logger = logging.getLogger(__name__)

#: How long one connection waits for another's write, in seconds.
_BUSY_TIMEOUT_S = 10
#: Connections kept open; the threads of requests and jobs take more for a moment, and wait for none.
_CONNECTIONS = 8


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC time, stored as text with microseconds so that order is order in time."""

    impl = String(32)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        """To text."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a zone cannot be stored")
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:  # noqa: ANN401, ARG002
        """From text."""
        if value is None:
            return None
        return datetime.strptime(value, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)


class Database:
    """Opens the state database and hands out sessions; a failing storage becomes HostFailure.

    Whoever opens it holds the lock of the instance: an older schema is changed here.
    """

    def __init__(self, path: Path, *, create: bool = False) -> None:
        if not create and not path.is_file():
            raise HostFailure(f"The state database {path} is missing.", "Restore it from a backup.")
        if create:
            path.touch(mode=0o600)
        else:
            migrate(path)
        self._engine = _open(path)
        self._path = path.resolve()
        self._companions = tuple(self._path.with_name(self._path.name + end) for end in ("-wal", "-shm"))
        self._files: OpenFiles | None = None
        self._keeper: PoolProxiedConnection | None = None
        self._saving = threading.Lock()
        self._lost: HostFailure | None = None
        try:
            self._require_version(path, create=create)
            # Held for as long as this lives: what is open cannot vanish from under the last connection.
            self._keeper = self._engine.raw_connection()
            self._files = OpenFiles([self._path, *self._companions])
        except LogUnavailable as error:
            self.close()
            raise HostFailure(
                f"The state database {path} was replaced while it was opened.", "Start the daemon again."
            ) from error
        except BaseException:
            self.close()
            raise

    def _require_version(self, path: Path, *, create: bool) -> None:
        with self.session() as session:
            version = session.connection().execute(text("PRAGMA user_version")).scalar_one()
            if version == 0 and create:
                SQLModel.metadata.create_all(session.connection())
                session.connection().execute(text(f"PRAGMA user_version = {SCHEMA_VERSION}"))
                return
        if version == 0:
            # Emptied, or never whole. Filling it in would show a site without accounts and guests.
            raise HostFailure(f"The state database {path} is empty.", "Restore it from a backup.")
        if version != SCHEMA_VERSION:
            raise HostFailure(
                f"The state database {path} has version {version}; this Strongroom knows {SCHEMA_VERSION}.",
                "Run the Strongroom that wrote it.",
            )

    @contextmanager
    def session(self) -> Iterator[Session]:
        """One transaction: committed when the block ends well, rolled back otherwise.

        Raises:
            HostFailure: the storage failed, or the files were removed or replaced; nothing may be done on the
                strength of what was read or written.
        """
        self._require_files()
        with Session(self._engine, expire_on_commit=False) as session:
            try:
                yield session
                session.commit()
            except SQLAlchemyError as error:
                session.rollback()
                raise _unusable() from error
        self._require_files()

    def columns_by_id(self, *columns: Any) -> Callable[[str], tuple[Any, ...] | None]:  # noqa: ANN401 - mapped columns
        """A function that reads these columns of the row with an id, and gives None where there is none.

        For what every access through the gate reads: the statement is compiled once and run by the driver
        itself, thirty times faster than by way of objects.
        """
        dialect = self._engine.dialect
        compiled = select(*columns).where(columns[0].table.c.id == bindparam("id")).compile(dialect=dialect)
        convert = [
            each.type.dialect_impl(dialect).result_processor(dialect, None) or _as_it_is for each in columns
        ]
        failures = (SQLAlchemyError, dialect.loaded_dbapi.Error)

        def read(row_id: str) -> tuple[Any, ...] | None:
            self._require_files()
            try:
                connection = self._engine.raw_connection()
                try:
                    cursor = connection.cursor()
                    row = cursor.execute(compiled.string, (row_id,)).fetchone()
                    cursor.close()
                finally:
                    connection.close()  # back into the pool
            except failures as error:
                raise _unusable() from error
            return row and tuple(each(value) for each, value in zip(convert, row, strict=True))

        return read

    def _require_files(self) -> None:
        if self._files is None:  # it is being opened
            return
        try:
            self._files.check()
        except LogUnavailable as error:
            with self._saving:
                if self._lost is None:
                    self._lost = self._save()
            raise HostFailure(self._lost.message, self._lost.hint) from error

    def _save(self) -> HostFailure:
        """Save what was acknowledged into files that have no name any more; the sentence for everybody after."""
        sentence = "The state database was removed or replaced while in use."
        mark = os.urandom(4).hex()
        rescue = self._path.with_name(f"{self._path.name}.rescued-{mark}")
        try:
            source = None if self._keeper is None else self._keeper.driver_connection
            if not isinstance(source, sqlite3.Connection) or self._files is None:
                raise TypeError("the state database is SQLite's, and open")
            if self._files.in_place(self._path):
                # The write-ahead log alone is gone: its content goes into the database.
                busy, frames, moved = source.execute("PRAGMA wal_checkpoint(FULL)").fetchone()
                if busy or frames != moved:
                    raise sqlite3.OperationalError("readers keep the write-ahead log from being moved")
                for companion in self._companions:
                    if companion.exists() and not self._files.in_place(companion):
                        companion.rename(companion.with_name(f"{companion.name}.foreign-{mark}"))
                return HostFailure(
                    sentence, "What it held is saved; find out who did that, then restart the daemon."
                )
            os.close(os.open(rescue, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            with closing(sqlite3.connect(rescue)) as copy:
                source.backup(copy)
        except (OSError, sqlite3.Error):
            _logger.exception("The state database could not be saved.")
            with suppress(OSError):
                rescue.unlink(missing_ok=True)  # half a copy; its folder may be gone as well
            return HostFailure(sentence, "Restore it from its backup, then start the daemon again.")
        return HostFailure(
            sentence, f"Its content was saved to {rescue}: put that in its place, then restart the daemon."
        )

    def close(self) -> None:
        """Close every connection."""
        if self._keeper is not None:
            self._keeper.close()
            self._keeper = None
        self._engine.dispose()


def _as_it_is(value: object) -> object:
    return value


def _unusable() -> HostFailure:
    return HostFailure("The state database cannot be read or written.", "Look at the disk it lies on.")


def _open(path: Path) -> Engine:
    # Parameters are hidden: an error's text goes into the daemon's log, and they hold password hashes and names.
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        connect_args={"timeout": _BUSY_TIMEOUT_S},
        hide_parameters=True,
        pool_size=_CONNECTIONS,
        max_overflow=-1,
    )

    @event.listens_for(engine, "connect")
    def _set_up(connection: Any, _record: object) -> None:  # noqa: ANN401 - the driver's own type
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute("PRAGMA secure_delete=ON")
        cursor.close()

    return engine
