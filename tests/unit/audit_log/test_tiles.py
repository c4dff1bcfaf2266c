"""Tiles hold the whole log byte for byte as C2SP says, and whatever is changed in them is found.

Go's own packages read them in tests/contract/test_c2sp.py.
"""

import shutil
import tarfile
from pathlib import Path

import pytest

from audit.errors import ExportFailed, NotAnExport, TargetExists, VerificationFailed
from audit.log.epochs import Epoch
from audit.log.merkle import leaf_hash, root_of
from audit.log.query import LogQuery
from audit.log.tile_layout import Tiling, entries_path, hashes_path
from audit.log.tiles import export_tiles
from audit.verify import Trust, verify_any, verify_tiles
from tests.unit.audit_log.parts import LogHome, access, ordinary_history, write

RECORDS = 600


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> LogHome:
    made = LogHome.create(tmp_path_factory.mktemp("log"))
    writer = made.open()
    write(writer, ordinary_history(RECORDS))
    writer.checkpoint()
    writer.close()
    return made


@pytest.fixture(scope="module")
def whole(home: LogHome, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("export") / "tiles"
    told: list[tuple[int, int]] = []
    export_tiles(home.path, path, progress=lambda done, of: told.append((done, of)))
    assert told[-1] == (RECORDS, RECORDS)
    return path


@pytest.fixture
def tiles(whole: Path, tmp_path: Path) -> Path:
    shutil.copytree(whole, tmp_path / "tiles")
    return tmp_path / "tiles"


def trust(home: LogHome) -> Trust:
    return Trust.parse({"origin": home.origin, "log_vkey": home.key.vkey})


def refused(path: Path, home: LogHome) -> VerificationFailed:
    with pytest.raises(VerificationFailed) as caught:
        verify_tiles(path, trust(home))
    return caught.value


@pytest.mark.parametrize(
    ("number", "width", "path"),
    [
        (0, 256, "000"),
        (999, 256, "999"),
        (1000, 256, "x001/000"),
        (1234067, 256, "x001/x234/067"),
        (273, 112, "273.p/112"),
    ],
)
def test_a_tile_is_called_as_the_specification_says(number: int, width: int, path: str) -> None:
    assert hashes_path(0, number, width) == f"tile/0/{path}"
    assert entries_path(number, width) == f"tile/entries/{path}"


def test_70000_records_have_the_tiles_that_the_specification_counts() -> None:
    tiling = Tiling()
    leaf = leaf_hash(b"the same")
    paths = [path for path, _ in tiling.extend([leaf] * 70_000)] + [path for path, _ in tiling.rest()]
    assert [path for path in paths if ".p/" in path] == [
        "tile/0/273.p/112",
        "tile/1/001.p/17",
        "tile/2/000.p/1",
    ]
    assert len([path for path in paths if path.startswith("tile/0/")]) == 274
    assert "tile/1/000" in paths


def test_a_full_tile_has_a_partial_one_of_one_hash_above_it() -> None:
    tiling = Tiling()
    leaves = [leaf_hash(b"%d" % number) for number in range(256)]
    found = dict(tiling.extend(leaves)) | dict(tiling.rest())
    assert found == {"tile/0/000": b"".join(leaves), "tile/1/000.p/1": root_of(leaves)}


def test_every_file_is_there_and_every_entry_is_its_record(whole: Path, home: LogHome) -> None:
    files = {path.relative_to(whole).as_posix() for path in whole.rglob("*") if path.is_file()}
    assert files == {
        "checkpoint", "log.vkey", "epochs.jsonl",
        "tile/0/000", "tile/0/001", "tile/0/002.p/88", "tile/1/000.p/2",
        "tile/entries/000", "tile/entries/001", "tile/entries/002.p/88",
    }  # fmt: skip
    bundle = (whole / "tile/entries/001").read_bytes()
    with LogQuery(home.path) as log:
        for record in log.records(256, 512):
            length = int.from_bytes(bundle[:2])
            assert bundle[2 : 2 + length] == record.bytes
            bundle = bundle[2 + length :]
    assert bundle == b""


def test_honest_tiles_hold_as_folder_and_as_tar(whole: Path, home: LogHome, tmp_path: Path) -> None:
    export_tiles(home.path, tmp_path / "tiles.tar", as_tar=True)
    for path in (whole, tmp_path / "tiles.tar"):
        report = verify_any(path, trust(home))
        assert (report.kind, report.records, report.holds) == ("log-tiles", RECORDS, True)
    with tarfile.open(tmp_path / "tiles.tar") as tar:
        assert "tile/1/000.p/2" in tar.getnames()
    assert "SELF-ASSERTED" in verify_tiles(whole).checks[0].detail


def test_tiles_of_others_without_a_key_beside_them_need_the_trusted_one(tiles: Path, home: LogHome) -> None:
    (tiles / "log.vkey").unlink()
    assert verify_tiles(tiles, trust(home)).holds
    with pytest.raises(VerificationFailed):
        verify_tiles(tiles)


@pytest.mark.parametrize(
    "name", ["tile/0/000", "tile/0/002.p/88", "tile/1/000.p/2", "tile/entries/001", "tile/entries/002.p/88"]
)
@pytest.mark.parametrize("how", ["change", "cut", "extend", "remove"])
def test_a_file_changed_cut_extended_or_removed_is_found(
    tiles: Path, home: LogHome, name: str, how: str
) -> None:
    path = tiles / name
    data = bytearray(path.read_bytes())
    if how == "change":
        data[len(data) // 2] ^= 1
    path.unlink()
    if how != "remove":
        path.write_bytes({"change": data, "cut": data[:-1], "extend": data + b"\0"}[how])
    refused(tiles, home)


def test_the_first_bad_record_of_a_changed_bundle_is_named(tiles: Path, home: LogHome) -> None:
    path = tiles / "tile/entries/001"
    records = path.read_bytes()
    with LogQuery(home.path) as log:
        victim = log.by_seq(300).bytes
    path.write_bytes(records.replace(victim, victim.replace(b'"channel":"cli"', b'"channel":"web"')))
    found = refused(tiles, home)
    assert (found.seq, found.finding) == (300, "record.changed")


def test_two_records_exchanged_are_found(tiles: Path, home: LogHome) -> None:
    path = tiles / "tile/entries/000"
    with LogQuery(home.path) as log:
        one, two = (len(log.by_seq(seq).bytes).to_bytes(2) + log.by_seq(seq).bytes for seq in (10, 11))
    path.write_bytes(path.read_bytes().replace(one + two, two + one))
    assert refused(tiles, home).seq == 10


def test_a_checkpoint_of_an_earlier_time_does_not_cover_these_tiles(tiles: Path, home: LogHome) -> None:
    note = (tiles / "checkpoint").read_bytes()
    (tiles / "checkpoint").write_bytes(note.replace(b"\n600\n", b"\n599\n"))
    assert refused(tiles, home).finding == "checkpoint.invalid"


def test_a_folder_without_a_checkpoint_holds_no_tiles(tiles: Path) -> None:
    (tiles / "checkpoint").unlink()
    with pytest.raises(NotAnExport):
        verify_any(tiles)


def test_tiles_are_not_written_over_anything(home: LogHome, tiles: Path) -> None:
    with pytest.raises(TargetExists):
        export_tiles(home.path, tiles)


def test_a_record_too_long_for_a_tile_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    home = LogHome.create(tmp_path / "log")
    writer = home.open()
    writer.append(access(result={"code": "ok", "facts": {"list": ["x" * 1000] * 70}}))
    writer.checkpoint()
    writer.close()
    with pytest.raises(ExportFailed, match="Record 0 is longer"):
        export_tiles(home.path, tmp_path / "tiles")
    assert [path.name for path in tmp_path.iterdir()] == ["log"]


def test_tiles_of_a_log_whose_keys_evolve_hold_and_need_all_the_changes(tmp_path: Path) -> None:
    home = LogHome.create(tmp_path / "log")
    for run in range(3):
        writer = home.open(epochs=True)
        write(writer, ordinary_history(0 if run else 10))
        writer.close()
    path = tmp_path / "tiles"
    export_tiles(home.path, path)
    changes = (path / "epochs.jsonl").read_bytes().splitlines(keepends=True)
    demanding = Trust.parse({"log_vkey": home.key.vkey, "epoch_vkey": str(Epoch.read(changes[0][:-1]).key)})
    report = verify_tiles(path, demanding)
    assert "epochs" in {check.name for check in report.checks}
    for fewer in ([], changes[:1], changes[1:], changes[:2]):
        (path / "epochs.jsonl").write_bytes(b"".join(fewer))
        with pytest.raises(VerificationFailed):
            verify_tiles(path, demanding)
