"""What only libvirt and QEMU themselves can show: who runs, as whom, with what, and what an attacker gets."""

import dataclasses
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import libvirt
import libvirt_qemu
import pytest

from policies.vocabulary import Action
from tests.attacker_domain import try_attackers_domain
from tests.contract.guest_hosts import URI, LibvirtWorld, PreparedGuest, libvirt_world, wait_until
from tests.fakes.permits import permit_for
from vault.errors import Conflict, HostFailure
from vault.guests.network import bridge_of, lower_fence
from vault.guests.ports import DomainEvent, EventKind, ExecResult

pytestmark = pytest.mark.real


@pytest.fixture
def world() -> Iterator[LibvirtWorld]:
    with libvirt_world() as real:
        yield real


def run_in(world: LibvirtWorld, guest: PreparedGuest, *argv: str, timeout_s: float = 20) -> ExecResult:
    permit = permit_for(Action.GUEST_EXEC, guest.ref)
    return world.host.execute(permit, guest.ref, guest.plan.name, list(argv), b"", timeout_s)


def owner(path: Path) -> tuple[int, int, int]:
    status = path.stat()
    return status.st_uid, status.st_gid, status.st_mode & 0o777


def test_an_attackers_own_domain_gets_no_key_while_the_guest_is_stopped(world: LibvirtWorld) -> None:
    guest = world.make_guest()
    disk = guest.plan.disks[0].path
    assert "attacker" not in try_attackers_domain(disk)
    guest.start(world.host)
    guest.stop(world.host)
    assert try_attackers_domain(disk)
    guest.start(world.host)
    assert world.host.is_running(guest.ref.id), "the guest itself still starts"


def test_qemu_runs_as_the_guests_own_user_with_its_key_file_in_memory(world: LibvirtWorld) -> None:
    guest = world.make_guest()
    guest.start(world.host)
    pid = int(Path(f"/run/libvirt/qemu/{guest.plan.name}.pid").read_text(encoding="ascii"))
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    assert f"Uid:\t{guest.plan.uid}\t{guest.plan.uid}\t" in status
    domain_id = libvirt.open(URI).lookupByName(guest.plan.name).ID()
    (folder,) = Path("/var/lib/libvirt/qemu").glob(f"domain-{domain_id}-*")
    assert (folder / "master-key.aes").stat().st_uid == guest.plan.uid
    assert any(
        line.split()[2] == f"{os.major(folder.stat().st_dev)}:{os.minor(folder.stat().st_dev)}"
        and " - ramfs " in line
        for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    )


def test_a_guests_disk_stays_its_users_and_a_shared_kernel_nobodys(world: LibvirtWorld) -> None:
    first, second = world.make_guest(), world.make_guest()
    assert first.plan.boot is not None
    files = (first.plan.disks[0].path, first.plan.boot.kernel, first.plan.boot.initrd)
    before = [owner(path) for path in files]
    first.start(world.host)
    second.start(world.host)
    assert len(world.host.list_active()) == 2, "two guests of one kernel run at once"
    assert [owner(path) for path in files] == before
    first.stop(world.host)
    assert [owner(path) for path in files] == before


def test_a_guest_reboots_by_itself_without_its_key_or_its_boot_files(world: LibvirtWorld) -> None:
    guest = world.make_guest()
    guest.start(world.host)
    world.wait_ready(guest)
    boot_id = run_in(world, guest, "/bin/cat", "/proc/sys/kernel/random/boot_id").stdout
    with pytest.raises(HostFailure):
        run_in(world, guest, "/bin/reboot", "-f", timeout_s=5)
    world.wait_ready(guest)
    assert run_in(world, guest, "/bin/cat", "/proc/sys/kernel/random/boot_id").stdout != boot_id


def test_a_disk_in_a_closed_folder_is_refused_with_the_folders_name(world: LibvirtWorld) -> None:
    guest = world.make_guest()
    folder = guest.plan.disks[0].path.parent
    folder.chmod(0o700)
    with pytest.raises(HostFailure, match=f"may not enter {folder}"):
        guest.start(world.host)
    folder.chmod(0o711)
    guest.start(world.host)


def test_a_domain_that_somebody_defined_under_the_guests_name_is_not_run(world: LibvirtWorld) -> None:
    guest = world.make_guest()
    connection = libvirt.open(URI)
    planted = connection.defineXML(
        f"<domain type='qemu'><name>{guest.plan.name}</name><memory unit='MiB'>64</memory>"
        "<os><type arch='x86_64' machine='q35'>hvm</type></os></domain>"
    )
    try:
        with pytest.raises(Conflict, match="is there already"):
            guest.start(world.host)
        assert not world.host.agent_answers(guest.plan.name), "nor is it spoken with"
        assert world.secrets_defined() == 0
    finally:
        planted.undefine()
        connection.close()


