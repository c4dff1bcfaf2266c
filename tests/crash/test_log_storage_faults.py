"""The log's storage fails under a running writer: each system call of an append in turn, for a while, or hanging.

The writer is a process of its own; strace lets its system calls fail (tests/syscall_faults.py). The positions are
not listed by hand: they are counted in an append that succeeds.
"""

import contextlib
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from audit.errors import AuditError, LogDamaged, LogUnavailable
from audit.log.noted_head import NotedHead
from audit.log.query import LogQuery
from audit.log.record import Kind
from audit.log.sqlite_store import SqliteLogStore
from audit.log.writer import LogWriter
from audit.verify import verify_store
from tests.syscall_faults import counting, failing, hanging
from tests.unit.audit_log.parts import (
    BUNDLE,
    DIGEST,
    LogHome,
    access,
    intent,
    ordinary_history,
    outcome,
    write,
)

pytestmark = pytest.mark.real
ROOT = Path(__file__).parents[2]
#: What an append may ask of the storage. Reading is left out: it is what the checks after a failure need.
CALLS = ("pwrite64", "fdatasync", "fsync", "ftruncate", "openat", "newfstatat")
TIMEOUT_S = 20.0


class Writer:
    """The writer's process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.acknowledged: dict[int, str] = {}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.test_log_storage_faults", str(folder)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self, what: str, timeout_s: float = TIMEOUT_S) -> dict[str, Any]:
        """Ask for a record; the answer says what was acknowledged, or how it was refused."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{what} {timeout_s}\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        if "leaf" in answer:
            assert answer["seq"] not in self.acknowledged
            self.acknowledged[answer["seq"]] = answer["leaf"]
        return answer

    def close(self) -> None:
        """End the writer; then nothing that was acknowledged is missing, and all of it verifies."""
        self._process.communicate(timeout=60)
        with LogQuery(self.folder / "log.db") as query:
            for seq, leaf in self.acknowledged.items():
                assert query.by_seq(seq).leaf_hash.hex() == leaf
        assert verify_store(self.folder / "log.db").holds


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Writer]:
    LogHome.create(tmp_path)
    made = Writer(tmp_path)
    made.ask("access")
    yield made
    made.close()


def require_refused_or_done(answer: dict[str, Any]) -> None:
    assert "leaf" in answer or answer["exit"] == 9, answer


@pytest.mark.parametrize("error", ["EIO", "EROFS", "ENOSPC"])
def test_an_error_at_any_system_call_of_an_append_is_a_refusal_and_the_next_append_goes_on(
    writer: Writer, error: str
) -> None:
    with counting(writer.pid, ",".join(CALLS)) as counted:
        writer.ask("intent")
    assert counted["pwrite64"] >= 3
    assert counted["fdatasync"] + counted["fsync"] >= 1
    refused = set()
    for call, count in counted.items():
        for nth in range(1, count + 1):
            with failing(writer.pid, call, error, str(nth)):
                answer = writer.ask("intent")
            require_refused_or_done(answer)
            if "error" in answer:
                refused.add(call)
            assert "leaf" in writer.ask("access"), "the storage works again, and so does the log"
    assert {"pwrite64", "newfstatat"} <= refused
    assert refused & {"fdatasync", "fsync"}, "what could not be synced was not acknowledged"


def test_storage_that_stays_broken_refuses_every_append_until_it_is_mended(writer: Writer) -> None:
    with failing(writer.pid, "pwrite64,fdatasync,fsync,ftruncate", "EIO"):
        for _ in range(3):
            answer = writer.ask("intent")
            assert (answer["error"], answer["exit"]) == ("log.unavailable", 9)
            assert "Look at the disk" in answer["hint"]
    assert "leaf" in writer.ask("intent")


