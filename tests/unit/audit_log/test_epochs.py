"""Key epochs: the second signature that evolves, and what a thief of today's keys cannot do with them."""

import json
import time
from contextlib import closing
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from audit.errors import EpochInvalid, LogKeyRefused, LogUnavailable, VerificationFailed
from audit.log import canonical
from audit.log.checkpoint import Checkpoint
from audit.log.database import create_database
from audit.log.epoch_key import EpochKeys
from audit.log.epochs import Epoch, EpochChain, key_name
from audit.log.export import export_log
from audit.log.merkle import TreeHead, leaf_hash, root_of
from audit.log.note import Note, VerifierKey
from audit.log.record import Draft
from audit.log.signing_key import LogKey
from audit.log.sqlite_store import SqliteLogStore
from audit.log.store import Batch
from audit.log.writer import LogWriter
from audit.verify import Trust, verify_export, verify_store
from tests.unit.audit_log.exported import Export
from tests.unit.audit_log.parts import ORIGIN, LogHome, access, write

BOTH = pytest.mark.parametrize("fields", [True, False], ids=["fields", "quick"])
HEADS = [TreeHead(size, bytes([size]) * 32) for size in (3, 8, 21)]


# -- the rules ------------------------------------------------------------------------------------------------------


@pytest.fixture
def keys(tmp_path: Path) -> list[LogKey]:
    """The log's key and those of its first three epochs."""
    names = [ORIGIN, *(key_name(ORIGIN, number) for number in range(3))]
    return [LogKey.create(tmp_path / f"{number}.key", name) for number, name in enumerate(names)]


def vkey(key: LogKey) -> VerifierKey:
    return VerifierKey.parse(key.vkey)


def epochs_of(keys: list[LogKey]) -> list[Epoch]:
    return [
        Epoch.begin(ORIGIN, number, HEADS[number], vkey(keys[number + 1]), keys[number])
        for number in range(len(keys) - 1)
    ]


def followed(keys: list[LogKey], count: int = 3) -> EpochChain:
    chain = EpochChain(ORIGIN, vkey(keys[0]))
    for epoch in epochs_of(keys)[:count]:
        chain.follow(epoch)
    return chain


def test_each_size_is_signed_by_the_last_epoch_that_began_before_it(keys: list[LogKey]) -> None:
    chain = followed(keys)
    signers = {size: chain.signer_of(size) for size in (4, 8, 9, 21, 22, 1000)}
    assert [signers[size] for size in (4, 8)] == [vkey(keys[1])] * 2
    assert [signers[size] for size in (9, 21)] == [vkey(keys[2])] * 2
    assert [signers[size] for size in (22, 1000)] == [vkey(keys[3])] * 2
    for size in (0, 3):
        with pytest.raises(EpochInvalid, match="No key epoch had begun"):
            chain.signer_of(size)


def test_an_epoch_that_the_key_before_did_not_sign_is_refused(keys: list[LogKey]) -> None:
    chain = followed(keys, 2)
    for wrong in (keys[0], keys[1], keys[3]):
        with pytest.raises(EpochInvalid, match="was not signed by"):
            chain.follow(Epoch.begin(ORIGIN, 2, HEADS[2], vkey(keys[3]), wrong))
    assert len(chain) == 2


def test_an_epoch_signed_for_another_tree_log_number_or_key_is_refused(keys: list[LogKey]) -> None:
    honest = epochs_of(keys)[2]
    other_head = TreeHead(21, bytes(32))
    forged = [
        Epoch(2, other_head, honest.key, honest.signature),
        Epoch(2, TreeHead(22, honest.start.root), honest.key, honest.signature),
        Epoch(2, honest.start, VerifierKey(honest.key.name, bytes(32)), honest.signature),
        Epoch.begin("strongroom.example/other", 2, honest.start, honest.key, keys[2]),
    ]
    for epoch in forged:
        with pytest.raises(EpochInvalid):
            followed(keys, 2).follow(epoch)


def test_an_epoch_out_of_order_or_with_a_key_that_served_before_is_refused(keys: list[LogKey]) -> None:
    chain = followed(keys, 2)
    again = VerifierKey(key_name(ORIGIN, 2), vkey(keys[1]).public)
    misnamed = VerifierKey(key_name(ORIGIN, 7), vkey(keys[3]).public)
    for epoch in (
        Epoch.begin(ORIGIN, 3, HEADS[2], vkey(keys[3]), keys[2]),
        Epoch.begin(ORIGIN, 2, HEADS[1], vkey(keys[3]), keys[2]),
        Epoch.begin(ORIGIN, 2, HEADS[2], again, keys[2]),
        Epoch.begin(ORIGIN, 2, HEADS[2], misnamed, keys[2]),
    ):
        with pytest.raises(EpochInvalid):
            chain.follow(epoch)
    chain.follow(epochs_of(keys)[2])


