"""Makes the XML of a guest's transient domain from our own model. Pure.

Nothing in it is taken from libvirt's memory of an earlier start: what is not in the plan is not in the guest.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from xml.etree import ElementTree as ET

#: Our mark in a domain: which instance, which guest, which run of the daemon, how far its start has come.
NAMESPACE = "https://strongroom.invalid/xmlns/guest/1"
MARK_PREFIX = "strongroom"
#: The one program that runs guests; anything else in a live domain is an attack.
EMULATOR = Path("/usr/bin/qemu-system-x86_64")
#: UEFI without Secure Boot, which needs SMM that emulation is slow at (package `ovmf`).
FIRMWARE = Path("/usr/share/OVMF/OVMF_CODE_4M.fd")
AGENT_CHANNEL = "org.qemu.guest_agent.0"
_KIB = 2**10

ET.register_namespace(MARK_PREFIX, NAMESPACE)


class Phase(StrEnum):
    """How far a start has come; a domain that is paused in the first is a half-start."""

    STARTING = "starting"
    RUNNING = "running"


@dataclass(frozen=True, slots=True)
class Mark:
    """What we write into a domain: by it, and not by a name, a domain is ours."""

    instance: str
    guest_id: str
    run: str
    phase: str

    @property
    def starting(self) -> bool:
        """Whether its start was not finished."""
        return self.phase == Phase.STARTING


@dataclass(frozen=True, slots=True)
class PlannedDisk:
    """A disk as the guest gets it.

    Attributes:
        target: name in the guest, `vda` or `vdb`.
        path: the qcow2 file, encrypted by LUKS, owned by the guest's user.
        read_only: for the seed.
    """

    target: str
    path: Path
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class DirectBoot:
    """Kernel and initrd, kept by digest, that QEMU loads without firmware."""

    kernel: Path
    initrd: Path
    command_line: str


@dataclass(frozen=True, slots=True)
class DomainPlan:
    """All of a domain.

    Attributes:
        guest_id: UUID; the domain has the same.
        accelerator: `kvm` or `tcg`.
        uid: user and group that QEMU runs as (D5).
        network: libvirt network; None gives the guest no interface.
        boot: None boots by UEFI firmware.
        lock_memory: keep the guest's memory out of swap.
        run: which run of the daemon starts it.
    """

    instance: str
    guest_id: str
    name: str
    accelerator: str
    vcpus: int
    memory_bytes: int
    uid: int
    mac: str
    network: str | None
    disks: tuple[PlannedDisk, ...]
    boot: DirectBoot | None
    lock_memory: bool = False
    run: str = ""


def domain_xml(plan: DomainPlan, secrets: Mapping[str, str]) -> str:
    """Return the XML for a transient domain.

    Args:
        plan: the domain.
        secrets: UUID of the secret for each disk, by target name.
    """
    domain = ET.Element("domain", type="kvm" if plan.accelerator == "kvm" else "qemu")
    _text(domain, "name", plan.name)
    _text(domain, "uuid", plan.guest_id)
    mark = Mark(plan.instance, plan.guest_id, plan.run, Phase.STARTING)
    ET.SubElement(domain, "metadata").append(_mark_element(mark))
    _text(domain, "memory", str(plan.memory_bytes // _KIB), unit="KiB", dumpCore="off")
    if plan.lock_memory:
        # Without a hard limit libvirt lets QEMU lock all that it needs, its own heap with the disk key too.
        ET.SubElement(ET.SubElement(domain, "memoryBacking"), "locked")
    _text(domain, "vcpu", str(plan.vcpus))
    _boot(domain, plan.boot)
    features = ET.SubElement(domain, "features")
    ET.SubElement(features, "acpi")
    ET.SubElement(features, "apic")
    _cpu(domain, plan.accelerator)
    ET.SubElement(domain, "clock", offset="utc")
    _text(domain, "on_poweroff", "destroy")
    _text(domain, "on_reboot", "restart")
    _text(domain, "on_crash", "destroy")
    # libvirt must label what it makes itself (key file, sockets); the disks it leaves alone, see below.
    label = ET.SubElement(domain, "seclabel", type="static", model="dac", relabel="yes")
    _text(label, "label", f"+{plan.uid}:+{plan.uid}")
    _devices(domain, plan, secrets)
    return ET.tostring(domain, encoding="unicode")


def mark_xml(mark: Mark) -> str:
    """Our mark by itself, as libvirt takes it for a running domain: it adds the namespace itself."""
    return ET.tostring(_mark_element(mark, "guest"), encoding="unicode")


def _mark_element(mark: Mark, tag: str = f"{{{NAMESPACE}}}guest") -> ET.Element:
    return ET.Element(
        tag,
        instance=mark.instance,
        id=mark.guest_id,
        run=mark.run,
        phase=mark.phase,
    )


def _cpu(domain: ET.Element, accelerator: str) -> None:
    if accelerator == "kvm":
        ET.SubElement(domain, "cpu", mode="host-passthrough")
        return
    # The plainest CPU is the fastest to emulate: a Debian 12 is up after 15 s with it, and after 24 s with `max`.
    cpu = ET.SubElement(domain, "cpu", mode="custom", match="exact", check="none")
    _text(cpu, "model", "qemu64", fallback="forbid")


def _boot(domain: ET.Element, boot: DirectBoot | None) -> None:
    operating_system = ET.SubElement(domain, "os")
    _text(operating_system, "type", "hvm", arch="x86_64", machine="q35")
    if boot is None:
        # Stateless: the firmware's variables would be a file that nobody encrypts and nobody removes.
        _text(operating_system, "loader", str(FIRMWARE), readonly="yes", type="pflash", stateless="yes")
        ET.SubElement(operating_system, "boot", dev="hd")
    else:
        _text(operating_system, "kernel", str(boot.kernel))
        _text(operating_system, "initrd", str(boot.initrd))
        _text(operating_system, "cmdline", boot.command_line)


def _devices(domain: ET.Element, plan: DomainPlan, secrets: Mapping[str, str]) -> None:
    devices = ET.SubElement(domain, "devices")
    _text(devices, "emulator", str(EMULATOR))
    for planned in plan.disks:
        _disk(devices, planned, secrets[planned.target])
    ET.SubElement(devices, "controller", type="usb", model="none")
    if plan.network is not None:
        interface = ET.SubElement(devices, "interface", type="network")
        ET.SubElement(interface, "source", network=plan.network)
        ET.SubElement(interface, "mac", address=plan.mac)
        ET.SubElement(interface, "model", type="virtio")
        # Guests share a bridge and cannot reach each other over it.
        ET.SubElement(interface, "port", isolated="yes")
        # No option ROM: guests do not boot from the network.
        ET.SubElement(interface, "rom", enabled="no")
    serial = ET.SubElement(devices, "serial", type="pty")
    ET.SubElement(serial, "target", type="isa-serial", port="0")
    console = ET.SubElement(devices, "console", type="pty")
    ET.SubElement(console, "target", type="serial", port="0")
    channel = ET.SubElement(devices, "channel", type="unix")
    ET.SubElement(channel, "target", type="virtio", name=AGENT_CHANNEL)
    rng = ET.SubElement(devices, "rng", model="virtio")
    _text(rng, "backend", "/dev/urandom", model="random")
    ET.SubElement(devices, "memballoon", model="none")


def _disk(devices: ET.Element, planned: PlannedDisk, secret: str) -> None:
    disk = ET.SubElement(devices, "disk", type="file", device="disk")
    ET.SubElement(disk, "driver", name="qemu", type="qcow2", cache="none", discard="unmap")
    source = ET.SubElement(disk, "source", file=str(planned.path))
    # The file belongs to the guest's user from its creation on; libvirt would give it away after a stop.
    ET.SubElement(source, "seclabel", model="dac", relabel="no")
    encryption = ET.SubElement(source, "encryption", format="luks")
    ET.SubElement(encryption, "secret", type="passphrase", uuid=secret)
    # Said outright: a backing file named in the disk's own header is never opened.
    ET.SubElement(disk, "backingStore")
    ET.SubElement(disk, "target", dev=planned.target, bus="virtio")
    if planned.read_only:
        ET.SubElement(disk, "readonly")


def _text(parent: ET.Element, tag: str, text: str, **attributes: str) -> None:
    ET.SubElement(parent, tag, attributes).text = text
