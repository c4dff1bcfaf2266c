"""A real log and a real witness process: what is cosigned, and what is found when it is away or contradicts."""

import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from audit.log.cosignature import CosignerKey
from audit.log.database import create_database
from audit.log.export import export_log
from audit.log.note import Note, VerifierKey
from audit.log.query import LogQuery
from audit.log.recovery import settle_open_intents
from audit.log.signing_key import LogKey
from audit.log.sqlite_store import SqliteLogStore
from audit.log.writer import LogWriter
from audit.verify import Trust, verify_export, verify_store
from tests.free_port import free_port
from tests.unit.audit_log.parts import BUNDLE, DIGEST, SteppingClock, intent
from tests.unit.witness.logs import ORIGIN, WITNESS
from tests.unit.witness.serving import Served, start
from vault.config import Settings, WitnessAddress
from vault.database import Database
from vault.findings import Findings
from vault.witnesses.submission import Submission
from vault.witnesses.watch import witnesses_of
from web.witness.folder import WitnessFolder


@dataclass
class Home:
    """A log in a folder, as a daemon has it."""

    folder: Path

    asked: list[Submission] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.log_db = self.folder / "log.db"
        if not self.log_db.exists():
            key = LogKey.create(self.folder / "log.key", ORIGIN)
            create_database(self.log_db, origin=ORIGIN, vkey=key.vkey)
        self.open()

    def open(self) -> None:
        key = LogKey.load(self.folder / "log.key")
        self.log = LogWriter(SqliteLogStore(self.log_db), SteppingClock(), key, checkpoint_after_s=0.01)
        self.log.add_bundle(DIGEST, BUNDLE)
        settle_open_intents(
            self.log, lambda _intent: ("ok", {}), principal="system:recovery", resource="site:this"
        )
        self.reader = LogQuery(self.log_db)
        self.database = Database(self.folder / "state.db", create=True)
        self.findings = Findings(self.database)

    def close(self) -> None:
        while self.asked:
            self.asked.pop().close()
        self.database.close()
        self.reader.close()
        self.log.close()

    def grow(self, records: int) -> int:
        for number in range(records):
            self.log.append(intent(number))
        return self.sign()

    def sign(self) -> int:
        self.log.checkpoint()
        return self.log.head().size

    def codes(self) -> set[str]:
        return {finding.code for finding in self.findings.all_open()}


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    (tmp_path / "site").mkdir()
    home = Home(tmp_path / "site")
    yield home
    home.close()


@pytest.fixture
def folder(tmp_path: Path, home: Home) -> WitnessFolder:
    folder = WitnessFolder.create(tmp_path / "witness", WITNESS, "localhost")
    folder.store.trust(VerifierKey.parse(home.reader.vkey))
    return folder


@pytest.fixture
def witness(folder: WitnessFolder) -> Iterator[Served]:
    served = start(folder, "127.0.0.1", free_port())
    yield served
    served.stop()


def address_of(served: Served) -> WitnessAddress:
    return WitnessAddress(served.url, served.key, served.folder.certificate)


def submission(
    home: Home,
    witness: Served | WitnessAddress,
    max_age_s: float = 900.0,
    monotonic_s: Callable[[], float] = time.monotonic,
) -> Submission:
    address = witness if isinstance(witness, WitnessAddress) else address_of(witness)
    home.asked.append(Submission(address, max_age_s, home.log, home.reader, home.findings, monotonic_s))
    return home.asked[-1]


def test_a_growing_log_is_cosigned_and_the_lines_are_kept(home: Home, witness: Served) -> None:
    asked = submission(home, witness)
    for records in (3, 1, 20):
        size = home.grow(records)
        assert asked.attempt()
        note = home.reader.checkpoint_of(size)
        assert note is not None
        witness.key.signed_at(Note.parse(note))
    assert witness.folder.store.logs()[0].size == size
    # A daemon that starts again goes on from what it kept.
    again = submission(home, witness)
    home.grow(5)
    assert again.attempt()
    assert home.codes() == set()


def test_a_cosignature_is_refreshed_at_the_same_size(home: Home, witness: Served) -> None:
    now_s = 0.0
    asked = submission(home, witness, 100.0, lambda: now_s)
    size = home.grow(2)
    assert asked.attempt()
    first = home.reader.cosigned_last(str(witness.key))
    time.sleep(1.1)  # the time in a cosignature has whole seconds
    assert asked.attempt()
    assert home.reader.cosigned_last(str(witness.key)) == first
    now_s = 60.0
    assert asked.attempt()
    second = home.reader.cosigned_last(str(witness.key))
    assert first is not None
    assert second is not None
    assert (second[0], second[1] > first[1]) == (size, True)