@pytest.mark.parametrize(
    "change",
    [
        {"epoch": "1"},
        {"epoch": -1},
        {"size": 4},
        {"root": "00"},
        {"signature": "no base64"},
        {"vkey": "nobody"},
        {"more": 1},
    ],
)
def test_a_record_that_only_looks_like_the_beginning_of_an_epoch_is_none(change: dict[str, object]) -> None:
    line = next(line for line in honest().records if b'"action":"log.epoch"' in line)
    document = json.loads(line)
    Epoch.read(line)
    document["result"]["facts"] |= change
    with pytest.raises(EpochInvalid):
        Epoch.read(canonical.encode(document))


def reads(count: int) -> list[tuple[Draft]]:
    """A history that leaves nothing open."""
    return [(access(),) for _ in range(count)]


# -- the writer -----------------------------------------------------------------------------------------------------


def test_every_start_begins_an_epoch_and_the_key_before_is_nowhere_any_more(tmp_path: Path) -> None:
    home = LogHome.create(tmp_path / "log")
    seeds: list[bytes] = []
    for number in range(3):
        with closing(home.open(epochs=True)) as writer:
            write(writer, reads(5))
            assert writer.epoch is not None
            assert writer.epoch.number == number
            note = Note.parse(writer.checkpoint())
            assert [each.name for each in note.signatures] == [ORIGIN, key_name(ORIGIN, number)]
            seeds.append((home.folder / "epoch.key").read_bytes().rsplit(b"+", 1)[1].strip())
    assert not (home.folder / "epoch.next.key").exists()
    kept = b"".join(path.read_bytes() for path in home.folder.iterdir())
    assert [seed in kept for seed in seeds] == [False, False, True]
    assert verify_store(home.path, first_key_trusted(home)).holds


def test_an_epoch_ends_by_itself_when_its_time_is_over(tmp_path: Path) -> None:
    home = LogHome.create(tmp_path / "log")
    store = SqliteLogStore(home.path)
    keys = EpochKeys(home.folder)
    with closing(
        LogWriter(store, home.clock, home.key, keys, epoch_after_s=0.02, checkpoint_after_s=0.01)
    ) as writer:
        deadline = time.monotonic() + 30
        while (writer.epoch is None or writer.epoch.number < 3) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert writer.epoch is not None
        assert writer.epoch.number >= 3
    assert verify_store(home.path, first_key_trusted(home)).holds


def test_a_log_with_epochs_is_not_opened_without_their_key_or_with_an_older_one(tmp_path: Path) -> None:
    home = LogHome.create(tmp_path / "log")
    home.open(epochs=True).close()
    old = (home.folder / "epoch.key").read_bytes()
    home.open(epochs=True).close()
    with pytest.raises(LogKeyRefused, match="no epoch key was given"):
        home.open()
    (home.folder / "epoch.key").write_bytes(old)
    with pytest.raises(LogKeyRefused, match="not the one that the log names"):
        home.open(epochs=True)
    (home.folder / "epoch.key").unlink()
    with pytest.raises(LogKeyRefused):
        home.open(epochs=True)


class KilledKeys(EpochKeys):
    """Keys whose daemon is killed in the midst of a change."""

    def __init__(self, folder: Path, at: str) -> None:
        super().__init__(folder)
        self._at = at
        self._folder = folder

    def prepare(self, origin: str, number: int) -> LogKey:
        if self._at == "half of the next key is written":
            (self._folder / "epoch.next.key").touch(0o600)
            (self._folder / "epoch.next.key").write_text("PRIVATE+KEY+")
            raise KeyboardInterrupt
        key = super().prepare(origin, number)
        if self._at == "the next key is durable":
            raise KeyboardInterrupt
        return key

    def promote(self) -> None:
        if self._at == "the change is recorded":
            raise KeyboardInterrupt
        if self._at == "the old key is overwritten":
            (self._folder / "epoch.key").write_bytes(bytes(100))
            raise KeyboardInterrupt
        if self._at == "the old key is gone":
            (self._folder / "epoch.key").unlink(missing_ok=True)
            raise KeyboardInterrupt
        super().promote()


