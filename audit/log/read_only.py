"""A read-only look into the log's database, from any process."""

import sqlite3
import threading
from contextlib import closing
from pathlib import Path

from audit.errors import LogUnavailable
from audit.log.open_files import OpenFiles
from audit.log.sqlite_errors import translate


class ReadOnlyDatabase:
    """Asks the log's database without the power to change it. May be shared by threads, not by forks.

    When the file was replaced since it was opened, it is opened again: what is open is not the log any more.

    Args:
        path: the log's database.
    """

    def __init__(self, path: Path) -> None:
        self._path = path.resolve()
        self._lock = threading.Lock()
        self._open: tuple[sqlite3.Connection, OpenFiles] | None = None

    def rows(self, query: str, *values: object) -> list[tuple[object, ...]]:
        """Run one query, on one state of the log.

        Raises:
            LogUnavailable: the database is missing or cannot be read.
            LogDamaged: it is not a database, or not a whole one.
        """
        with self._lock:
            try:
                with closing(self._use().execute(query, values)) as cursor:
                    return cursor.fetchall()
            except sqlite3.Error as error:
                self._drop()
                raise translate(error) from error

    def close(self) -> None:
        """Close. A later question opens it again."""
        with self._lock:
            self._drop()

    def _use(self) -> sqlite3.Connection:
        if self._open is not None:
            try:
                self._open[1].check()
            except LogUnavailable:
                self._drop()
            else:
                return self._open[0]
        if not self._path.is_file():
            raise LogUnavailable("The log's database is missing.", "Restore it from its backup.")
        connection = sqlite3.connect(
            f"{self._path.as_uri()}?mode=ro", uri=True, isolation_level=None, check_same_thread=False
        )
        try:
            connection.execute("PRAGMA query_only=ON")
            connection.execute("SELECT name FROM meta")  # opens the write-ahead log
            companions = (self._path.with_name(self._path.name + end) for end in ("-wal", "-shm"))
            self._open = connection, OpenFiles([self._path, *companions])
        except BaseException:
            connection.close()
            raise
        return connection

    def _drop(self) -> None:
        if self._open is not None:
            self._open[0].close()
        self._open = None
