import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from audit.errors import LogDamaged, LogUnavailable, NotAnExport, VerificationFailed, VerificationImpossible
from audit.log.merkle import leaf_hash
from audit.log.sqlite_store import SqliteLogStore
from audit.log.writer import LogWriter
from audit.verify import Trust, verify_store
from audit.verify.__main__ import main
from tests.unit.audit_log.parts import DIGEST, LogHome, access, intent, ordinary_history

RECORDS = 600  # more than two tiles of the tree


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> LogHome:
    home = LogHome.create(tmp_path_factory.mktemp("written"))
    writer = home.open()
    writer.append_all([draft for group in ordinary_history(RECORDS - 1) for draft in group])
    writer.append(intent())
    writer.close()
    return home


@pytest.fixture
def home(written: LogHome, tmp_path: Path) -> LogHome:
    shutil.copytree(written.folder, tmp_path, dirs_exist_ok=True)
    return LogHome(tmp_path)


def tamper(home: LogHome, *statements: str, values: tuple[object, ...] = ()) -> None:
    """What somebody with the disk in hand can do: triggers do not hold them up."""
    with closing(sqlite3.connect(home.path, isolation_level=None)) as connection:
        triggers = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for name, _ in triggers:
            connection.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            connection.execute(statement, values)
        for _, sql in triggers:
            connection.execute(sql)


def failure(home: LogHome, *, fields: bool = True, trust: Trust | None = None) -> VerificationFailed:
    with pytest.raises(VerificationFailed) as caught:
        verify_store(home.path, trust, fields=fields)
    assert caught.value.exit_code == 7
    return caught.value


def edited_body(seq: int) -> str:
    return f"UPDATE body SET bytes = CAST(replace(bytes, 'account:5', 'account:6') AS BLOB) WHERE seq = {seq}"  # noqa: S608


def test_an_honest_log_holds_while_its_writer_is_at_work(home: LogHome) -> None:
    with closing(home.open(recovered=False, checkpoint_after_s=60)) as writer:
        writer.append(access())
        progress: list[tuple[int, int]] = []
        report = verify_store(home.path, progress=lambda done, of: progress.append((done, of)))
        details = {check.name: check.detail for check in report.checks}
        assert (report.kind, report.records) == ("log-store", RECORDS + 1)
        assert progress == [(RECORDS + 1, RECORDS + 1)]
        assert "1 records after them are not signed yet" in details["root"]
        assert "1 accesses were not over yet" in details["intents"]
        assert set(details) == {
            *(
                "key",
                "checkpoint",
                "epochs",
                "records",
                "root",
                "ids",
                "inputs",
                "intents",
                "policies",
                "clock",
                "tree",
                "index",
            ),
        }
        assert verify_store(home.path, fields=False).holds


def test_the_trusted_key_is_asked_for(home: LogHome, tmp_path: Path) -> None:
    assert verify_store(home.path, Trust.parse({"log_vkey": home.key.vkey})).holds
    other = LogHome.create(tmp_path / "other")
    assert failure(home, trust=Trust.parse({"log_vkey": other.key.vkey})).finding == "key.not_trusted"
    assert failure(home, trust=Trust.parse({"timestamp_roots": ["r"]})).finding == "trust.unmet"


@pytest.mark.parametrize("fields", [True, False])
@pytest.mark.parametrize("seq", [0, 300, RECORDS - 2])
def test_an_edited_record_is_named(home: LogHome, seq: int, *, fields: bool) -> None:
    tamper(home, edited_body(seq))
    found = failure(home, fields=fields)
    assert (found.finding, found.seq) == ("record.changed", seq)


@pytest.mark.parametrize("fields", [True, False])
def test_an_edited_last_record_is_named(home: LogHome, *, fields: bool) -> None:
    tamper(home, edited_body(RECORDS - 1))
    found = failure(home, fields=fields)
    assert (found.finding, found.seq) == ("record.changed", RECORDS - 1)


def test_an_edited_record_with_its_leaf_mended_is_named(home: LogHome) -> None:
    tamper(home, edited_body(300))
    with closing(sqlite3.connect(home.path)) as connection:
        (data,) = connection.execute("SELECT bytes FROM body WHERE seq = 300").fetchone()
    tamper(home, "UPDATE leaf SET hash = ? WHERE seq = 300", values=(leaf_hash(data),))
    assert failure(home).seq == 300