def test_use_of_qemus_monitor_past_libvirt_is_seen(world: LibvirtWorld) -> None:
    told: list[DomainEvent] = []
    world.host.watch(told.append)
    guest = world.make_guest()
    guest.start(world.host)
    assert world.host.list_active()[0].taints == ()
    connection = libvirt.open(URI)
    domain = connection.lookupByName(guest.plan.name)
    libvirt_qemu.qemuMonitorCommand(domain, '{"execute": "stop"}', 0)
    connection.close()
    wait_until(
        lambda: EventKind.PAUSED in {event.kind for event in told if event.guest_id}, "it was told", 10
    )
    (active,) = world.host.list_active()
    assert active.paused
    assert any("monitor" in taint for taint in active.taints), active.taints
    assert not guest.abandon(world.host), "a guest paused by somebody is no half-start"


def test_a_huge_output_is_cut_and_the_agent_answers_on(world: LibvirtWorld) -> None:
    guest = world.make_guest()
    guest.start(world.host)
    world.wait_ready(guest)
    result = run_in(world, guest, "/bin/dd", "if=/dev/zero", "bs=1M", "count=40")
    assert result.truncated
    assert len(result.stdout) == 2**20
    assert run_in(world, guest, "/bin/echo", "still here").stdout == b"still here\n"


@pytest.mark.enable_socket  # talks over the bridge to guests of its own, which the loopback-only rule keeps others from
def test_guests_reach_neither_each_other_nor_the_hosts_services() -> None:
    with libvirt_world(network=True) as world:
        first, second = world.make_guest(), world.make_guest()
        first.start(world.host)
        second.start(world.host)
        for guest in (first, second):
            world.wait_ready(guest)
        addresses = [_address(world, guest) for guest in (first, second)]
        gateway = addresses[0].rpartition(".")[0] + ".1"
        run_in(
            world, second, "/bin/sh", "-c", "while :; do nc -l -p 7777 -e /bin/true; done >/dev/null 2>&1 &"
        )
        with _listener() as port:
            assert _reaches(gateway, port), "the host's service is there"
            assert _reaches(addresses[1], 7777), "the second guest's too"
            assert not _guest_reaches(world, first, gateway, port)
            assert not _guest_reaches(world, first, addresses[1], 7777), "not over the bridge"
            run_in(world, first, "/bin/ip", "route", "add", addresses[1], "via", gateway)
            assert not _guest_reaches(world, first, addresses[1], 7777), "nor by way of the host"
            assert _guest_reaches(world, first, gateway, 53), "names are what the host serves them"
            lower_fence(bridge_of(world.instance))
            assert _guest_reaches(world, first, gateway, port), "it was the fence that kept it out"


def test_a_guest_that_boots_by_firmware_leaves_no_variables_on_the_disk(world: LibvirtWorld) -> None:
    guest = world.make_guest()
    guest = dataclasses.replace(guest, plan=dataclasses.replace(guest.plan, boot=None))
    guest.start(world.host)
    assert world.host.is_running(guest.ref.id)
    guest.stop(world.host)
    assert list(Path("/var/lib/libvirt/qemu/nvram").glob(f"{guest.plan.name}*")) == []


def test_the_plan_cannot_smuggle_xml_into_the_domain(world: LibvirtWorld) -> None:
    guest = world.make_guest()
    assert guest.plan.boot is not None
    evil = "quiet</cmdline><kernel>/etc/shadow</kernel><cmdline>"
    boot = dataclasses.replace(guest.plan.boot, command_line=evil)
    guest = dataclasses.replace(guest, plan=dataclasses.replace(guest.plan, boot=boot))
    guest.start(world.host)
    live = libvirt.open(URI).lookupByName(guest.plan.name).XMLDesc()
    assert "<kernel>/etc/shadow" not in live
    assert "quiet&lt;/cmdline&gt;" in live


def _address(world: LibvirtWorld, guest: PreparedGuest) -> str:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        told = run_in(world, guest, "/bin/ip", "-4", "-o", "address", "show", "eth0").stdout.decode().split()
        if "inet" in told:
            return told[told.index("inet") + 1].partition("/")[0]
        time.sleep(0.5)
    raise AssertionError("the guest got no address")


class _listener:  # noqa: N801 - used as a function
    """A service of the host's on all its addresses."""

    def __enter__(self) -> int:
        self._socket = socket.create_server(("0.0.0.0", 0))  # noqa: S104 - that is the point
        threading.Thread(target=self._serve, daemon=True).start()
        port: int = self._socket.getsockname()[1]
        return port

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                self._socket.accept()[0].close()
            except OSError:
                return


def _guest_reaches(world: LibvirtWorld, guest: PreparedGuest, address: str, port: int) -> bool:
    command = f"nc -w 3 {address} {port} </dev/null"
    return run_in(world, guest, "/bin/sh", "-c", command).exit_code == 0


def _reaches(address: str, port: int) -> bool:
    with socket.create_connection((address, port), timeout=3):
        return True
