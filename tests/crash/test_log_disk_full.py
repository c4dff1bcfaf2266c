"""The log on a disk that fills up: appends fail, nothing acknowledged is lost, and it goes on once there is room."""

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from audit.errors import AuditError, LogUnavailable
from audit.log.query import LogQuery
from audit.log.record import Record
from audit.log.writer import LogWriter
from audit.verify import verify_store
from tests.unit.audit_log.parts import LogHome, access, ordinary_history, write

ROOT = Path(__file__).parents[2]


def fill(writer: LogWriter) -> list[Record]:
    """Append until it fails."""
    acknowledged: list[Record] = []
    with suppress(LogUnavailable):
        while True:
            acknowledged.append(writer.append(access()))
    return acknowledged


def check(home: LogHome, acknowledged: list[Record]) -> None:
    with LogQuery(home.path) as query:
        for record in acknowledged:
            assert query.by_seq(record.seq).bytes == record.bytes
    assert verify_store(home.path).records >= len(acknowledged)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB; mounting one needs root."""
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m,mode=0700", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.real
def test_a_full_disk_makes_the_log_unavailable_until_there_is_room(small_disk: Path) -> None:
    home = LogHome.create(small_disk)
    writer = home.open()
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(1 << 20))
    acknowledged = fill(writer)
    assert len(acknowledged) > 10
    for _ in range(5):
        with pytest.raises(LogUnavailable) as failure:
            writer.append(access())
        assert failure.value.exit_code == 9
    check_rows = acknowledged[-1].seq
    ballast.unlink()
    after = write(writer, ordinary_history(8))
    assert after[0].seq > check_rows
    writer.close()
    check(home, [*acknowledged, *after])


@pytest.mark.real
def test_a_disk_that_stays_full_loses_nothing_over_a_restart(small_disk: Path) -> None:
    home = LogHome.create(small_disk)
    writer = home.open()
    acknowledged = fill(writer)
    with suppress(AuditError):  # there is no room for a last checkpoint either
        writer.close()
    with LogQuery(home.path) as query:
        for record in acknowledged:
            assert query.by_seq(record.seq).bytes == record.bytes
    assert len(acknowledged) > 10


@pytest.mark.real
def test_a_write_ahead_log_removed_on_a_full_disk_is_kept_until_it_can_be_saved(small_disk: Path) -> None:
    """Two faults at once: the only copy of acknowledged records has no name, and there is no room for another."""
    home = LogHome.create(small_disk)
    writer = home.open()
    acknowledged = [writer.append(access()) for _ in range(40)]
    ballast = small_disk / "ballast"
    with suppress(OSError), ballast.open("wb") as file:
        while True:
            os.write(file.fileno(), bytes(4096))
    home.path.with_name("log.db-wal").unlink()
    for _ in range(3):
        with pytest.raises(LogUnavailable):
            writer.append(access())
    ballast.unlink()
    acknowledged.append(writer.append(access()))
    writer.close()
    check(home, acknowledged)


@pytest.mark.real
def test_a_database_removed_on_a_full_disk_is_rescued_once_there_is_room(small_disk: Path) -> None:
    home = LogHome.create(small_disk)
    writer = home.open()
    acknowledged = [writer.append(access()) for _ in range(40)]
    ballast = small_disk / "ballast"
    with suppress(OSError), ballast.open("wb") as file:
        while True:
            os.write(file.fileno(), bytes(4096))
    home.path.unlink()
    for _ in range(3):
        with pytest.raises(LogUnavailable):
            writer.append(access())
    assert not list(small_disk.glob("log.db.rescued-*"))  # no half copies
    ballast.unlink()
    with pytest.raises(LogUnavailable, match="missing"):
        writer.append(access())
    (rescued,) = small_disk.glob("log.db.rescued-*")
    with LogQuery(rescued) as query:
        assert [record.bytes for record in query.records()] == [record.bytes for record in acknowledged]
    with pytest.raises(LogUnavailable):
        writer.close()


def test_a_file_that_may_not_grow_makes_the_log_unavailable_until_it_may(tmp_path: Path) -> None:
    """The same with another error of the operating system: EFBIG instead of ENOSPC."""
    LogHome.create(tmp_path)
    command = [sys.executable, "-m", "tests.crash.test_log_disk_full", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    refused, *acknowledged = done.stdout.split()
    assert int(refused) > 100
    with LogQuery(LogHome(tmp_path).path) as query:
        stored = [record.id for record in query.records()]
    assert len(acknowledged) > 100
    assert [each for each in stored if each in set(acknowledged)] == acknowledged
    assert verify_store(LogHome(tmp_path).path).holds


def limited(folder: Path) -> None:
    with closing(LogHome(folder).open()) as writer:
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, hard))
        acknowledged: list[str] = []
        refused = 0
        for _ in range(1200):
            try:
                acknowledged.append(writer.append(access()).id)
            except LogUnavailable:
                refused += 1
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        acknowledged.append(writer.append(access()).id)
    sys.stdout.write(" ".join([str(refused), *acknowledged]))


if __name__ == "__main__":
    limited(Path(sys.argv[1]))