def test_an_append_on_storage_that_hangs_is_refused_in_its_time_and_never_acted_on(writer: Writer) -> None:
    with hanging(writer.pid, "fdatasync,fsync", 4.0):
        began = time.monotonic()
        answer = writer.ask("intent", 0.5)
        waited_s = time.monotonic() - began
        assert (answer["error"], answer["exit"]) == ("log.timeout", 9)
        assert waited_s < 4.0, "the caller did not wait for the storage"
        assert "leaf" in writer.ask("access"), "once the storage answers, the log goes on"
    writer.close()
    with LogQuery(writer.folder / "log.db") as query:
        records = list(query.records())
    intents = {record.id: record for record in records if record.kind is Kind.INTENT}
    codes = [record.result["code"] for record in records if record.intent in intents and record.result]
    assert codes == ["log.timeout"] * len(intents), "one that became durable too late says that nobody acted"


# -- read-only, and files taken away while it runs -------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, so that it can be made read-only."""
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m,mode=0700", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_log_on_a_file_system_that_turned_read_only_takes_nothing(small_disk: Path) -> None:
    """The kernel refuses to make it read-only while it is written, but not to bind it so over itself."""
    home = LogHome.create(small_disk)
    home.open().close()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(LogUnavailable) as refused:
        home.open()
    assert refused.value.exit_code == 9
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    with contextlib.closing(home.open()) as again:
        again.append(access())
    assert verify_store(home.path).holds


def replace_whole(home: LogHome, copy: Path) -> None:
    for name in ("log.db", "log.db-wal", "log.db-shm"):
        home.path.with_name(name).unlink(missing_ok=True)
        if (copy / name).exists():
            shutil.copy(copy / name, home.folder)


def overwrite_in_place(home: LogHome, copy: Path) -> None:
    """As `cp` does: the file stays the same, its content does not."""
    home.path.write_bytes((copy / "log.db").read_bytes())


def truncate_wal(home: LogHome, _copy: Path) -> None:
    with home.path.with_name("log.db-wal").open("r+b") as file:
        file.truncate(0)


@pytest.mark.parametrize("harm", [replace_whole, overwrite_in_place, truncate_wal])
def test_a_log_rolled_back_while_it_is_written_is_found_at_the_latest_at_the_next_start(
    tmp_path: Path, harm: Callable[[LogHome, Path], None]
) -> None:
    home = LogHome.create(tmp_path / "log")
    noted = NotedHead(tmp_path / "log.head")
    first = opened(home, noted)
    write(first, ordinary_history(8))
    first.close()
    copy = tmp_path / "copy"
    shutil.copytree(home.folder, copy)
    writer = opened(home, noted)
    acknowledged = write(writer, ordinary_history_from(100, 40))
    writer.checkpoint()
    harm(home, copy)
    refusals: list[AuditError] = []
    with noting(refusals):
        acknowledged += [writer.append(access()) for _ in range(3)]
    with noting(refusals):
        writer.close()
    with noting(refusals):
        opened(home, noted).close()
        with LogQuery(home.path) as query:
            for record in acknowledged:
                assert query.by_seq(record.seq).bytes == record.bytes
    for refusal in refusals:
        assert refusal.exit_code in {7, 9}
        assert refusal.hint
    assert refusals or verify_store(home.path).holds


@contextlib.contextmanager
def noting(refusals: list[AuditError]) -> Iterator[None]:
    try:
        yield
    except AuditError as error:
        refusals.append(error)


def ordinary_history_from(start: int, count: int) -> Iterator[list[Any]]:
    for number in range(start, start + count, 2):
        identity = f"{number:032x}"
        yield [intent(number % 5, id=identity)]
        yield [outcome(identity)]


# -- rolled back between two runs --------------------------------------------------------------------


def opened(home: LogHome, noted: NotedHead) -> LogWriter:
    made = LogWriter(SqliteLogStore(home.path), home.clock, home.key, noted=noted)
    made.add_bundle(DIGEST, BUNDLE)
    made.declare_recovered()
    return made