def test_a_witness_that_is_away_is_missed_then_stale_and_neither_once_it_is_back(
    home: Home, folder: WitnessFolder
) -> None:
    now_s = 0.0
    port = free_port()
    url = f"https://127.0.0.1:{port}"
    address = WitnessAddress(url, CosignerKey.parse(folder.key.vkey), folder.certificate)
    asked = submission(home, address, 100.0, lambda: now_s)
    home.grow(2)
    assert not asked.attempt()
    assert home.codes() == {"witness.missing"}
    served = start(folder, "127.0.0.1", port)
    assert asked.attempt()
    assert home.codes() == set()
    served.kill()
    home.grow(1)
    assert not asked.attempt()
    assert home.codes() == set()  # not stale yet
    now_s = 101.0
    assert not asked.attempt()
    assert home.codes() == {"witness.stale"}
    served = start(folder, "127.0.0.1", port)
    try:
        assert asked.attempt()
        assert home.codes() == set()
    finally:
        served.stop()


def test_a_log_that_was_put_back_is_found_by_its_witness(home: Home, witness: Served, tmp_path: Path) -> None:
    home.grow(5)
    home.close()
    shutil.copytree(home.folder, tmp_path / "backup")
    home.open()
    home.grow(5)
    assert submission(home, witness).attempt()
    # Put back, and then grown past where the witness is, with other records.
    back = Home(tmp_path / "backup")
    try:
        back.sign()
        assert not submission(back, witness).attempt()
        assert back.codes() == {"witness.refuses"}
        back.grow(30)
        assert not submission(back, witness).attempt()
        assert witness.folder.store.logs()[0].contradictions >= 1
    finally:
        back.close()


def test_an_answer_that_was_lost_is_made_good_by_the_size_that_the_witness_names(
    home: Home, witness: Served
) -> None:
    asked = submission(home, witness)
    home.grow(3)
    assert asked.attempt()
    asked._size = None  # as if nothing of it had been kept
    home.grow(2)
    assert asked.attempt()
    assert home.codes() == set()


def test_a_stranger_in_the_witnesss_place_is_not_believed(
    home: Home, witness: Served, tmp_path: Path
) -> None:
    home.grow(1)
    other = WitnessFolder.create(tmp_path / "other", WITNESS, "localhost")
    expected = replace(address_of(witness), key=CosignerKey.parse(other.key.vkey))
    asked = submission(home, expected)
    assert not asked.attempt()
    foreign_certificate = replace(address_of(witness), ca_file=other.certificate)
    assert not submission(home, foreign_certificate).attempt()
    assert home.codes() == {"witness.missing"}
    assert home.reader.cosigned_last(str(expected.key)) is None


def test_an_export_and_the_store_verify_with_the_quorum_that_the_daemon_kept(
    home: Home, witness: Served, tmp_path: Path
) -> None:
    settings = replace(Settings(), witnesses=(address_of(witness),))
    witnesses = witnesses_of(settings, home.log, home.reader, home.findings)
    witnesses.start()
    try:
        size = witnesses.wait(home.grow(4), 60)
        assert size is not None
    finally:
        witnesses.close()
    home.grow(3)  # what nobody cosigned does not keep the store from verifying
    keys = {"log_vkey": home.reader.vkey, "witness_vkeys": [str(witness.key)], "quorum": 1}
    export_log(home.log_db, tmp_path / "export", size=size)
    exported = verify_export(tmp_path / "export", Trust.parse(keys), fields=False)
    assert "witnesses" in {check.name for check in exported.checks}
    stored = verify_store(home.log_db, Trust.parse(keys), fields=False)
    assert "witnesses" in {check.name for check in stored.checks}


def test_a_finding_about_a_witness_that_is_no_longer_named_is_closed(home: Home) -> None:
    home.findings.open("witness.stale", resource="witness:gone.example", sentence="Stale.")
    witnesses = witnesses_of(Settings(), home.log, home.reader, home.findings)
    assert home.codes() == set()
    assert (witnesses.quorum, witnesses.wait(0, 60)) == (0, None)
