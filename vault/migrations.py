"""Brings a state database of an older schema to the present one, step by step, when it is opened (ADR 0015).

Each step is one transaction that also writes the new version to `PRAGMA user_version`: a kill leaves the database as
before a step or as after it, and the next opening goes on from there.
"""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from vault.errors import HostFailure

_BUSY_TIMEOUT_S = 10


@dataclass(frozen=True, slots=True)
class Migration:
    """One step.

    Attributes:
        version: of the schema after it, one more than before it.
        statements: what it does, in SQL.
    """

    version: int
    statements: tuple[str, ...]


#: In order. A step that a release has shipped is never changed.
MIGRATIONS: tuple[Migration, ...] = (
    # Jobs are data that another run of the daemon can take up; findings have a life.
    Migration(
        2,
        (
            "ALTER TABLE job ADD COLUMN arguments JSON",
            "ALTER TABLE job ADD COLUMN caller JSON",
            "ALTER TABLE job ADD COLUMN done_count INTEGER",
            "ALTER TABLE job ADD COLUMN total_count INTEGER",
            "ALTER TABLE job ADD COLUMN attempt INTEGER NOT NULL DEFAULT 0",
            "ALTER TABLE job ADD COLUMN intent VARCHAR",
            "ALTER TABLE job ADD COLUMN cancelled_by VARCHAR",
            "ALTER TABLE job ADD COLUMN revision INTEGER NOT NULL DEFAULT 0",
            "ALTER TABLE job ADD COLUMN started_at VARCHAR(32)",
            "ALTER TABLE finding ADD COLUMN acknowledged_at VARCHAR(32)",
            "ALTER TABLE finding ADD COLUMN acknowledged_by VARCHAR",
            "ALTER TABLE finding ADD COLUMN note VARCHAR",
            "ALTER TABLE finding ADD COLUMN closed_by VARCHAR",
            "ALTER TABLE finding ADD COLUMN reason VARCHAR",
            "ALTER TABLE finding ADD COLUMN reopens VARCHAR",
        ),
    ),
    # The list of reports says how many controls ended how, without opening the files.
    Migration(3, ("ALTER TABLE report ADD COLUMN summary JSON",)),
)
#: Written to `PRAGMA user_version`; a database of a newer version is refused, not guessed at.
SCHEMA_VERSION = MIGRATIONS[-1].version


def migrate(path: Path, migrations: Sequence[Migration] = MIGRATIONS) -> None:
    """Do the steps that a database has not seen yet; durable on return.

    A database without a version (emptied), or of a version that is not known here, is left as it is.

    Raises:
        HostFailure: it cannot be read or written; the last whole step stands.
    """
    try:
        # No isolation level: Python would commit before some statements by itself, and a step be no transaction.
        with closing(sqlite3.connect(path, timeout=_BUSY_TIMEOUT_S, isolation_level=None)) as connection:
            connection.execute("PRAGMA synchronous=FULL")
            for migration in migrations:
                _step(connection, migration)
    except sqlite3.Error as error:
        raise HostFailure(
            "The state database cannot be read or written.", "Look at the disk it lies on."
        ) from error


def _step(connection: sqlite3.Connection, migration: Migration) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version == migration.version - 1 and version > 0:
            for statement in migration.statements:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {migration.version}")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
