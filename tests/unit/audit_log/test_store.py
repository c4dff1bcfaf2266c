import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from audit.errors import LogDamaged, LogHeld, LogUnavailable, TargetExists
from audit.log.database import LogDatabase, create_database
from audit.log.drafting import Prepared, take_stamp
from audit.log.open_files import OpenFiles
from audit.log.query import LogQuery
from audit.log.sqlite_store import SqliteLogStore
from tests.unit.audit_log.parts import LogHome, access, intent, ordinary_history, write


@pytest.fixture
def home(tmp_path: Path) -> LogHome:
    return LogHome.create(tmp_path)


@pytest.fixture
def written(home: LogHome) -> LogHome:
    writer = home.open()
    write(writer, ordinary_history(12))
    writer.append(intent())
    writer.close()
    return home


def tamper(home: LogHome, *statements: str) -> None:
    with closing(sqlite3.connect(home.path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE leaf SET hash = zeroblob(32) WHERE seq = 3",
        "UPDATE leaf SET seq = 100 WHERE seq = 299",
        "DELETE FROM leaf WHERE seq = 299",
        "INSERT OR REPLACE INTO leaf VALUES (3, zeroblob(32))",
        "INSERT INTO leaf VALUES (301, zeroblob(32))",
        "INSERT INTO leaf VALUES (-1, zeroblob(32))",
        "INSERT INTO leaf VALUES (300, zeroblob(31))",
        "INSERT INTO leaf VALUES (300, NULL)",
        "UPDATE body SET bytes = x'7b7d' WHERE seq = 3",
        "DELETE FROM body WHERE seq = 3",
        "DELETE FROM body",
        "REPLACE INTO body VALUES (3, x'7b7d')",
        "INSERT INTO body VALUES (300, x'7b7d')",
        "UPDATE node SET hash = zeroblob(32)",
        "DELETE FROM node",
        "REPLACE INTO node VALUES (8, 0, zeroblob(32))",
        "UPDATE inputs SET bytes = x'7b7d'",
        "DELETE FROM inputs",
        "REPLACE INTO inputs SELECT digest, 0, x'7b7d' FROM inputs",
        "UPDATE policies SET bytes = x'7b7d'",
        "DELETE FROM policies",
        "REPLACE INTO policies SELECT digest, name, x'7b7d' FROM policies",
        "UPDATE checkpoint SET size = 1",
        "DELETE FROM checkpoint",
        "REPLACE INTO checkpoint SELECT size, x'7b7d' FROM checkpoint",
        "UPDATE meta SET value = 'other'",
        "DELETE FROM meta",
        "REPLACE INTO meta VALUES ('origin', 'other')",
        "INSERT INTO pruning VALUES (0, 3, 'no such record')",
        "INSERT INTO pruning SELECT 3, 2, id FROM entry WHERE seq = 2",
    ],
)
def test_history_is_not_changed_by_sql(home: LogHome, statement: str) -> None:
    writer = home.open()
    write(writer, ordinary_history(300))
    writer.close()
    tables = ("leaf", "body", "node", "inputs", "policies", "checkpoint", "meta", "pruning", "cosignature")
    with closing(sqlite3.connect(home.path, isolation_level=None)) as connection:
        before = [connection.execute(f"SELECT * FROM {table}").fetchall() for table in tables]  # noqa: S608
        connection.execute("BEGIN")
        with pytest.raises(sqlite3.IntegrityError):
            connection.execute(statement)
        connection.execute("COMMIT")
        assert [connection.execute(f"SELECT * FROM {table}").fetchall() for table in tables] == before  # noqa: S608


def test_a_body_is_dropped_only_under_a_recorded_pruning(written: LogHome) -> None:
    tamper(
        written,
        "INSERT INTO pruning SELECT 2, 4, id FROM entry WHERE seq = 12",
        "DELETE FROM body WHERE seq = 3",
    )
    for statement in (
        "DELETE FROM body WHERE seq = 5",
        "UPDATE pruning SET last_seq = 10",
        "DELETE FROM pruning",
        "INSERT INTO body VALUES (3, x'7b7d')",
    ):
        with pytest.raises(sqlite3.IntegrityError):
            tamper(written, statement)


def test_a_second_writer_in_the_same_process_is_refused(home: LogHome) -> None:
    writer = home.open()
    with pytest.raises(LogHeld, match="another process"):
        SqliteLogStore(home.path)
    writer.append(access())
    writer.close()
    SqliteLogStore(home.path).close()


