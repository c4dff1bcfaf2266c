"""What becomes of guests when libvirt's daemon is killed. Run as a program, in a mount namespace of its own.

There it has a libvirt daemon of its own, which it may kill: `unshare -m python -m tests.contract.libvirt_loss NAME`.
It ends with 0 when what the scenario says holds.
"""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import libvirt
import pytest

from tests.contract.guest_hosts import URI, LibvirtWorld, libvirt_world, wait_until
from vault.errors import HostFailure
from vault.guests.host_memory import check_host_memory, prepare_host_memory
from vault.guests.ports import DomainEvent, EventKind

_PID_FILE = Path("/run/libvirt/own.pid")
_START_TIMEOUT_S = 30


class OwnLibvirt:
    """A libvirt daemon that nobody else uses."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(
            ["libvirtd", "-p", str(_PID_FILE)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_until(_answers, "libvirt answered", _START_TIMEOUT_S)

    def kill(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()


def killed_before_the_domain_is_made(own: OwnLibvirt, world: LibvirtWorld) -> None:
    guest = world.make_guest()
    original = _replace_create(lambda *_: own.kill(), None)
    _expect_failure(lambda: guest.start(world.host))
    libvirt.virConnect.createXML = original
    own.start()
    assert world.host.list_active() == []
    assert world.host.undefine_secrets() == 0, "libvirt forgot them: they are ephemeral"
    guest.start(world.host)
    assert world.host.is_running(guest.ref.id)


def killed_after_the_domain_is_made(own: OwnLibvirt, world: LibvirtWorld) -> None:
    guest = world.make_guest()
    original = _replace_create(None, lambda *_: own.kill())
    _expect_failure(lambda: guest.start(world.host))
    libvirt.virConnect.createXML = original
    own.start()
    (left,) = world.host.list_active()
    assert left.paused, "QEMU outlived libvirt, and has not run an instruction"
    assert not world.host.is_running(guest.ref.id), "a half-start is no running guest"
    assert world.host.undefine_secrets() == 0
    guest.start(world.host)
    assert world.host.is_running(guest.ref.id), "the next start made room"
    assert len(world.host.list_active()) == 1


def killed_while_a_guest_runs(own: OwnLibvirt, world: LibvirtWorld) -> None:
    told: list[DomainEvent] = []
    world.host.watch(told.append)
    guest = world.make_guest()
    guest.start(world.host)
    own.kill()
    _expect_failure(lambda: world.host.is_running(guest.ref.id))
    own.start()
    assert world.host.is_running(guest.ref.id), "the guest ran on"
    # What is asked of libvirt before it has found its guests again ends them without a word.
    world.wait_ready(guest)
    guest.stop(world.host)
    wait_until(
        lambda: any(e.kind is EventKind.STOPPED and e.guest_id == guest.ref.id for e in told),
        "the end was told over the new connection",
        10,
    )


def killed_with_its_guest(own: OwnLibvirt, world: LibvirtWorld) -> None:
    told: list[DomainEvent] = []
    world.host.watch(told.append)
    guest = world.make_guest()
    guest.start(world.host)
    wait_until(lambda: any(e.kind is EventKind.STARTED for e in told), "the start was told", 10)
    pid = int(Path(f"/run/libvirt/qemu/{guest.plan.name}.pid").read_text(encoding="ascii"))
    own.kill()
    os.kill(pid, signal.SIGKILL)
    own.start()
    wait_until(
        lambda: any(e.kind is EventKind.STOPPED and e.guest_id == guest.ref.id for e in told),
        "the end that nobody saw was told",
        10,
    )
    assert not world.host.is_running(guest.ref.id)
    guest.start(world.host)
    assert world.host.is_running(guest.ref.id)


def _replace_create(before: Callable[..., Any] | None, after: Callable[..., Any] | None) -> Any:  # noqa: ANN401
    original = libvirt.virConnect.createXML

    def create(connection: Any, xml: str, flags: int) -> Any:  # noqa: ANN401
        if before is not None:
            before()
        domain = original(connection, xml, flags)
        if after is not None:
            after()
        return domain

    libvirt.virConnect.createXML = create
    return original


def _expect_failure(act: Callable[[], object]) -> None:
    with pytest.raises(HostFailure, match="libvirt") as failed:
        act()
    assert "tart it" in failed.value.hint, failed.value.hint


def _answers() -> bool:
    try:
        libvirt.open(URI).close()
    except libvirt.libvirtError:
        return False
    return True


def main(scenario: str) -> int:
    """Make the own host, and run one scenario on it."""
    if Path("/proc/self/ns/mnt").readlink() == Path(f"/proc/{os.getppid()}/ns/mnt").readlink():
        raise SystemExit("not in a mount namespace of its own")
    libvirt.registerErrorHandler(lambda _context, _error: None, None)
    with tempfile.NamedTemporaryFile("w", prefix="qemu-conf-") as settings:
        settings.write('stdio_handler = "file"\n')  # virtlogd is the host's
        settings.flush()
        subprocess.run(["mount", "--bind", settings.name, "/etc/libvirt/qemu.conf"], check=True)
        for folder in ("/run/libvirt", "/var/lib/libvirt"):
            subprocess.run(["mount", "-t", "tmpfs", "own", folder], check=True)
        own = OwnLibvirt()
        own.start()
        try:
            prepare_host_memory()
            assert check_host_memory() == []
            with libvirt_world() as world:
                globals()[scenario](own, world)
        finally:
            own.kill()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
