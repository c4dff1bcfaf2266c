"""What a person would write instead of the log: a table of one column in SQLite, as durable as ours."""

import sqlite3
from collections.abc import Sequence
from pathlib import Path


class RawTable:
    """Rows of bytes. WAL and synchronous=FULL, so that a commit is on the disk when it returns, as ours is."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=FULL")
        self._connection.execute("CREATE TABLE row (seq INTEGER PRIMARY KEY, bytes BLOB NOT NULL)")

    def add(self, data: bytes) -> None:
        """One row, one durable commit."""
        self._connection.execute("INSERT INTO row (bytes) VALUES (?)", (data,))

    def add_all(self, rows: Sequence[bytes]) -> None:
        """Rows, one durable commit."""
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.executemany("INSERT INTO row (bytes) VALUES (?)", [(each,) for each in rows])
        self._connection.execute("COMMIT")

    def close(self) -> None:
        """Close it."""
        self._connection.close()