def test_a_second_writer_in_another_process_is_refused_and_gets_the_log_afterwards(home: LogHome) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom audit.errors import LogHeld\n"
        "from audit.log.sqlite_store import SqliteLogStore\n"
        "try:\n    SqliteLogStore(Path(sys.argv[1]))\nexcept LogHeld as error:\n    sys.exit(error.exit_code)\n"
    )
    root = Path(__file__).parents[3]
    command = [sys.executable, "-c", code, str(home.path)]
    writer = home.open()
    assert subprocess.run(command, cwd=root, check=False).returncode == 9
    writer.append(access())
    writer.close()
    assert subprocess.run(command, cwd=root, check=False).returncode == 0


def test_a_log_is_made_once_and_never_overwritten(home: LogHome) -> None:
    with pytest.raises(TargetExists):
        create_database(home.path, origin="other", vkey="other")
    with closing(SqliteLogStore(home.path)) as store:
        assert (store.origin, store.vkey) == (home.origin, home.key.vkey)


def test_a_log_is_readable_by_its_owner_alone(home: LogHome) -> None:
    writer = home.open()
    writer.append(access())
    for path in home.folder.iterdir():
        assert path.stat().st_mode & 0o077 == 0, path.name
    writer.close()


def test_an_interrupted_creation_is_taken_up_again(tmp_path: Path) -> None:
    (tmp_path / "log.db.new").write_bytes(b"half a database")
    LogHome.create(tmp_path).open().close()
    assert not (tmp_path / "log.db.new").exists()


def test_a_log_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(LogUnavailable, match="cannot be made"):
        create_database(tmp_path / "none" / "log.db", origin="a", vkey="b")


def test_a_log_without_identity_cannot_be_made(tmp_path: Path) -> None:
    with pytest.raises(LogUnavailable):
        create_database(tmp_path / "log.db", origin=None, vkey="b")  # type: ignore[arg-type]  # what must not be
    assert not (tmp_path / "log.db").exists()


def test_a_missing_log_is_not_replaced_by_an_empty_one(tmp_path: Path) -> None:
    with pytest.raises(LogUnavailable, match="missing"):
        SqliteLogStore(tmp_path / "log.db")
    assert not (tmp_path / "log.db").exists()


def test_a_file_that_is_not_a_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "log.db").write_bytes(b"x" * 8192)
    with pytest.raises(LogDamaged, match="damaged"):
        SqliteLogStore(tmp_path / "log.db")


def test_another_programs_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "log.db")) as connection:
        connection.execute("CREATE TABLE other (a)")
    before = (tmp_path / "log.db").read_bytes()
    with pytest.raises(LogDamaged, match="not a log's database"):
        SqliteLogStore(tmp_path / "log.db")
    assert (tmp_path / "log.db").read_bytes() == before


def test_a_log_that_does_not_say_which_it_is_is_refused(home: LogHome) -> None:
    tamper(home, "DROP TRIGGER meta_delete", "DELETE FROM meta WHERE name = 'vkey'")
    with pytest.raises(LogDamaged, match="which log"):
        SqliteLogStore(home.path)
    with pytest.raises(LogDamaged, match="which log"):
        LogQuery(home.path)


