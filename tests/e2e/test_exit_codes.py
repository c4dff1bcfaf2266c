"""A real daemon whose storage fails, over the command line: exit 9 (nothing done) and 11 (done, not recorded)."""

import contextlib
import os
import secrets
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from audit.log.query import LogQuery
from audit.log.record import Kind
from audit.verify import verify_store
from tests.demo.command_line import CommandLine
from tests.free_port import free_port
from tests.syscall_faults import failing, hanging

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]
WAIT_S = 60.0


class SmallSite:
    """A site on a small file system of its own, with a daemon, and an administrator who is logged in."""

    def __init__(self, data_dir: Path, memory: Path) -> None:
        self.data_dir = data_dir
        self.cli = CommandLine(data_dir, free_port(), memory / "credentials.json")
        self.passphrase, self.password = memory / "passphrase", memory / "password"
        for path in (self.passphrase, self.password):
            path.touch(mode=0o600)
            path.write_text(f"{secrets.token_urlsafe(18)}-7a\n")
        self.cli.run(
            "init", "--seal", "passphrase", "--passphrase-file", str(self.passphrase),
            "--admin", "ada-admin", "--admin-password-file", str(self.password),
        )  # fmt: skip
        self.cli.start_daemon()
        self.log_in()

    def log_in(self) -> None:
        self.cli.run("login", "ada-admin", "--password-file", str(self.password))

    def unseal(self, exit_code: int = 0) -> Any:  # noqa: ANN401 - JSON is what it is
        return self.cli.run("unseal", "--passphrase-file", str(self.passphrase), exit_code=exit_code)

    def restart(self) -> None:
        self.cli.stop_daemon()
        self.cli.start_daemon()

    def process(self, with_open: str, mark: bytes) -> int:
        """The process of the daemon that has a file open and this in its arguments."""
        held = (self.data_dir / with_open).stat()
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if mark in (process / "cmdline").read_bytes():
                    for descriptor in (process / "fd").glob("*"):
                        status = descriptor.stat()
                        if (status.st_dev, status.st_ino) == (held.st_dev, held.st_ino):
                            return int(process.name)
        raise AssertionError(f"no process holds {with_open}")

    @property
    def worker(self) -> int:
        """The one that acts: it has the log open."""
        return self.process("log.db-wal", b"strongroom")

    @property
    def key_process(self) -> int:
        return self.process("keystore/keys.db", b"vault.keystore")

    def log_size(self) -> int:
        with LogQuery(self.data_dir / "log.db") as log:
            return log.size()

    def last_kind(self) -> tuple[Kind, str]:
        with LogQuery(self.data_dir / "log.db") as log:
            last = log.by_seq(log.size() - 1)
            return last.kind, last.action


@pytest.fixture(scope="module")
def site() -> Iterator[SmallSite]:
    data_dir = Path(f"/var/lib/strongroom/faults-{secrets.token_hex(3)}")
    data_dir.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m,mode=0711", "tmpfs", str(data_dir)], check=True)
    inner = data_dir / "site"
    with tempfile.TemporaryDirectory(dir="/dev/shm") as memory:
        try:
            made = SmallSite(inner, Path(memory))
            try:
                yield made
            finally:
                made.cli.stop_daemon()
        finally:
            subprocess.run(["umount", "--lazy", str(data_dir)], check=True)
            data_dir.rmdir()


def require_sentence(answer: Any, code: str) -> None:  # noqa: ANN401 - JSON is what it is
    error = answer["error"]
    assert error["code"] == code
    assert error["message"].endswith(".")
    assert error["message"].count(". ") == 0, "one sentence"
    assert error["hint"], "and what to do"


