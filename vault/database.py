"""The state database: what exists and what it should be, apart from the log and the keys (D10).

SQLite in WAL mode with full durability. Times are stored as RFC 3339 text so that they come back aware. A database of
an older schema is brought to the present one when it is opened (`vault.migrations`).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Engine, bindparam, event, select, text
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.types import String, TypeDecorator
from sqlmodel import Session, SQLModel, create_engine

from vault.errors import HostFailure
from vault.migrations import SCHEMA_VERSION, migrate

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
        try:
            self._require_version(path, create=create)
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
        """One transaction: committed when the block ends well, rolled back otherwise."""
        with Session(self._engine, expire_on_commit=False) as session:
            try:
                yield session
                session.commit()
            except SQLAlchemyError as error:
                session.rollback()
                raise _unusable() from error

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

    def close(self) -> None:
        """Close every connection."""
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