def test_a_log_under_a_lock_of_another_program_is_unavailable(home: LogHome) -> None:
    with closing(SqliteLogStore(home.path)) as store:
        with closing(sqlite3.connect(home.path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(LogUnavailable, match="locked"):
                store.add_checkpoint(0, b"note")
        store.add_checkpoint(0, b"note")


def test_a_lock_file_that_is_a_link_is_not_followed(home: LogHome, tmp_path: Path) -> None:
    (tmp_path / "log.db.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(LogUnavailable, match="lock file"):
        SqliteLogStore(home.path)
    assert not (tmp_path / "elsewhere").exists()


def test_a_closed_store_says_so(home: LogHome) -> None:
    store = SqliteLogStore(home.path)
    store.close()
    store.close()
    with pytest.raises(LogUnavailable, match="closed"):
        store.size()
    with pytest.raises(LogUnavailable, match="closed"):
        store.add_checkpoint(0, b"note")
    store.reopen()
    assert store.size() == 0
    store.close()


@pytest.mark.parametrize("statement", ["DELETE FROM entry", "DELETE FROM entry WHERE seq > 5"])
def test_lost_search_columns_are_made_again_from_the_records(written: LogHome, statement: str) -> None:
    with LogQuery(written.path) as query:
        before = query._database.rows("SELECT * FROM entry, open_intent ORDER BY entry.seq")
    assert len(before) == 13
    tamper(written, statement, "DELETE FROM open_intent")
    SqliteLogStore(written.path).close()
    with LogQuery(written.path) as query:
        assert query._database.rows("SELECT * FROM entry, open_intent ORDER BY entry.seq") == before


def test_search_columns_are_not_made_from_changed_records(written: LogHome) -> None:
    tamper(
        written,
        "DELETE FROM entry",
        "DROP TRIGGER body_update",
        "UPDATE body SET bytes = CAST(replace(bytes, '\"v\":1', '\"v\":2') AS BLOB) WHERE seq = 2",
    )
    with pytest.raises(LogDamaged, match="not what was hashed"):
        SqliteLogStore(written.path)


def test_missing_parts_are_damage(written: LogHome) -> None:
    with closing(SqliteLogStore(written.path)) as store:
        with pytest.raises(LogDamaged, match="missing"):
            store.hashes(0, 10, 10)
        with pytest.raises(LogDamaged, match="missing"):
            store.hashes(8, 0, 1)
        with pytest.raises(LogDamaged, match="missing"):
            store.bodies(0, 14)


def test_a_removed_write_ahead_log_loses_nothing_that_was_acknowledged(home: LogHome) -> None:
    """FACTS.md, Log: SQLite by itself acknowledges into the unlinked file, and all is lost."""
    writer = home.open()
    acknowledged = write(writer, ordinary_history(20))
    home.path.with_name("log.db-wal").unlink()
    with pytest.raises(LogUnavailable, match=r"log\.db-wal was removed or replaced"):
        writer.append(access())
    after = writer.append(access())  # the log came back by itself
    writer.close()
    with LogQuery(home.path) as query:
        assert [record.bytes for record in query.records()] == [each.bytes for each in [*acknowledged, after]]


def test_a_replaced_write_ahead_log_is_noticed(home: LogHome) -> None:
    writer = home.open()
    acknowledged = write(writer, ordinary_history(8))
    wal = home.path.with_name("log.db-wal")
    copy = wal.with_name("copy")
    copy.write_bytes(wal.read_bytes())
    copy.replace(wal)
    with pytest.raises(LogUnavailable, match="removed or replaced"):
        writer.append(access())
    writer.close()
    with LogQuery(home.path) as query:
        assert [record.id for record in query.records()][:8] == [record.id for record in acknowledged]


def test_an_older_write_ahead_log_put_in_place_under_readers_rolls_nothing_back(home: LogHome) -> None:
    """Left in place, it would be read as the newest part of the log, and older pages would cover newer ones."""
    writer = home.open()
    acknowledged = write(writer, ordinary_history(8))
    wal = home.path.with_name("log.db-wal")
    older = wal.with_name("older")
    older.write_bytes(wal.read_bytes())
    acknowledged += write(writer, [[access()] for _ in range(8)])
    with LogQuery(home.path) as reader:
        assert reader.size() == 16
        older.replace(wal)
        with pytest.raises(LogUnavailable, match="removed or replaced"):
            writer.append(access())
        acknowledged.append(writer.append(access()))
        assert reader.size() == 17
    writer.close()
    with LogQuery(home.path) as query:
        assert [record.bytes for record in query.records()] == [record.bytes for record in acknowledged]
    assert len(list(home.folder.glob("log.db-wal.foreign-*"))) == 1


def test_a_log_whose_whole_folder_was_removed_is_kept_open_so_that_it_can_be_saved(home: LogHome) -> None:
    writer = home.open()
    acknowledged = write(writer, ordinary_history(8))
    shutil.rmtree(home.folder)
    with pytest.raises(LogUnavailable, match="removed or replaced"):
        writer.append(access())
    with pytest.raises(LogUnavailable, match="cannot be saved"):
        writer.append(access())
    home.folder.mkdir()
    with pytest.raises(LogUnavailable, match="missing"):
        writer.append(access())
    (rescued,) = home.folder.glob("log.db.rescued-*")
    with LogQuery(rescued) as query:
        assert [record.id for record in query.records()] == [record.id for record in acknowledged]
    with pytest.raises(LogUnavailable):
        writer.close()


def test_a_database_that_may_not_grow_is_a_full_disk(home: LogHome) -> None:
    store = SqliteLogStore(home.path)
    pages = store._database.value("PRAGMA page_count")
    store._database.rows(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(LogUnavailable, match="disk is full"):
        store.add_bundle("ab" * 32, {"a": bytes(100_000)})
    store.reopen()
    assert store.bundles() == set()
    store.close()


def test_a_missing_table_is_an_error(home: LogHome) -> None:
    tamper(home, "DROP TABLE node")
    with closing(SqliteLogStore(home.path)) as store, pytest.raises(LogUnavailable, match="does not work"):
        store.hashes(8, 0, 1)


def test_a_write_ahead_log_removed_under_readers_is_saved_once_they_have_gone(home: LogHome) -> None:
    writer = home.open()
    first = writer.append(access())
    with closing(sqlite3.connect(f"file:{home.path}?mode=ro", uri=True, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM body").fetchall()
        second = writer.append(access())
        home.path.with_name("log.db-wal").unlink()
        for _ in range(2):
            with pytest.raises(LogUnavailable):
                writer.append(access())
        reader.execute("COMMIT")
    third = writer.append(access())
    writer.close()
    with LogQuery(home.path) as query:
        assert [record.id for record in query.records()] == [first.id, second.id, third.id]


def test_a_removed_index_of_the_write_ahead_log_is_noticed(home: LogHome) -> None:
    writer = home.open()
    kept = writer.append(access())
    home.path.with_name("log.db-shm").unlink()
    with pytest.raises(LogUnavailable, match=r"log\.db-shm"):
        writer.append(access())
    writer.append(access())
    writer.close()
    with LogQuery(home.path) as query:
        assert query.by_seq(0).bytes == kept.bytes
        assert query.size() == 2


def test_a_removed_database_is_rescued_and_no_empty_one_takes_its_place(home: LogHome) -> None:
    writer = home.open()
    acknowledged = write(writer, ordinary_history(10))
    home.path.unlink()
    for _ in range(2):
        with pytest.raises(LogUnavailable):
            writer.append(access())
    with pytest.raises(LogUnavailable):
        writer.close()
    assert not home.path.exists()
    (rescued,) = home.folder.glob("log.db.rescued-*")
    with LogQuery(rescued) as query:
        assert [record.bytes for record in query.records()] == [record.bytes for record in acknowledged]
    rescued.rename(home.path)
    for companion in ("log.db-wal", "log.db-shm"):
        home.path.with_name(companion).unlink(missing_ok=True)
    again = home.open()
    assert again.head().size == 10
    again.close()


def test_a_database_rolled_back_to_an_older_copy_is_not_written_on(home: LogHome) -> None:
    writer = home.open()
    write(writer, ordinary_history(4))
    with closing(sqlite3.connect(home.path)) as source, closing(sqlite3.connect(home.folder / "old")) as old:
        source.backup(old)
    write(writer, [[access()] for _ in range(6)])
    (home.folder / "old").replace(home.path)
    with pytest.raises(LogUnavailable, match="removed or replaced"):
        writer.append(access())
    for _ in range(2):
        with pytest.raises(LogUnavailable, match="acknowledged are missing"):
            writer.append(access())
    with pytest.raises(LogDamaged, match="acknowledged are missing"):
        writer.close()
    (rescued,) = home.folder.glob("log.db.rescued-*")
    assert rescued.stat().st_mode & 0o077 == 0
    with LogQuery(rescued) as query:
        assert query.size() == 10


def test_records_that_another_program_added_are_not_built_on(home: LogHome) -> None:
    writer = home.open()
    *_, last = write(writer, ordinary_history(4))
    forged = Prepared(access()).place(4, last.leaf_hash.hex(), take_stamp(home.clock))
    with closing(sqlite3.connect(home.path, isolation_level=None)) as other:
        other.execute("INSERT INTO leaf VALUES (4, ?)", [forged.leaf_hash])
        other.execute("INSERT INTO body VALUES (4, ?)", [forged.bytes])
        other.execute(
            "INSERT INTO entry VALUES (4, ?, 'access', ?, 'a', 'b', 'c', NULL, NULL)", [forged.id, forged.at]
        )
    with pytest.raises(LogUnavailable):
        writer.append(access())
    with pytest.raises(LogUnavailable, match="did not write"):
        writer.append(access())
    with pytest.raises(LogDamaged):
        writer.close()


def test_a_file_that_is_not_open_under_its_path_has_no_identity(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LogUnavailable, match="file was removed or replaced"):
        OpenFiles([tmp_path / "file"])


def test_the_identity_of_open_files_is_found_without_opening_them(tmp_path: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    home = LogHome.create(tmp_path)
    database = LogDatabase(home.path)
    opened = len(list(Path("/proc/self/fd").iterdir())) - before
    database.close()
    assert opened == 4  # database, write-ahead log, its index, lock
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert os.path.lexists(home.path)


def test_a_log_of_version_1_is_brought_to_this_one_with_all_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    create_database(path, origin="strongroom.example/log", vkey="any")
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("DROP TABLE cosignature")
        connection.execute("INSERT INTO checkpoint VALUES (0, x'6e')")
        connection.execute("PRAGMA user_version=1")
    for _ in range(2):
        store = SqliteLogStore(path)
        assert store.latest_checkpoint() == (0, b"n")
        store.add_cosignature(0, "w", 1, "line\n")
        store.add_cosignature(0, "w", 1, "another line\n")
        store.close()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT line FROM cosignature").fetchall() == [("line\n",)]
        with pytest.raises(sqlite3.IntegrityError, match="never"):
            connection.execute("UPDATE cosignature SET line = 'x'")
