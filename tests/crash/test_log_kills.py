"""The writer killed with SIGKILL again and again: nothing acknowledged is lost, nothing is done without an intent.

SIGKILL leaves the page cache alone, so this proves the order of things, not the syncing: for that the writer's
machine must lose its power (FACTS.md, Log).
"""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from audit.errors import LogHeld
from audit.log.export import export_log
from audit.log.query import LogQuery
from audit.log.record import Kind, Record
from audit.log.recovery import settle_open_intents
from audit.log.sqlite_store import SqliteLogStore
from audit.verify import verify_export, verify_store
from tests.unit.audit_log.parts import LogHome, access, intent, ordinary_history, outcome, write

ROOT = Path(__file__).parents[2]
KILLS = 15
THREADS = 6


def start(role: str, folder: Path) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "tests.crash.test_log_kills", role, str(folder)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)


def settle(_: Record) -> tuple[str, dict[str, object]]:
    return "recovery.not_done", {}


def append_for_ever(folder: Path) -> None:
    """A daemon: settles what was interrupted, then intent, effect, outcome, in several threads, until killed.

    Tells on standard output what was acknowledged, and in the file `effects` what it did.
    """
    writer = LogHome(folder).open(recovered=False, checkpoint_after_s=0.02)
    settle_open_intents(writer, settle, principal="os:0", resource="site:site")
    effects = os.open(folder / "effects", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def tell(record: Record) -> None:
        os.write(1, f"{record.seq} {record.leaf_hash.hex()}\n".encode())

    def work(number: int) -> None:
        while True:
            begun = writer.append(intent(number), timeout_s=60)
            tell(begun)
            os.write(effects, f"{begun.id}\n".encode())
            tell(writer.append(outcome(begun), timeout_s=60))

    for number in range(THREADS):
        threading.Thread(target=work, args=(number,), daemon=True).start()
    signal.pause()


def kill_oneself_while_exporting(folder: Path) -> None:
    def die(done: int, _: int) -> None:
        if done >= 1000:
            os.kill(os.getpid(), signal.SIGKILL)

    export_log(LogHome(folder).path, folder / "export", progress=die)


def acknowledged_before_the_kill(child: "subprocess.Popen[bytes]", patience: random.Random) -> dict[int, str]:
    assert child.stdout is not None
    first = child.stdout.readline()
    time.sleep(patience.uniform(0, 0.15))
    child.kill()
    # A last line may be cut off; what is cut off was not heard.
    lines = (first + child.stdout.read()).split(b"\n")[:-1]
    child.wait()
    child.stdout.close()
    return {int(seq): leaf for seq, leaf in (line.decode().split() for line in lines)}


def test_fifteen_kills_lose_no_acknowledged_record_and_nothing_was_done_without_an_intent(
    tmp_path: Path,
) -> None:
    home = LogHome.create(tmp_path)
    acknowledged: dict[int, str] = {}
    patience = random.Random(2)  # noqa: S311 - how long to wait before a kill
    for _ in range(KILLS):
        heard = acknowledged_before_the_kill(start("append", tmp_path), patience)
        assert heard
        assert not acknowledged.keys() & heard.keys()
        acknowledged |= heard
        with LogQuery(home.path) as query:
            for seq, leaf in heard.items():
                assert query.by_seq(seq).leaf_hash.hex() == leaf
    with closing(home.open(recovered=False)) as writer:
        settle_open_intents(writer, settle, principal="os:0", resource="site:site")
    report = verify_store(home.path)
    assert report.records >= len(acknowledged) >= KILLS
    with LogQuery(home.path) as query:
        intents = {record.id for record in query.records() if record.kind is Kind.INTENT}
        settled = {record.intent for record in query.records() if record.kind is Kind.OUTCOME}
        for seq, leaf in acknowledged.items():
            assert query.by_seq(seq).leaf_hash.hex() == leaf
    effects = (tmp_path / "effects").read_text().split()
    assert set(effects) <= intents == settled
    assert len(effects) == len(set(effects))


def test_a_killed_writer_leaves_the_log_to_the_next_one_at_once(tmp_path: Path) -> None:
    home = LogHome.create(tmp_path)
    child = start("append", tmp_path)
    assert child.stdout is not None
    child.stdout.readline()
    with pytest.raises(LogHeld):
        SqliteLogStore(home.path)
    child.kill()
    child.wait()
    child.stdout.close()
    SqliteLogStore(home.path).close()


def test_an_export_that_is_killed_leaves_no_export_and_can_be_made_again(tmp_path: Path) -> None:
    home = LogHome.create(tmp_path)
    with closing(home.open()) as writer:
        write(writer, ordinary_history(4))
        writer.append_all([access() for _ in range(2000)])
    child = start("export", tmp_path)
    assert child.wait() == -signal.SIGKILL
    assert child.stdout is not None
    child.stdout.close()
    assert not (tmp_path / "export").exists()
    export_log(home.path, tmp_path / "export")
    assert verify_export(tmp_path / "export").records == 2004


if __name__ == "__main__":
    roles = {"append": append_for_ever, "export": kill_oneself_while_exporting}
    roles[sys.argv[1]](Path(sys.argv[2]))
