"""The daemon as a process: one worker, opened after the fork, replaced when killed, ended in order."""

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import pytest

from vault.config import Settings
from vault.errors import HostFailure
from web.instance_lock import running_pid
from web.listening import PortInUse, listen


@dataclass
class SmallDaemon:
    """A running `small_daemon` and how to talk to it."""

    process: subprocess.Popen[bytes]
    folder: Path
    port: int
    errors: Path

    @property
    def trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.folder / "secrets" / "tls.crt"))

    def pid(self, within_s: float = 15) -> int:
        """Pid of the worker that answers."""
        until = time.monotonic() + within_s
        while True:
            try:
                answer = httpx.get(
                    f"https://localhost:{self.port}/healthz", verify=self.trust, timeout=within_s
                )
                return int(answer.json()["pid"])
            except (httpx.TransportError, FileNotFoundError):
                if time.monotonic() > until or self.process.poll() is not None:
                    raise
                time.sleep(0.05)

    def ended(self, within_s: float = 30) -> int:
        """Exit code, once it has ended."""
        return self.process.wait(within_s)

    def said(self) -> str:
        """What it wrote to standard error."""
        return self.errors.read_text()

    def messages(self) -> list[str]:
        """The messages of its log."""
        return [json.loads(line)["message"] for line in self.said().splitlines() if line.startswith("{")]


Start = Callable[..., SmallDaemon]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts small daemons, and stops what still runs at the end."""
    started: list[SmallDaemon] = []

    def run(how: str = "well", *, port: int | None = None) -> SmallDaemon:
        errors = tmp_path / f"errors-{len(started)}"
        port = port or _free_port()
        folder = tmp_path / "main"
        with errors.open("wb") as err, (tmp_path / f"out-{len(started)}").open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.unit.web.small_daemon", str(folder), str(port), how],
                stdout=out,
                stderr=err,
            )
        started.append(SmallDaemon(process, folder, port, errors))
        return started[-1]

    yield run
    for daemon in started:
        if daemon.process.poll() is None:
            daemon.process.terminate()
            daemon.process.wait(30)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def test_it_answers_by_tls_1_2_or_later_and_nothing_else(start: Start) -> None:
    daemon = start()
    daemon.pid()
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        trust = daemon.trust
        trust.minimum_version = trust.maximum_version = version
        assert httpx.get(f"https://localhost:{daemon.port}/healthz", verify=trust).status_code == 200
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    with socket.create_connection(("127.0.0.1", daemon.port)) as plain, pytest.raises(ssl.SSLError):
        old.wrap_socket(plain)
    with pytest.raises(httpx.TransportError):
        httpx.get(f"http://localhost:{daemon.port}/healthz")


def test_told_to_stop_it_ends_its_streams_and_closes_the_site(start: Start, tmp_path: Path) -> None:
    daemon = start()
    daemon.pid()
    with httpx.stream("GET", f"https://localhost:{daemon.port}/stream", verify=daemon.trust) as stream:
        lines = stream.iter_lines()
        next(lines)
        daemon.process.send_signal(signal.SIGTERM)
        for _ in lines:
            pass
    assert daemon.ended() == 0
    assert (tmp_path / "out-0").read_text().split() == ["open", "closed"]
    assert running_pid(replace(Settings(), data_dir=daemon.folder)) is None


def test_ctrl_c_ends_it_in_order(start: Start, tmp_path: Path) -> None:
    daemon = start()
    daemon.pid()
    daemon.process.send_signal(signal.SIGINT)
    assert daemon.ended() == 0
    assert "closed" in (tmp_path / "out-0").read_text()


def test_a_killed_worker_is_replaced_and_says_that_it_is_sealed(start: Start) -> None:
    daemon = start()
    first = daemon.pid()
    os.kill(first, signal.SIGKILL)
    while (second := daemon.pid()) == first:
        time.sleep(0.05)
    assert any("the key store is sealed" in message for message in daemon.messages())
    assert second != daemon.process.pid


def test_signals_that_would_make_a_second_worker_are_refused(start: Start) -> None:
    daemon = start()
    only = daemon.pid()
    for number in (signal.SIGTTIN, signal.SIGTTOU, signal.SIGUSR2, signal.SIGWINCH):
        daemon.process.send_signal(number)
    until = time.monotonic() + 15
    while sum("was ignored" in message for message in daemon.messages()) < 3 and time.monotonic() < until:
        time.sleep(0.05)
    assert sum("was ignored" in message for message in daemon.messages()) == 3
    assert daemon.pid() == only
    children = Path(f"/proc/{daemon.process.pid}/task/{daemon.process.pid}/children").read_text().split()
    assert children == [str(only)]


def test_a_site_that_cannot_be_opened_is_one_sentence_and_its_code_and_no_second_try(start: Start) -> None:
    daemon = start("damaged")
    assert daemon.ended() == 7
    assert daemon.said() == "The log is damaged.\n"


def test_a_defect_while_opening_ends_it_too_and_does_not_show_what_it_held(start: Start) -> None:
    daemon = start("broken")
    assert daemon.ended() == 1
    assert daemon.said().endswith("The site could not be opened.\n")
    assert "hunter2" not in daemon.said()
    assert "RuntimeError" in daemon.said()


def test_without_a_site_nothing_is_started(start: Start) -> None:
    daemon = start("missing")
    assert daemon.ended() == 4
    assert not (daemon.folder / "daemon.pid").exists()


def test_a_second_daemon_for_the_same_site_is_refused(start: Start) -> None:
    first = start()
    first.pid()
    second = start()
    assert second.ended() == 5
    assert "already serves" in second.said()
    assert first.process.poll() is None


def test_a_port_that_is_taken_is_said_at_once(start: Start) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        daemon = start(port=other.getsockname()[1])
        assert daemon.ended(10) == 5
        assert "address already in use" in daemon.said()


def test_a_worker_that_dies_again_and_again_ends_the_daemon(start: Start) -> None:
    daemon = start("dies")
    assert daemon.ended(60) == 10
    assert any("too often" in message for message in daemon.messages())


def test_clients_that_say_nothing_do_not_keep_others_out(start: Start) -> None:
    daemon = start("impatient")
    daemon.pid()
    silent = [socket.create_connection(("127.0.0.1", daemon.port)) for _ in range(70)]
    try:
        for client in silent:
            client.send(b"\x16\x03\x01")  # the beginning of a greeting that never ends
        assert daemon.pid(within_s=30)
    finally:
        for client in silent:
            client.close()


def test_a_host_that_is_unknown_is_said_so() -> None:
    with pytest.raises(HostFailure, match="unknown"):
        listen("nowhere.invalid", 8443)


def test_an_address_that_is_not_ours_is_refused() -> None:
    with pytest.raises(PortInUse):
        listen("192.0.2.1", _free_port())
