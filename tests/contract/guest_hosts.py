"""The two worlds that the contract of `GuestHost` runs in: the fake, and libvirt with real guests."""

import contextlib
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import textwrap
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import libvirt

from policies.vocabulary import Action, EntityRef, EntityType
from tests.fakes.guest_host import FakeGuestHost, Killed
from tests.fakes.permits import permit_for
from tests.small_guest import SmallGuest, cache_dir, small_guest
from vault.disks.format import DiskFormatter
from vault.disks.ram_dir import RamDir
from vault.guests.domain_xml import DirectBoot, DomainPlan, PlannedDisk
from vault.guests.host_memory import HostLayout
from vault.guests.libvirt_host import LibvirtHost
from vault.guests.libvirt_network import remove_network
from vault.guests.libvirt_secrets import undefine_secrets_of
from vault.guests.ports import GuestHost
from vault.keystore.secret import DiskPassphrase

URI = "qemu:///system"
PASSPHRASE = b"S0me-256-bit_passphrase-as-base64url-text43"
WRONG_PASSPHRASE = b"An0ther-256-bit_passphrase-as-base64url-t43"
DISK_BYTES = 96 * 2**20
READY_TIMEOUT_S = 90
WATCHDOG_TIMEOUT_S = 30


@dataclass(frozen=True)
class PreparedGuest:
    """A guest whose disk is there."""

    ref: EntityRef
    plan: DomainPlan

    def start(self, host: GuestHost, passphrase: bytes = PASSPHRASE) -> None:
        with contextlib.ExitStack() as stack:
            keys = {disk.target: stack.enter_context(DiskPassphrase(passphrase)) for disk in self.plan.disks}
            host.start(permit_for(Action.GUEST_START, self.ref), self.ref, self.plan, keys)

    def stop(self, host: GuestHost, timeout_s: float = 0, *, force: bool = True) -> bool:
        return host.stop(
            permit_for(Action.GUEST_STOP, self.ref),
            self.ref,
            self.plan.name,
            timeout_s=timeout_s,
            force=force,
            waiting=lambda _waited_s: None,
        )

    def abandon(self, host: GuestHost) -> bool:
        return host.abandon(permit_for(Action.GUEST_START, self.ref), self.ref)


class World(Protocol):
    """A host, and what a test needs to see and do beside it."""

    host: GuestHost

    def make_guest(self) -> PreparedGuest:
        """A guest with an encrypted disk that `PASSPHRASE` opens."""

    def secrets_defined(self) -> int:
        """How many secrets of ours are defined now."""

    def domains(self) -> list[str]:
        """Names of our domains that are there now, half-starts too."""

    def unprotected(self) -> GuestHost:
        """The host as it is where libvirt's files would lie on a disk."""

    def unreachable(self) -> GuestHost:
        """The host while libvirt does not answer."""

    def kill_a_daemon_in_a_start(self, guest: PreparedGuest, step: str) -> None:
        """Start the guest in a daemon that is killed at `define` or `create`; returns when the dust settled."""

    def make_guests_deaf(self) -> None:
        """From their next start on guests do not do as the power button says."""

    def wait_ready(self, guest: PreparedGuest) -> None:
        """Wait until the guest's agent answers."""


class FakeWorld:
    """The world in memory."""

    def __init__(self) -> None:
        self.fake = FakeGuestHost()
        self.host: GuestHost = self.fake

    def make_guest(self) -> PreparedGuest:
        guest_id = str(uuid.uuid4())
        path = Path(f"/disks/{guest_id}/root.qcow2")
        self.fake.disks[path] = PASSPHRASE
        return _prepared(guest_id, path, None, "main", None)

    def secrets_defined(self) -> int:
        return len(self.fake.secrets)

    def domains(self) -> list[str]:
        return [domain.plan.name for domain in self.fake.domains.values()]

    def unprotected(self) -> GuestHost:
        self.fake.protected = False
        return self.fake

    def unreachable(self) -> GuestHost:
        self.fake.answers = False
        return self.fake

    def kill_a_daemon_in_a_start(self, guest: PreparedGuest, step: str) -> None:
        self.fake.fail_at[step] = Killed()
        with contextlib.suppress(Killed):
            guest.start(self.fake)
        # What the watchdog does.
        self.fake.undefine_secrets()
        guest.abandon(self.fake)

    def make_guests_deaf(self) -> None:
        self.fake.guests_listen = False

    def wait_ready(self, guest: PreparedGuest) -> None:
        assert self.fake.agent_answers(guest.plan.name)


