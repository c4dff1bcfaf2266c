import hashlib
import json
import os
import sqlite3
import subprocess
import tarfile
from contextlib import closing
from pathlib import Path

import pytest

from audit.errors import ExportFailed, LogDamaged, TargetExists
from audit.log import canonical
from audit.log.export import export_log
from audit.log.record import Record
from audit.verify import verify_export
from tests.unit.audit_log.parts import BUNDLE, DIGEST, LogHome, access, ordinary_history, write

FILES = {
    *("records.jsonl", "inputs.jsonl", "checkpoint", "epochs.jsonl", "log.vkey", "manifest.json"),
    *(f"policies/{DIGEST}/{name}" for name in BUNDLE),
}


@pytest.fixture
def home(tmp_path: Path) -> LogHome:
    home = LogHome.create(tmp_path / "log")
    writer = home.open()
    write(writer, ordinary_history(30))
    writer.close()
    return home


def names_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_an_export_has_the_files_that_programs_outside_rely_on(home: LogHome, tmp_path: Path) -> None:
    summary = export_log(home.path, tmp_path / "export")
    assert names_in(tmp_path / "export") == FILES
    assert (summary.path, summary.origin, summary.head.size) == (tmp_path / "export", home.origin, 30)
    assert summary.size_bytes == sum((tmp_path / "export" / name).stat().st_size for name in FILES)
    lines = (tmp_path / "export" / "records.jsonl").read_bytes().split(b"\n")
    assert lines.pop() == b""
    assert [Record.parse(line).seq for line in lines] == list(range(30))
    assert (tmp_path / "export" / "log.vkey").read_text() == home.key.vkey + "\n"
    assert (tmp_path / "export" / "epochs.jsonl").read_bytes() == b""


def test_the_manifest_lists_each_files_digest(home: LogHome, tmp_path: Path) -> None:
    export_log(home.path, tmp_path / "export")
    manifest = json.loads((tmp_path / "export" / "manifest.json").read_bytes())
    assert manifest["v"] == 1
    assert manifest["files"] == {
        name: hashlib.sha256((tmp_path / "export" / name).read_bytes()).hexdigest()
        for name in FILES - {"manifest.json"}
    }


def test_the_bundles_digest_can_be_recomputed_with_ordinary_tools(home: LogHome, tmp_path: Path) -> None:
    export_log(home.path, tmp_path / "export")
    command = f"cd '{tmp_path}/export/policies/{DIGEST}' && LC_ALL=C sha256sum * | sha256sum"
    printed = subprocess.run(["sh", "-c", command], check=True, capture_output=True, text=True).stdout
    assert printed.split() == [DIGEST, "-"]


def test_a_tar_holds_the_same_files_and_no_owner_or_time(home: LogHome, tmp_path: Path) -> None:
    export_log(home.path, tmp_path / "folder")
    export_log(home.path, tmp_path / "export.tar", as_tar=True)
    with tarfile.open(tmp_path / "export.tar") as tar:
        members = tar.getmembers()
        assert {member.name for member in members} == FILES
        assert all((member.uid, member.mtime, member.uname) == (0, 0, "") for member in members)
        for member in members:
            file = tar.extractfile(member)
            assert file is not None
            assert file.read() == (tmp_path / "folder" / member.name).read_bytes()
    export_log(home.path, tmp_path / "again.tar", as_tar=True)
    assert (tmp_path / "again.tar").read_bytes() == (tmp_path / "export.tar").read_bytes()


def test_an_export_ends_where_its_checkpoint_says_while_the_log_goes_on(
    home: LogHome, tmp_path: Path
) -> None:
    with closing(home.open(checkpoint_after_s=60)) as writer:
        writer.append(access())
        writer.checkpoint()
        writer.append_all([access() for _ in range(5)])
        progress: list[tuple[int, int]] = []
        summary = export_log(
            home.path, tmp_path / "export", progress=lambda done, of: progress.append((done, of))
        )
    assert summary.head.size == 31
    assert progress[-1] == (31, 31)
    assert verify_export(tmp_path / "export").records == 31