@pytest.mark.parametrize(
    ("statements", "finding", "seq"),
    [
        (["UPDATE leaf SET hash = zeroblob(32) WHERE seq = 7"], "leaf.changed", 7),
        (["DELETE FROM body WHERE seq = 7"], "record.missing", 7),
        (["DELETE FROM leaf WHERE seq = 7"], "record.missing", 7),
        (["DELETE FROM leaf WHERE seq > 400", "DELETE FROM body WHERE seq > 400"], "log.truncated", 401),
        (["DELETE FROM inputs"], "inputs.missing", 0),
        (["UPDATE inputs SET bytes = x'7b7d' WHERE first_seq = 0"], "inputs.missing", 0),
        (["DELETE FROM policies"], "bundle.missing", 0),
        (["UPDATE policies SET bytes = x'00' WHERE name = 'base.cedar'"], "bundle.missing", 0),
        (["INSERT INTO inputs VALUES ('" + "5" * 64 + "', 0, x'00')"], None, None),
        (["DELETE FROM checkpoint"], "checkpoint.missing", None),
        (["UPDATE checkpoint SET note = x'00'"], "checkpoint.invalid", None),
        (["UPDATE meta SET value = 'x' WHERE name = 'vkey'"], "key.malformed", None),
        (["DELETE FROM meta WHERE name = 'vkey'"], "key.malformed", None),
        (["UPDATE node SET hash = zeroblob(32) WHERE idx = 1"], "node.changed", None),
        (["DELETE FROM node"], "node.changed", None),
        (["UPDATE entry SET principal = 'account:nobody' WHERE seq = 9"], "index.changed", None),
        (["UPDATE entry SET decision = NULL WHERE seq = 8"], "index.changed", None),
        (["DELETE FROM entry WHERE seq = 9"], "index.changed", None),
    ],
)
def test_every_table_is_watched(
    home: LogHome, statements: list[str], finding: str | None, seq: int | None
) -> None:
    tamper(home, *statements)
    if finding is None:  # bytes without their digest are as good as absent
        assert verify_store(home.path).holds
        return
    found = failure(home)
    assert (found.finding, found.seq) == (finding, seq)


def test_inputs_that_no_record_names_are_found(home: LogHome) -> None:
    tamper(home, "UPDATE inputs SET digest = lower(digest)")
    data = b'{"context":{},"entities":[]}'
    from hashlib import sha256  # noqa: PLC0415 - only here

    tamper(home, "INSERT INTO inputs VALUES (?, 3, ?)", values=(sha256(data).hexdigest(), data))
    assert failure(home).finding == "inputs.unnamed"


def test_a_repeated_id_is_found(tmp_path: Path) -> None:
    """No outsider: a log whose writer went wrong, signed as it is."""
    home = LogHome.create(tmp_path)

    class Forgetful(SqliteLogStore):
        def has_id(self, record_id: str) -> bool:
            return not record_id

    writer = LogWriter(Forgetful(home.path), home.clock, home.key)
    tamper(home, "DROP INDEX entry_id")
    for _ in range(2):
        writer.append(access(id="7" * 32, bundle=None))
    writer.close()
    found = failure(home)
    assert (found.finding, found.seq) == ("record.id_repeated", 1)


def test_a_pruned_body_is_said_to_be_pruned(home: LogHome) -> None:
    tamper(home, "INSERT INTO pruning SELECT 3, 4, id FROM entry WHERE seq = 599")
    tamper(home, "DELETE FROM body WHERE seq = 3")
    assert "a pruning was recorded" in failure(home).message


def test_an_empty_log_holds(tmp_path: Path) -> None:
    home = LogHome.create(tmp_path)
    home.open().close()
    report = verify_store(home.path)
    assert (report.holds, report.records, report.checkpoint) == (True, 0, None)


def test_a_policy_bundle_in_waiting_is_no_fault(tmp_path: Path) -> None:
    home = LogHome.create(tmp_path)
    with closing(home.open()) as writer:
        writer.append(access(bundle=None))
        assert writer.head().size == 1
    assert verify_store(home.path).holds
    assert DIGEST