def test_an_older_copy_of_the_log_is_not_continued(tmp_path: Path) -> None:
    home, noted = LogHome.create(tmp_path / "log"), NotedHead(tmp_path / "log.head")
    with contextlib.closing(opened(home, noted)) as writer:
        write(writer, ordinary_history(8))
    shutil.copytree(home.folder, tmp_path / "copy")
    with contextlib.closing(opened(home, noted)) as writer:
        write(writer, ordinary_history_from(100, 8))
    replace_whole(home, tmp_path / "copy")
    assert verify_store(home.path).holds, "by itself it is sound"
    with pytest.raises(LogDamaged, match="it has 8 records, and had 16") as refused:
        opened(home, noted)
    assert refused.value.exit_code == 7
    assert str(noted.path) in refused.value.hint


def test_another_history_under_the_same_key_is_not_continued(tmp_path: Path) -> None:
    home, noted = LogHome.create(tmp_path / "log"), NotedHead(tmp_path / "log.head")
    shutil.copytree(home.folder, tmp_path / "copy")
    with contextlib.closing(opened(home, noted)) as writer:
        write(writer, ordinary_history(8))
    replace_whole(home, tmp_path / "copy")
    with contextlib.closing(home.open()) as forger:
        write(forger, ordinary_history_from(100, 20))
    with pytest.raises(LogDamaged, match="not the one whose head was noted"):
        opened(home, noted)


def test_a_head_noted_by_somebody_else_is_refused(tmp_path: Path) -> None:
    home, noted = LogHome.create(tmp_path / "log"), NotedHead(tmp_path / "log.head")
    with contextlib.closing(opened(home, noted)) as writer:
        write(writer, ordinary_history(4))
    noted.path.write_bytes(noted.path.read_bytes().replace(b"\n4\n", b"\n2\n"))
    with pytest.raises(LogDamaged, match="not signed by this log's key"):
        opened(home, noted)


def test_a_missing_noted_head_is_told_and_noted_again(tmp_path: Path) -> None:
    home, noted = LogHome.create(tmp_path / "log"), NotedHead(tmp_path / "log.head")
    with contextlib.closing(opened(home, noted)) as writer:
        assert not writer.unanchored, "an empty log has nothing to lose"
        write(writer, ordinary_history(4))
    noted.path.unlink()
    with contextlib.closing(opened(home, noted)) as writer:
        assert writer.unanchored
    with contextlib.closing(opened(home, noted)) as writer:
        assert not writer.unanchored


def test_a_head_that_cannot_be_noted_is_told_tried_again_and_stops_nobody(tmp_path: Path) -> None:
    away = tmp_path / "away"
    home, noted = LogHome.create(tmp_path / "log"), NotedHead(away / "log.head")
    writer = opened(home, noted)
    writer.append(access())
    with pytest.raises(LogUnavailable, match="cannot be noted"):
        writer.checkpoint()
    writer.append(access())
    away.mkdir()
    writer.checkpoint()
    writer.append(access())
    writer.close()
    opened(home, noted).close()
    assert b"\n3\n" in (noted.read() or b"")


# -- the clock -----------------------------------------------------------------------------------------


def test_a_clock_set_back_is_in_the_records_and_the_verifier_says_so(tmp_path: Path) -> None:
    home = LogHome.create(tmp_path)
    with contextlib.closing(home.open()) as writer:
        before = writer.append(access())
        home.clock.instant -= timedelta(days=2)
        after = writer.append(access())
    assert after.at < before.at
    assert after.mono_ns > before.mono_ns, "the other clock, in the same record, tells what really passed"
    report = verify_store(home.path)
    assert report.holds
    (clock,) = [check for check in report.checks if check.name == "clock"]
    assert "set back 1 times, first at record 1" in clock.detail


def serve(folder: Path) -> None:
    """Be the writer's process: a line for each record wanted, a line for each answer."""
    home = LogHome(folder)
    with contextlib.closing(home.open(checkpoint_after_s=3600)) as writer:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        for line in sys.stdin:
            what, timeout_s = line.split()
            draft = intent() if what == "intent" else access()
            try:
                record = writer.append(draft, float(timeout_s))
                answer: dict[str, Any] = {"seq": record.seq, "leaf": record.leaf_hash.hex()}
            except AuditError as error:
                answer = {"error": error.code, "exit": int(error.exit_code), "hint": error.hint}
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