@pytest.mark.parametrize("first", [True, False], ids=["first epoch", "later epoch"])
@pytest.mark.parametrize(
    "at",
    [
        "half of the next key is written",
        "the next key is durable",
        "the change is recorded",
        "the old key is overwritten",
        "the old key is gone",
    ],
)
def test_a_daemon_killed_in_a_change_of_keys_when(tmp_path: Path, at: str, *, first: bool) -> None:
    home = LogHome.create(tmp_path / "log")
    if not first:
        home.open(epochs=True).close()
    with pytest.raises(KeyboardInterrupt):
        LogWriter(SqliteLogStore(home.path), home.clock, home.key, KilledKeys(home.folder, at))
    with closing(home.open(epochs=True)) as writer:
        write(writer, reads(5))
    assert not (home.folder / "epoch.next.key").exists()
    report = verify_store(home.path, first_key_trusted(home))
    assert report.checkpoint is not None
    recorded = at.startswith(("the change", "the old"))
    epochs = next(check.detail for check in report.checks if check.name == "epochs")
    assert epochs.startswith(str((0 if first else 1) + recorded + 1))


class LosingStore(SqliteLogStore):
    """A store whose commit fails once, after the batch was stored or before."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.fails: list[str] = []

    def commit(self, batch: Batch) -> None:
        fails = self.fails.pop() if self.fails else None
        if fails == "not stored":
            raise LogUnavailable("The disk went.")
        super().commit(batch)
        if fails == "stored":
            raise LogUnavailable("The disk went.")


@pytest.mark.parametrize("fails", ["not stored", "stored"])
def test_a_change_of_keys_whose_commit_failed_is_finished_or_undone_and_the_log_goes_on(
    tmp_path: Path, fails: str
) -> None:
    home = LogHome.create(tmp_path / "log")
    store = LosingStore(home.path)
    writer = LogWriter(store, home.clock, home.key, EpochKeys(home.folder), epoch_after_s=0.2)
    with closing(writer):
        store.fails.append(fails)
        deadline = time.monotonic() + 30
        while store.fails and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not store.fails, "the change was tried"
        writer.append(access(bundle=None, decision=None, policies=()))
        writer.checkpoint()
    assert verify_store(home.path, first_key_trusted(home)).holds


# -- attacks on exports ---------------------------------------------------------------------------------------------


@cache
def _honest() -> tuple[tuple[tuple[str, bytes], ...], str, tuple[tuple[str, bytes], ...]]:
    """Files of an export with three epochs, its first epoch's key, and the key files as a thief finds them now."""
    with TemporaryDirectory() as folder:
        home = LogHome.create(Path(folder) / "log")
        first = ""
        for _ in range(3):
            with closing(home.open(epochs=True)) as writer:
                write(writer, reads(6))
                assert writer.epoch is not None
                first = first or str(writer.epoch.key)
        export_log(home.path, Path(folder) / "export")
        files = tuple(
            (path.relative_to(Path(folder) / "export").as_posix(), path.read_bytes())
            for path in sorted((Path(folder) / "export").rglob("*"))
            if path.is_file()
        )
        stolen = tuple((name, (home.folder / name).read_bytes()) for name in ("log.key", "epoch.key"))
        return files, first, stolen


def honest() -> Export:
    files, first, _ = _honest()
    log_key = dict(files)["log.vkey"].decode().strip()
    return Export(dict(files), Trust.parse({"log_vkey": log_key, "epoch_vkey": first}))


def stolen_keys(folder: Path) -> tuple[LogKey, LogKey]:
    """The log's key and the present epoch's, as somebody has them who takes the machine over now."""
    for name, data in _honest()[2]:
        (folder / name).touch(0o600)
        (folder / name).write_bytes(data)
    return LogKey.load(folder / "log.key"), LogKey.load(folder / "epoch.key")


def first_key_trusted(home: LogHome) -> Trust:
    record = next(line for line in _bodies(home) if b'"action":"log.epoch"' in line)
    return Trust.parse({"log_vkey": home.key.vkey, "epoch_vkey": str(Epoch.read(record).key)})


def _bodies(home: LogHome) -> list[bytes]:
    with closing(SqliteLogStore(home.path)) as store:
        return store.bodies(0, store.size())


def rewritten(seq: int) -> Export:
    """A history with one record changed and all links mended; epochs.jsonl follows, since it repeats records."""
    export = honest()
    lines = export.records
    lines[seq] = canonical.encode({**json.loads(lines[seq]), "principal": "account:somebody-else"})
    export.records = lines
    return export.mend_links(seq + 1)


def repeat_epochs(export: Export) -> Export:
    epochs = [line for line in export.records if line.startswith(b'{"action":"log.epoch"')]
    export.files["epochs.jsonl"] = b"".join(line + b"\n" for line in epochs)
    return export.mend_manifest()