@dataclass
class LibvirtWorld:
    """The real world: libvirt, QEMU, LUKS, a kernel."""

    instance: str
    folder: Path
    small: SmallGuest
    ram: RamDir
    host: GuestHost
    network: str | None = None
    _uid: int = field(default_factory=lambda: 2_000_000_000 + secrets.randbelow(100_000_000))

    def make_guest(self) -> PreparedGuest:
        guest_id = str(uuid.uuid4())
        self._uid += 1
        folder = self.folder / guest_id
        folder.mkdir(mode=0o711)
        disk = folder / "root.qcow2"
        ref = EntityRef(EntityType.GUEST, guest_id)
        permit = permit_for(Action.GUEST_CREATE, ref)
        formatter = DiskFormatter(cache_dir() / "templates", self.ram)
        with DiskPassphrase(PASSPHRASE) as passphrase:
            formatter.create_encrypted_disk(permit, ref, disk, DISK_BYTES, passphrase)
            formatter.write_image_into(permit, ref, self.small.image, disk, passphrase, source_format="raw")
        os.chown(disk, self._uid, self._uid)
        disk.chmod(0o600)
        boot = DirectBoot(self.small.kernel, self.small.initrd, self.small.command_line)
        made = _prepared(guest_id, disk, boot, self.instance, self.network)
        return replace(made, plan=replace(made.plan, uid=self._uid))

    def secrets_defined(self) -> int:
        with _connected() as connection:
            marked = [s for s in connection.listAllSecrets() if f" {self.instance} " in s.XMLDesc()]
            return len(marked)

    def domains(self) -> list[str]:
        with _connected() as connection:
            return [domain.name() for domain in self._ours(connection)]

    def unprotected(self) -> GuestHost:
        on_disk = self.folder / "not-in-memory"
        on_disk.mkdir()
        return LibvirtHost(URI, self.instance, layout=HostLayout(libvirt_dir=on_disk, libvirt_pid_files=()))

    def unreachable(self) -> GuestHost:
        return LibvirtHost(f"qemu+unix:///system?socket={self.folder}/no-socket", self.instance)

    def kill_a_daemon_in_a_start(self, guest: PreparedGuest, step: str) -> None:
        script = self.folder / "dying_daemon.py"
        script.write_text(_DYING_DAEMON, encoding="utf-8")
        plan = self.folder / "plan.py"
        plan.write_text(_as_source(guest), encoding="utf-8")
        root = Path(__file__).parents[2]
        died = subprocess.run(
            [sys.executable, str(script), str(plan), step, self.instance],
            env={**os.environ, "PYTHONPATH": str(root)},
            stdout=subprocess.PIPE,  # the watchdog does not inherit it, so that this does not wait for it
            check=False,
            timeout=60,
        )
        assert died.returncode == -9, "the daemon was to be killed"
        told = died.stdout.decode().split()
        assert told[0] == "secrets-defined"
        assert int(told[1]) == 1, "there was something to take back"
        wait_until(lambda: self.secrets_defined() == 0, "the secret was gone", WATCHDOG_TIMEOUT_S)
        wait_until(lambda: self.domains() == [], "the half-start was gone", WATCHDOG_TIMEOUT_S)

    def make_guests_deaf(self) -> None:
        """A guest is deaf in the first moments of its boot, so nothing need be done."""

    def wait_ready(self, guest: PreparedGuest) -> None:
        wait_until(lambda: self.host.agent_answers(guest.plan.name), "the agent answered", READY_TIMEOUT_S)

    def close(self) -> None:
        """Leave nothing behind, whatever the test did."""
        self.host.close()
        with _connected() as connection:
            for domain in self._ours(connection):
                with contextlib.suppress(libvirt.libvirtError):  # it ended by itself meanwhile
                    domain.destroy()
            undefine_secrets_of(connection, self.instance)
            if self.network is not None:
                remove_network(connection, self.network)

    def _ours(self, connection: "libvirt.virConnect") -> Iterator["libvirt.virDomain"]:
        for domain in connection.listAllDomains():
            with contextlib.suppress(libvirt.libvirtError):  # it ended meanwhile
                if f'instance="{self.instance}"' in domain.XMLDesc():
                    yield domain