def test_a_log_whose_write_ahead_log_was_removed_cannot_be_verified_as_it_is(home: LogHome) -> None:
    writer = home.open(recovered=False)
    writer.append(access())
    home.path.with_name("log.db-wal").unlink()
    with pytest.raises(VerificationImpossible) as found:
        verify_store(home.path)
    assert found.value.exit_code == 10
    with pytest.raises(LogUnavailable, match="removed"):
        writer.close()
    home.open(recovered=False).close()
    assert verify_store(home.path).records == RECORDS + 1


@pytest.mark.parametrize("data", [b"", b"x" * 5000])
def test_a_file_that_is_no_database_is_bad_input(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "file").write_bytes(data)
    with pytest.raises(NotAnExport):
        verify_store(tmp_path / "file")
    with pytest.raises(NotAnExport):
        verify_store(tmp_path / "none")
    assert main([str(tmp_path / "file"), "--store"]) == 2


def test_a_damaged_database_is_an_integrity_failure(home: LogHome) -> None:
    data = bytearray(home.path.read_bytes())
    page = 4096
    for number in range(3, len(data) // page - 1):
        data[number * page : number * page + 64] = b"\xff" * 64
    home.path.write_bytes(data)
    assert failure(home).finding == "database.corrupt"


@pytest.mark.parametrize(
    "statements",
    [
        [edited_body(RECORDS - 1)],
        ["UPDATE leaf SET hash = zeroblob(32) WHERE seq = 599"],
        ["UPDATE leaf SET hash = zeroblob(32) WHERE seq = 400"],
        ["UPDATE body SET bytes = x'7b7d' WHERE seq = 500"],
        ["UPDATE body SET bytes = (SELECT bytes FROM body WHERE seq = 400) WHERE seq = 597"],
        ["UPDATE node SET hash = zeroblob(32) WHERE idx = 1"],
        ["UPDATE node SET hash = zeroblob(32) WHERE idx = 0"],
        ["DELETE FROM node WHERE idx = 1"],
        [
            "DELETE FROM leaf WHERE seq = 599",
            "DELETE FROM body WHERE seq = 599",
            "DELETE FROM entry WHERE seq = 599",
        ],
        ["DELETE FROM body WHERE seq = 599"],
        ["UPDATE checkpoint SET note = x'00'"],
        ["UPDATE checkpoint SET size = 5"],
        ["DELETE FROM checkpoint", "INSERT INTO checkpoint VALUES (5, x'00')"],
    ],
)
def test_a_writer_does_not_continue_a_log_whose_end_does_not_hold(
    home: LogHome, statements: list[str]
) -> None:
    tamper(home, *statements)
    with pytest.raises(LogDamaged) as found, closing(SqliteLogStore(home.path)) as store:
        LogWriter(store, home.clock, home.key)
    assert found.value.exit_code == 7


def test_a_writer_does_not_continue_a_log_that_was_written_anew(home: LogHome, tmp_path: Path) -> None:
    """The same key, other records, the old checkpoint: the rewritten tree is not the one that was signed."""
    anew = LogHome(tmp_path / "anew")
    anew.folder.mkdir()
    anew.key_path.touch(mode=0o600)
    anew.key_path.write_bytes(home.key_path.read_bytes())
    from audit.log.database import create_database  # noqa: PLC0415 - only here

    create_database(anew.path, origin=home.origin, vkey=home.key.vkey)
    writer = anew.open()
    writer.append_all([access() for _ in range(RECORDS)])
    writer.close()
    with closing(sqlite3.connect(home.path)) as connection:
        (note,) = connection.execute("SELECT note FROM checkpoint ORDER BY size DESC").fetchone()
    tamper(anew, "DELETE FROM checkpoint")
    tamper(anew, "INSERT INTO checkpoint VALUES (?, ?)", values=(RECORDS, note))
    with closing(SqliteLogStore(anew.path)) as store, pytest.raises(LogDamaged, match="not the one"):
        LogWriter(store, anew.clock, anew.key)
    assert failure(anew).finding == "log.not_signed"
