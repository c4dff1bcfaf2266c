"""State databases of older schemas: they open, keep what they hold, and a kill leaves no half schema."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from sqlmodel import select

from vault.database import Database
from vault.errors import HostFailure
from vault.migrations import MIGRATIONS, SCHEMA_VERSION, Migration, migrate
from vault.model import Account, Finding, Guest, Job, JobState

VECTORS = Path(__file__).parents[2] / "vectors"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A database as Strongroom 0.1 wrote it."""
    path = tmp_path / "state.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript((VECTORS / "state-v1.sql").read_text(encoding="utf-8"))
    return path


def version(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        found: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return found


def schema(path: Path) -> dict[str, object]:
    """Tables with their columns, and indexes, whatever the order columns were added in."""
    with closing(sqlite3.connect(path)) as connection:
        tables = [
            name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        ]
        columns = {
            table: sorted(
                (name, kind, bool(required), key)
                for _, name, kind, required, _default, key in connection.execute(
                    f"PRAGMA table_info({table})"
                )
            )
            for table in tables
        }
        indexes = sorted(connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'index'"))
    return {"columns": columns, "indexes": indexes}


def test_a_database_of_the_old_schema_opens_and_keeps_what_it_holds(old: Path) -> None:
    database = Database(old)
    with database.session() as session:
        assert session.get_one(Account, "account-olga").roles == ["operator"]
        assert session.get_one(Guest, "guest-1").labels == ["ephi"]
        done, cut = session.get_one(Job, "job-done"), session.get_one(Job, "job-cut")
        finding = session.get_one(Finding, "finding-open")
        assert (done.state, done.result, done.attempt) == (JobState.DONE, {"name": "clinic-db"}, 0)
        assert (cut.state, cut.arguments, cut.caller, cut.revision) == (JobState.RUNNING, None, None, 0)
        assert (finding.acknowledged_at, finding.closed_by, finding.reopens) == (None, None, None)
        session.add(Job(account_id="account-olga", action="log.verify", subject="log", arguments={}))
    with database.session() as session:
        assert len(session.exec(select(Job)).all()) == 3
    database.close()
    assert version(old) == SCHEMA_VERSION
    Database(old).close()


def test_a_migrated_database_has_the_schema_of_a_new_one(old: Path, tmp_path: Path) -> None:
    Database(old).close()
    Database(tmp_path / "new.db", create=True).close()
    assert schema(old) == schema(tmp_path / "new.db")


def test_a_step_that_fails_leaves_the_schema_before_it(old: Path) -> None:
    before = schema(old)
    broken = Migration(2, (*MIGRATIONS[0].statements, "ALTER TABLE nowhere ADD COLUMN x"))
    with pytest.raises(HostFailure):
        migrate(old, [broken])
    assert (schema(old), version(old)) == (before, 1)
    migrate(old)
    assert version(old) == SCHEMA_VERSION


@pytest.mark.parametrize("after", [0, 1, 7, len(MIGRATIONS[0].statements)])
def test_a_daemon_killed_within_a_step_leaves_the_schema_before_it(old: Path, after: int) -> None:
    before = schema(old)
    killed = subprocess.run(
        [sys.executable, "-c", _DIES, str(old), str(after)],
        cwd=Path(__file__).parents[3],
        check=False,
        capture_output=True,
    )
    assert killed.returncode == -9, killed.stderr
    assert (schema(old), version(old)) == (before, 1)
    Database(old).close()
    assert version(old) == SCHEMA_VERSION


def test_each_step_is_one_version_and_they_are_in_order() -> None:
    assert [migration.version for migration in MIGRATIONS] == list(range(2, SCHEMA_VERSION + 1))


def test_what_is_no_database_of_ours_is_left_as_it_is(tmp_path: Path) -> None:
    newer, empty = tmp_path / "newer.db", tmp_path / "empty.db"
    for path, number in ((newer, 99), (empty, 0)):
        with closing(sqlite3.connect(path)) as connection:
            connection.execute(f"PRAGMA user_version = {number}")
        with pytest.raises(HostFailure, match=r"version 99|is empty"):
            Database(path)
        assert (version(path), schema(path)["columns"]) == (number, {})


#: Runs the first step and kills itself after some of its statements.
_DIES = """
import os, signal, sqlite3, sys
from pathlib import Path
import vault.migrations as migrations

class Deadly(sqlite3.Connection):
    left = int(sys.argv[2])
    def execute(self, statement, *values):
        if statement.startswith(("ALTER", "PRAGMA user_version =")):
            if Deadly.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            Deadly.left -= 1
        return super().execute(statement, *values)

connection = sqlite3.connect(sys.argv[1], isolation_level=None, factory=Deadly)
migrations._step(connection, migrations.MIGRATIONS[0])
os.kill(os.getpid(), signal.SIGKILL)
"""
