"""The state database: times, threads, and storage that fails."""

import logging
import sqlite3
import stat
import threading
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from sqlmodel import col, select

from vault.database import Database, UtcDateTime
from vault.errors import HostFailure
from vault.model import Account, Finding


def finding(code: str, created_at: datetime) -> Finding:
    return Finding(
        code=code, severity="low", resource="site:site", sentence="s", remedy="r", created_at=created_at
    )


def test_times_come_back_aware_and_sort_as_instants_whatever_zone_they_were_given_in(tmp_path: Path) -> None:
    database = Database(tmp_path / "state.db", create=True)
    east, west = timezone(timedelta(hours=14)), timezone(timedelta(hours=-11))
    instants = {
        "third": datetime(2026, 1, 1, 12, 0, 0, 1, tzinfo=UTC),
        "first": datetime(2026, 1, 1, 13, 0, tzinfo=east),
        "second": datetime(2026, 1, 1, 1, 0, tzinfo=west),
        "fourth": datetime(2026, 1, 1, 12, 0, 1, tzinfo=UTC),
    }
    with database.session() as session:
        session.add_all([finding(code, instant) for code, instant in instants.items()])
    with database.session() as session:
        rows = list(session.exec(select(Finding).order_by(col(Finding.created_at))))
    assert [row.code for row in rows] == ["first", "second", "third", "fourth"]
    assert all(row.created_at == instants[row.code] for row in rows)
    assert all(row.created_at.utcoffset() == timedelta(0) for row in rows)
    database.close()


def test_a_time_without_a_zone_is_refused_and_not_guessed_at(tmp_path: Path) -> None:
    database = Database(tmp_path / "state.db", create=True)
    with pytest.raises(HostFailure), database.session() as session:
        session.add(finding("naive", datetime(2026, 1, 1)))  # noqa: DTZ001 - that is the mistake
    with database.session() as session:
        assert session.exec(select(Finding)).all() == []
    database.close()


def test_no_time_stays_no_time() -> None:
    column = UtcDateTime()
    assert column.process_bind_param(None, None) is None  # type: ignore[arg-type] # the dialect is not asked
    assert column.process_result_value(None, None) is None  # type: ignore[arg-type] # as above


def test_many_threads_use_one_database_at_once(tmp_path: Path) -> None:
    database = Database(tmp_path / "state.db", create=True)
    together = threading.Barrier(30)
    failed: list[BaseException] = []

    def work(number: int) -> None:
        try:
            with database.session() as session:
                session.add(finding(str(number), datetime.now(UTC)))
                session.flush()
            with database.session() as session:
                session.exec(select(Finding)).all()
                together.wait(20)  # more connections at once than the pool keeps
        except Exception as error:  # noqa: BLE001 - the edge of a thread
            failed.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    with database.session() as session:
        assert len(session.exec(select(Finding)).all()) == 30
    database.close()


def test_what_a_failing_block_did_is_rolled_back(tmp_path: Path) -> None:
    database = Database(tmp_path / "state.db", create=True)

    def work() -> None:
        with database.session() as session:
            session.add(finding("lost", datetime.now(UTC)))
            session.flush()
            raise RuntimeError("a defect")

    with pytest.raises(RuntimeError):
        work()
    with database.session() as session:
        assert session.exec(select(Finding)).all() == []
    database.close()


def test_an_error_of_the_storage_never_tells_the_values(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    database = Database(tmp_path / "state.db", create=True)
    one = finding("a", datetime.now(UTC))
    with database.session() as session:
        session.add(one)
    again = finding("$argon2id$secret-hash", datetime.now(UTC))
    again.id = one.id
    with pytest.raises(HostFailure) as caught, database.session() as session:
        session.add(again)
    with caplog.at_level(logging.ERROR):
        logging.getLogger("test").error("It failed.", exc_info=caught.value)
    assert "UNIQUE constraint failed" in caplog.text
    assert "secret-hash" not in caplog.text
    database.close()


def test_columns_read_by_id_have_the_types_of_their_model(tmp_path: Path) -> None:
    database = Database(tmp_path / "state.db", create=True)
    with database.session() as session:
        session.add(Account(id="a", name="olga", roles=["operator"], password_hash="x", active=False))
        session.add(finding("times", datetime(2026, 1, 1, tzinfo=UTC)))
    with database.session() as session:
        found = session.exec(select(Finding)).one()
    assert database.columns_by_id(Account.roles, Account.active)("a") == (["operator"], False)
    assert database.columns_by_id(Finding.created_at)(found.id) == (datetime(2026, 1, 1, tzinfo=UTC),)
    assert database.columns_by_id(Account.roles)("another") is None
    database.close()


def test_columns_of_a_storage_that_fails_are_a_failure_of_the_host(tmp_path: Path) -> None:
    database = Database(tmp_path / "state.db", create=True)
    read = database.columns_by_id(Account.roles)
    with closing(sqlite3.connect(tmp_path / "state.db")) as other:
        other.execute("DROP TABLE account")
    with pytest.raises(HostFailure):
        read("a")
    database.close()


def test_the_file_is_for_root_alone_and_every_commit_is_forced_to_disk(tmp_path: Path) -> None:
    database = Database(tmp_path / "state.db", create=True)
    assert stat.S_IMODE((tmp_path / "state.db").stat().st_mode) == 0o600
    with database.session() as session:
        connection = session.connection().exec_driver_sql
        assert connection("PRAGMA journal_mode").scalar_one() == "wal"
        assert connection("PRAGMA synchronous").scalar_one() == 2
        assert connection("PRAGMA foreign_keys").scalar_one() == 1
        assert connection("PRAGMA secure_delete").scalar_one() == 1
    database.close()


def test_a_missing_an_emptied_a_foreign_and_a_newer_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with pytest.raises(HostFailure, match="missing"):
        Database(path)
    path.touch()
    with pytest.raises(HostFailure, match="empty"):
        Database(path)
    path.write_bytes(b"this is no database" * 100)
    with pytest.raises(HostFailure, match="cannot be read"):
        Database(path)
    path.unlink()
    Database(path, create=True).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(HostFailure, match="version 99"):
        Database(path)


def test_a_whole_database_is_opened_again(tmp_path: Path) -> None:
    database = Database(tmp_path / "odd ?name#%41.db", create=True)
    with database.session() as session:
        session.add(finding("kept", datetime.now(UTC)))
    database.close()
    again = Database(tmp_path / "odd ?name#%41.db")
    with again.session() as session:
        assert [row.code for row in session.exec(select(Finding))] == ["kept"]
    again.close()