def test_on_a_full_disk_nothing_is_done_and_the_code_is_9_until_there_is_room(site: SmallSite) -> None:
    site.log_in()
    site.cli.run("guest", "list")
    size = site.log_size()
    ballast = site.data_dir.parent / "ballast"
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    deadline = time.monotonic() + WAIT_S
    answer: dict[str, Any] = {}
    while not answer and time.monotonic() < deadline:
        # The write-ahead log may have room of its own left for a few records.
        with contextlib.suppress(AssertionError):
            answer = site.cli.run("guest", "list", exit_code=9)
    require_sentence(answer, "log.unavailable")
    assert "disk is full" in answer["error"]["message"]
    refused_at = site.log_size()
    require_sentence(site.cli.run("guest", "list", exit_code=9), "log.unavailable")
    assert site.log_size() == refused_at >= size, "what was refused is not in the log"
    ballast.unlink()
    site.cli.run("guest", "list")
    assert verify_store(site.data_dir / "log.db").holds


def test_an_unseal_that_cannot_be_recorded_ends_with_11_and_the_daemon_acts_no_more_until_its_restart(
    site: SmallSite,
) -> None:
    site.log_in()
    answers: list[Any] = []
    began = site.log_size()
    with contextlib.ExitStack() as faults:
        # The key process is slow to answer: after the intent and before the outcome the log's storage fails.
        faults.enter_context(hanging(site.key_process, "sendto", 8.0))
        asked = threading.Thread(target=lambda: answers.append(site.unseal(exit_code=11)))
        asked.start()
        deadline = time.monotonic() + WAIT_S
        while site.log_size() == began or site.last_kind() != (Kind.INTENT, "keystore.unseal"):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        wal = site.data_dir / "log.db-wal"
        faults.enter_context(failing(site.worker, "pwrite64,fdatasync,fsync,write", "EIO", path=wal))
        asked.join(WAIT_S)
    (answer,) = answers
    require_sentence(answer, "gate.outcome_not_recorded")
    # The storage works again, and still nothing is done: what is open must be settled first.
    assert site.cli.run("status")["gate"] == "stopped"
    for command in (("guest", "list"), ("account", "list")):
        require_sentence(site.cli.run(*command, exit_code=11), "gate.outcome_not_recorded")
    site.cli.run("seal")  # the safe direction goes on
    site.restart()
    site.log_in()
    assert site.cli.run("status")["gate"] == "acting"
    with LogQuery(site.data_dir / "log.db") as log:
        after = list(log.records(began))
    settled = [
        record for record in after if record.action == "keystore.unseal" and record.kind is Kind.OUTCOME
    ]
    assert [record.result for record in settled] == [
        {"code": "recovery.unknown", "facts": {"recovered": True}}
    ]
    assert [record.kind for record in after if record.action == "keystore.seal"] == [Kind.RECOVERY]
    site.unseal()
    assert verify_store(site.data_dir / "log.db").holds


def test_a_log_whose_storage_hangs_refuses_with_9_within_its_time_and_the_late_record_is_never_acted_on(
    site: SmallSite,
) -> None:
    site.log_in()
    site.cli.run("guest", "list")
    sealed_before = site.cli.run("status")["sealed"]
    with hanging(site.worker, "fdatasync,fsync", 9.0):
        answer = site.cli.run("guest", "list", exit_code=9)
    require_sentence(answer, "log.timeout")
    assert site.cli.run("status")["sealed"] == sealed_before
    site.cli.run("guest", "list")


def test_a_killed_daemon_on_a_full_disk_settles_nothing_wrongly_and_opens_once_there_is_room(
    site: SmallSite,
) -> None:
    """Two faults at once."""
    site.log_in()
    size = site.log_size()
    ballast = site.data_dir.parent / "ballast"
    master = int((site.data_dir / "daemon.pid").read_text().split()[0])
    os.kill(site.worker, signal.SIGKILL)
    os.kill(master, signal.SIGKILL)
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    answer = site.cli.run("serve", "--background", exit_code=9)
    # What needs room first is the key of the next epoch.
    require_sentence(answer, "log.key_refused")
    assert "No space left" in answer["error"]["message"]
    ballast.unlink()
    assert site.log_size() >= size
    site.cli.start_daemon()
    site.log_in()
    site.unseal()
    assert verify_store(site.data_dir / "log.db").holds
