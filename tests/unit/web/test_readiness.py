"""What systemd is told, over a real datagram socket."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.free_port import free_port
from web.cli.units import rendered
from web.readiness import Readiness

#: docs/running.md says so too; a looser unit needs a reason and a change there.
EXPOSURE = 3.7
DOCUMENT = Path(__file__).parents[3] / "docs" / "running.md"


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    """Where systemd would listen."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as here:
        here.bind(str(tmp_path / "notify"))
        here.settimeout(30)
        yield here


def test_each_state_is_one_datagram(systemd: socket.socket, tmp_path: Path) -> None:
    readiness = Readiness(str(tmp_path / "notify"))
    readiness.ready("Open.")
    assert systemd.recv(4096) == b"READY=1\nSTATUS=Open."
    readiness.stopping()
    assert systemd.recv(4096).startswith(b"STOPPING=1\n")


def test_signs_of_life_come_twice_in_the_time_and_cease_when_the_site_hangs(
    systemd: socket.socket, tmp_path: Path
) -> None:
    stop, hang = threading.Event(), threading.Event()
    looked = threading.Event()

    def look() -> str:
        if looked.is_set():
            hang.wait(30)
        looked.set()
        return "acting"

    thread = Readiness(str(tmp_path / "notify"), watchdog_s=0.1).keep_alive(look, stop)
    assert thread is not None
    assert systemd.recv(4096) == b"WATCHDOG=1\nSTATUS=acting"
    systemd.settimeout(0.5)
    with pytest.raises(TimeoutError):
        systemd.recv(4096)
    stop.set()
    hang.set()
    thread.join(10)
    assert not thread.is_alive()


def test_the_address_is_taken_out_of_the_environment() -> None:
    environment = {"NOTIFY_SOCKET": "@one", "WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "1", "PATH": "/bin"}
    readiness = Readiness.take_from(environment)
    assert environment == {"PATH": "/bin"}
    assert readiness.watchdog_s == 60
    assert Readiness.take_from({"WATCHDOG_USEC": "soon"}).watchdog_s is None


def test_an_abstract_address_works() -> None:
    name = f"strongroom-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as here:
        here.bind(f"\0{name}")
        here.settimeout(10)
        Readiness(f"@{name}").ready("Open.")
        assert here.recv(4096).startswith(b"READY=1")


def test_without_systemd_or_with_one_that_went_away_the_daemon_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Readiness().ready("Open.")
    assert Readiness().keep_alive(lambda: "acting", threading.Event()) is None
    gone = Readiness(str(tmp_path / "gone"))
    gone.ready("Open.")
    gone.stopping()
    assert len(caplog.records) == 1


def test_the_daemon_says_ready_once_the_site_is_open_and_stopping_before_it_closes(
    systemd: socket.socket, tmp_path: Path
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.unit.web.small_daemon", str(tmp_path / "main"), str(free_port()), "well"],
        env=os.environ | {"NOTIFY_SOCKET": str(tmp_path / "notify")}, cwd=Path(__file__).parents[3],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert systemd.recv(4096).startswith(b"READY=1\nSTATUS=Open at https://localhost:")
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert systemd.recv(4096).startswith(b"STOPPING=1")


# -- the units --------------------------------------------------------------------------------------------


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The units as `strongroom units` writes them, the daemon's as that of the instance `main`."""
    folder = tmp_path / "units"
    folder.mkdir()
    (folder / "strongroom@main.service").write_text(rendered("strongroom@.service"))
    (folder / "strongroom-memory.service").write_text(rendered("strongroom-memory.service"))
    assert shutil.which("systemd-analyze") is not None, "systemd is installed by .ci/prepare-host"
    return folder


def analyze(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["systemd-analyze", "--no-pager", *arguments], capture_output=True, text=True, check=False, timeout=60
    )


def test_systemd_finds_nothing_wrong_with_the_units(units: Path) -> None:
    ended = analyze("verify", "--man=no", *(str(path) for path in sorted(units.iterdir())))
    # Debian's own units may speak here; ours may not.
    ours = [line for line in ended.stderr.splitlines() if "strongroom" in line]
    assert (ended.returncode, ours) == (0, []), ended.stderr


def test_a_mistake_in_a_unit_would_be_found(units: Path) -> None:
    path = units / "strongroom@main.service"
    path.write_text(path.read_text().replace("ProtectSystem=strict", "ProtectSystm=strict"))
    assert "ProtectSystm" in analyze("verify", "--man=no", str(path)).stderr


def test_the_sandbox_is_no_looser_than_the_documentation_says(units: Path) -> None:
    said = analyze("security", "--offline=true", str(units / "strongroom@main.service")).stdout
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", said)
    assert found is not None, said
    assert float(found[1]) <= EXPOSURE
    assert f"exposure level {EXPOSURE}" in DOCUMENT.read_text()


def test_the_units_hold_this_installations_paths_and_nothing_to_fill_in() -> None:
    for name in ("strongroom@.service", "strongroom-memory.service", "images.conf"):
        assert "@PROGRAM@" not in rendered(name)
    assert f"ExecStart={Path(sys.executable).with_name('strongroom')} --data" in rendered(
        "strongroom@.service"
    )
