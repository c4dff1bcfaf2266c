"""The journal of safe actions against kills, full disks, and the real log's rules."""

import resource
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from audit.errors import LogUnavailable
from audit.log.database import create_database
from audit.log.query import LogQuery
from audit.log.record import Draft, Kind
from audit.log.signing_key import LogKey
from audit.log.sqlite_store import SqliteLogStore
from audit.log.writer import LogWriter
from policies.vocabulary import EntityRef, EntityType
from vault.clock import HostClock
from vault.journal import SafeJournal

ORIGIN = "strongroom.example/journal"
WHO = EntityRef(EntityType.ACCOUNT, "5f0c")
STORE = EntityRef(EntityType.KEY_STORE, "keystore")


@pytest.fixture
def journal(tmp_path: Path) -> SafeJournal:
    return SafeJournal(tmp_path / "journal")


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[LogWriter]:
    key = LogKey.create(tmp_path / "log.key", ORIGIN)
    create_database(tmp_path / "log.db", origin=ORIGIN, vkey=key.vkey)
    opened = LogWriter(SqliteLogStore(tmp_path / "log.db"), HostClock(), key)
    yield opened
    opened.close()


def write_act(journal: SafeJournal, code: str | None = "ok") -> str:
    entry = journal.begin("keystore.seal", WHO, STORE, ("base.unseal-by-custodians",))
    if code is not None:
        journal.end(entry, code)
    return entry


def codes(drafts: list[Draft]) -> list[object]:
    return [draft.result["code"] for draft in drafts if draft.result is not None]


def test_the_real_log_takes_what_was_journalled(
    tmp_path: Path, journal: SafeJournal, writer: LogWriter
) -> None:
    entry = write_act(journal)
    write_act(journal, "key.unavailable")
    assert journal.drain(writer.append) == 2
    reader = LogQuery(tmp_path / "log.db")
    first, second = reader.by_seq(0), reader.by_seq(1)
    reader.close()
    assert first.kind == second.kind == Kind.RECOVERY
    assert (first.principal, first.action, first.resource) == (
        "account:5f0c",
        "keystore.seal",
        "keystore:keystore",
    )
    assert first.result is not None
    facts = first.result["facts"]
    assert isinstance(facts, dict)
    assert facts["journal_entry"] == entry
    assert facts["journalled_policies"] == ["base.unseal-by-custodians"]
    assert second.result is not None
    assert second.result["code"] == "key.unavailable"
    assert not journal.waiting


def test_an_act_whose_daemon_was_killed_in_it_has_an_unknown_end(tmp_path: Path) -> None:
    write_act(SafeJournal(tmp_path / "journal"), None)
    drafts: list[Draft] = []
    assert SafeJournal(tmp_path / "journal").drain(drafts.append) == 1
    assert codes(drafts) == ["recovery.unknown"]


@pytest.mark.parametrize("kept_bytes", [1, 20, 60])
def test_a_line_cut_short_loses_neither_those_before_nor_those_after(tmp_path: Path, kept_bytes: int) -> None:
    path = tmp_path / "journal"
    journal = SafeJournal(path)
    write_act(journal)
    whole = path.read_bytes()
    write_act(journal)
    path.write_bytes(path.read_bytes()[: len(whole) + kept_bytes])
    write_act(SafeJournal(path), "conflict")
    drafts: list[Draft] = []
    assert SafeJournal(path).drain(drafts.append) == 2
    assert codes(drafts) == ["ok", "conflict"]


def test_bytes_that_are_no_text_are_skipped(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    write_act(SafeJournal(path))
    with path.open("ab") as file:
        file.write(b"\xff\xfe\x00\x00")
    assert SafeJournal(path).drain(lambda _draft: None) == 1


def test_a_log_that_fails_in_the_middle_loses_no_entry(journal: SafeJournal) -> None:
    write_act(journal)
    write_act(journal)
    taken: list[Draft] = []

    def append(draft: Draft) -> None:
        if taken:
            raise LogUnavailable("The log cannot be written.")
        taken.append(draft)

    with pytest.raises(LogUnavailable):
        journal.drain(append)
    drafts: list[Draft] = []
    assert journal.drain(drafts.append) == 2


def test_an_empty_journal_records_nothing(journal: SafeJournal) -> None:
    assert not journal.waiting
    assert journal.drain(lambda _draft: None) == 0


def test_nothing_is_drained_while_a_safe_action_is_under_way(journal: SafeJournal) -> None:
    entry = write_act(journal, None)
    drafts: list[Draft] = []
    assert journal.drain(drafts.append) == 0
    journal.end(entry, "ok")
    assert journal.drain(drafts.append) == 1
    assert codes(drafts) == ["ok"]


def test_only_root_reads_the_journal(tmp_path: Path, journal: SafeJournal) -> None:
    write_act(journal)
    assert stat.S_IMODE((tmp_path / "journal").stat().st_mode) == 0o600


def test_a_journal_without_its_folder_is_no_journal(tmp_path: Path) -> None:
    with pytest.raises(LogUnavailable, match="Neither"):
        SafeJournal(tmp_path / "gone" / "journal").begin("keystore.seal", WHO, STORE, ())


def test_a_line_that_the_disk_took_in_part_counts_as_not_written_and_spoils_no_other(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    journal = SafeJournal(path)
    write_act(journal)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(
        resource.RLIMIT_FSIZE, (path.stat().st_size + 40, hard)
    )  # as a disk that is nearly full
    try:
        with pytest.raises(LogUnavailable):
            journal.begin("keystore.seal", WHO, STORE, ())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    write_act(journal, "conflict")
    drafts: list[Draft] = []
    assert journal.drain(drafts.append) == 2
    assert codes(drafts) == ["ok", "conflict"]