def signed(export: Export, *keys: LogKey) -> Export:
    head = TreeHead(len(export.records), root_of([leaf_hash(line) for line in export.records]))
    export.files["checkpoint"] = Checkpoint(ORIGIN, head).sign(keys)
    return export


@BOTH
def test_the_honest_export_with_epochs_holds(*, fields: bool) -> None:
    report = honest().verify(fields=fields)
    detail = next(check.detail for check in report.checks if check.name == "epochs")
    assert detail.startswith("3 key epochs follow from each other, from the trusted key")


@BOTH
@pytest.mark.parametrize("seq", [2, 9])
def test_a_thief_of_todays_keys_cannot_rewrite_what_an_earlier_epoch_ended(
    tmp_path: Path, seq: int, *, fields: bool
) -> None:
    forged = signed(repeat_epochs(rewritten(seq)), *stolen_keys(tmp_path))
    failure = forged.mend_manifest().failure(fields=fields)
    assert failure.finding == "epoch.tree_changed"
    first, last = (0, 6) if seq == 2 else (7, 13)
    assert f"A record from {first} to {last} is not" in failure.message


@BOTH
def test_a_thief_who_begins_the_epochs_anew_with_keys_of_their_own_is_found(
    tmp_path: Path, *, fields: bool
) -> None:
    log_key, _ = stolen_keys(tmp_path)
    home = LogHome(tmp_path)
    (tmp_path / "epoch.key").unlink()
    create_database(home.path, origin=ORIGIN, vkey=log_key.vkey)
    with closing(home.open(epochs=True)) as writer:
        write(writer, reads(20))
    export_log(home.path, tmp_path / "export")
    trust = honest().trust
    with pytest.raises(VerificationFailed) as failure:
        verify_export(tmp_path / "export", trust, fields=fields)
    assert failure.value.finding == "epoch.invalid"
    assert "trusted key" in failure.value.message


@BOTH
def test_a_thief_who_takes_the_epochs_out_altogether_is_found(tmp_path: Path, *, fields: bool) -> None:
    export = honest()
    export.records = [line for line in export.records if not line.startswith(b'{"action":"log.epoch"')]
    forged = signed(repeat_epochs(export.mend_links()), stolen_keys(tmp_path)[0])
    assert forged.mend_manifest().failure(fields=fields).finding == "epoch.missing"


@BOTH
def test_a_checkpoint_without_the_epochs_signature_is_refused(tmp_path: Path, *, fields: bool) -> None:
    forged = signed(honest(), stolen_keys(tmp_path)[0]).mend_manifest()
    failure = forged.failure(fields=fields)
    assert failure.finding == "checkpoint.invalid"
    assert "/epoch/2 is missing" in failure.message


@BOTH
def test_a_later_epochs_key_may_not_sign_a_size_before_its_start(tmp_path: Path, *, fields: bool) -> None:
    export = honest()
    export.records = export.records[:10]
    forged = signed(repeat_epochs(export), *stolen_keys(tmp_path)).mend_manifest()
    failure = forged.failure(fields=fields)
    assert failure.finding == "checkpoint.invalid"
    assert "/epoch/1 is missing" in failure.message


@BOTH
@pytest.mark.parametrize("left_out", [0, 1, 2])
def test_an_epoch_that_is_not_listed_is_found(left_out: int, *, fields: bool) -> None:
    export = honest()
    lines = export.files["epochs.jsonl"].splitlines(keepends=True)
    del lines[left_out]
    export.files["epochs.jsonl"] = b"".join(lines)
    export.mend_manifest().failure(fields=fields)


@BOTH
def test_an_epoch_listed_otherwise_than_the_records_have_it_is_found(*, fields: bool) -> None:
    export = honest()
    first, *rest = export.files["epochs.jsonl"].splitlines()
    document = json.loads(first)
    document["boot"] = "another"
    export.files["epochs.jsonl"] = b"".join(line + b"\n" for line in (canonical.encode(document), *rest))
    assert export.mend_manifest().failure(fields=fields).finding == "epoch.invalid"


def test_epochs_from_a_later_trusted_key_on_hold_too() -> None:
    export = honest()
    second = Epoch.read(export.files["epochs.jsonl"].splitlines()[1]).key
    export.trust = Trust.parse({"epoch_vkey": str(second)})
    assert export.verify().holds


def test_without_a_trusted_epoch_key_the_report_says_that_the_epochs_are_self_asserted() -> None:
    details = {check.name: check.detail for check in honest().verify(trusted=False).checks}
    assert "SELF-ASSERTED" in details["epochs"]