def test_more_records_than_one_block_are_exported(tmp_path: Path) -> None:
    home = LogHome.create(tmp_path / "log")
    with closing(home.open()) as writer:
        writer.append_all([access() for _ in range(2500)])
    progress: list[int] = []
    export_log(home.path, tmp_path / "export", progress=lambda done, _: progress.append(done))
    assert progress == [1000, 2000, 2500]
    assert verify_export(tmp_path / "export").records == 2500


def test_an_empty_log_is_exported_once_it_is_signed(tmp_path: Path) -> None:
    home = LogHome.create(tmp_path / "log")
    with closing(home.open()) as writer:
        with pytest.raises(ExportFailed, match="no signed checkpoint"):
            export_log(home.path, tmp_path / "export")
        writer.checkpoint()
    export_log(home.path, tmp_path / "export")
    assert verify_export(tmp_path / "export").records == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["export", "log"]


@pytest.mark.parametrize("as_tar", [False, True])
@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_nothing_is_overwritten(home: LogHome, tmp_path: Path, kind: str, *, as_tar: bool) -> None:
    target = tmp_path / "export"
    if kind == "file":
        target.write_text("mine")
    elif kind == "folder":
        target.mkdir()
    else:
        target.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(TargetExists) as failure:
        export_log(home.path, target, as_tar=as_tar)
    assert failure.value.exit_code == 5
    assert sorted(path.name for path in tmp_path.iterdir()) == ["export", "log"]


@pytest.mark.parametrize("as_tar", [False, True])
def test_something_that_appears_meanwhile_is_not_overwritten(
    home: LogHome, tmp_path: Path, *, as_tar: bool
) -> None:
    target = tmp_path / "export"

    def appear(_done: int, _of: int) -> None:
        target.mkdir()
        (target / "mine").touch()

    with pytest.raises(TargetExists):
        export_log(home.path, target, as_tar=as_tar, progress=appear)
    assert names_in(target) == {"mine"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["export", "log"]


def test_an_export_that_fails_half_way_leaves_nothing_behind(home: LogHome, tmp_path: Path) -> None:
    def fail(_done: int, _of: int) -> None:
        raise OSError(28, os.strerror(28))

    with pytest.raises(ExportFailed, match="No space left") as failure:
        export_log(home.path, tmp_path / "export", progress=fail)
    assert failure.value.exit_code == 10
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log"]


def test_an_export_into_a_missing_directory_is_an_error(home: LogHome, tmp_path: Path) -> None:
    with pytest.raises(ExportFailed):
        export_log(home.path, tmp_path / "none" / "export")


def test_an_export_is_readable_by_its_owner_alone(home: LogHome, tmp_path: Path) -> None:
    export_log(home.path, tmp_path / "export")
    export_log(home.path, tmp_path / "export.tar", as_tar=True)
    for path in (tmp_path / "export", *(tmp_path / "export").rglob("*"), tmp_path / "export.tar"):
        assert path.stat().st_mode & 0o077 == 0, path


def test_a_checkpoint_that_is_not_the_logs_is_not_exported(home: LogHome, tmp_path: Path) -> None:
    with closing(sqlite3.connect(home.path)) as connection:
        connection.execute("INSERT INTO checkpoint VALUES (100, x'00')")
        connection.commit()
    with pytest.raises(LogDamaged, match="checkpoint is not valid"):
        export_log(home.path, tmp_path / "export")


def test_every_line_of_an_export_is_canonical_json(home: LogHome, tmp_path: Path) -> None:
    export_log(home.path, tmp_path / "export")
    for name in ("records.jsonl", "inputs.jsonl", "manifest.json"):
        for line in (tmp_path / "export" / name).read_bytes().splitlines():
            canonical.parse(line)