@contextlib.contextmanager
def _connected() -> Iterator["libvirt.virConnect"]:
    """A connection of the test's own, which may outlive no daemon."""
    connection = libvirt.open(URI)
    try:
        yield connection
    finally:
        connection.close()


@contextlib.contextmanager
def libvirt_world(*, network: bool = False) -> Iterator[LibvirtWorld]:
    """A world of its own on this host's libvirt: random names, folders that go away."""
    instance = f"t{secrets.token_hex(4)}"
    # Not pytest's folder, which every run of pytest closes to QEMU's users.
    folder = Path(tempfile.mkdtemp(prefix="strongroom-guests-", dir="/var/tmp"))
    folder.chmod(0o711)
    memory = HostLayout().ram_dir / instance
    world = LibvirtWorld(
        instance=instance,
        folder=folder,
        small=small_guest(),
        ram=RamDir(memory),
        host=LibvirtHost(URI, instance),
        network=instance if network else None,
    )
    try:
        yield world
    finally:
        try:
            world.close()
        finally:
            shutil.rmtree(memory)
            shutil.rmtree(folder)


def _prepared(
    guest_id: str, disk: Path, boot: DirectBoot | None, instance: str, network: str | None
) -> PreparedGuest:
    suffix = secrets.token_hex(4)
    plan = DomainPlan(
        instance=instance,
        guest_id=guest_id,
        name=f"small-{suffix}",
        accelerator="tcg",
        vcpus=1,
        memory_bytes=192 * 2**20,
        uid=1_999_999,
        mac=f"52:54:00:{suffix[:2]}:{suffix[2:4]}:{suffix[4:6]}",
        network=network,
        disks=(PlannedDisk("vda", disk),),
        boot=boot,
    )
    return PreparedGuest(EntityRef(EntityType.GUEST, guest_id), plan)


def wait_until(holds: Callable[[], bool], what: str, timeout_s: float) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        time.sleep(0.05)


def _as_source(guest: PreparedGuest) -> str:
    values: Mapping[str, object] = {
        name: getattr(guest.plan, name) for name in DomainPlan.__slots__ if name not in {"disks", "boot"}
    }
    boot = guest.plan.boot
    assert boot is not None
    return (
        f"PLAN = {dict(values)!r}\nDISK = {str(guest.plan.disks[0].path)!r}\n"
        f"BOOT = {(str(boot.kernel), str(boot.initrd), boot.command_line)!r}\n"
    )


#: A daemon that is killed (SIGKILL, by itself) just before or just after libvirt makes the domain.
_DYING_DAEMON = (
    textwrap.dedent(
        """
    import os, signal, sys
    from pathlib import Path
    import libvirt
    from policies.vocabulary import Action, EntityRef, EntityType
    from tests.fakes.permits import permit_for
    from vault.guests.domain_xml import DirectBoot, DomainPlan, PlannedDisk
    from vault.guests.libvirt_host import LibvirtHost
    from vault.guests.watchdog import start_watchdog
    from vault.keystore.secret import DiskPassphrase

    source, step, instance = sys.argv[1:]
    given = {}
    exec(Path(source).read_text(), given)
    kernel, initrd, command_line = given["BOOT"]
    plan = DomainPlan(
        **given["PLAN"],
        disks=(PlannedDisk("vda", Path(given["DISK"])),),
        boot=DirectBoot(Path(kernel), Path(initrd), command_line),
    )
    watchdog = start_watchdog(instance, "qemu:///system")
    create = libvirt.virConnect.createXML

    def create_and_die(connection, xml, flags):
        if step == "create":
            create(connection, xml, flags)
        mine = [s for s in connection.listAllSecrets() if f" {instance} " in s.XMLDesc()]
        print("secrets-defined", len(mine), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

    libvirt.virConnect.createXML = create_and_die
    guest = EntityRef(EntityType.GUEST, plan.guest_id)
    passphrase = DiskPassphrase(b"%s")
    host = LibvirtHost("qemu:///system", instance)
    host.start(permit_for(Action.GUEST_START, guest), guest, plan, {"vda": passphrase})
    """
    )
    % PASSPHRASE.decode()
)
