from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vault.guests.domain_xml import Mark, PlannedDisk, domain_xml
from vault.guests.live_domain import differences, disk_paths, read_mark

from .plans import GUEST_ID, PLAN, SECRETS, parsed

ASKED = domain_xml(PLAN, SECRETS)


def test_every_disk_is_opened_by_its_own_secret_and_leans_on_no_other_file() -> None:
    disks = parsed(ASKED).findall("./devices/disk")
    found = {
        d.find("target").get("dev"): d.find("./source/encryption/secret").get("uuid")  # type: ignore[union-attr]
        for d in disks
    }
    assert found == SECRETS
    assert all(d.find("backingStore") is not None and len(d.find("backingStore")) == 0 for d in disks)  # type: ignore[arg-type]
    assert [d.find("readonly") is not None for d in disks] == [False, True]


def test_a_disk_without_a_secret_cannot_be_planned() -> None:
    with pytest.raises(KeyError):
        domain_xml(PLAN, {"vda": SECRETS["vda"]})


def test_the_guests_memory_leaves_by_no_door() -> None:
    root = parsed(ASKED)
    assert root.find("memory").get("dumpCore") == "off"  # type: ignore[union-attr]
    for tag in ("graphics", "video", "hostdev", "filesystem", "shmem", "redirdev", "sound"):
        assert root.find(f"./devices/{tag}") is None
    assert root.find("./devices/memballoon").get("model") == "none"  # type: ignore[union-attr]
    assert root.findtext("on_crash") == "destroy"
    assert root.findtext("on_reboot") == "restart"


def test_each_guest_runs_as_its_own_user_and_its_port_is_isolated() -> None:
    root = parsed(ASKED)
    assert root.findtext("./seclabel/label") == "+1000001:+1000001"
    assert root.find("./devices/interface/port").get("isolated") == "yes"  # type: ignore[union-attr]


def test_software_emulation_kvm_and_firmware_are_said_outright() -> None:
    assert parsed(ASKED).get("type") == "qemu"
    assert parsed(domain_xml(replace(PLAN, accelerator="kvm"), SECRETS)).get("type") == "kvm"
    firmware = parsed(domain_xml(replace(PLAN, boot=None), SECRETS))
    assert firmware.find("./os/loader").get("stateless") == "yes"  # type: ignore[union-attr]
    assert firmware.find("./os/nvram") is None


def test_memory_is_locked_where_the_host_swaps() -> None:
    locked = parsed(domain_xml(replace(PLAN, lock_memory=True), SECRETS))
    assert locked.find("./memoryBacking/locked") is not None
    assert parsed(ASKED).find("./memoryBacking/locked") is None


_TEXT = st.text(
    st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="\ufffe\uffff"), max_size=40
)


@given(name=_TEXT, path=_TEXT, line=_TEXT)
def test_no_text_of_a_plan_becomes_an_element(name: str, path: str, line: str) -> None:
    assert PLAN.boot is not None
    plan = replace(
        PLAN,
        name=name,
        disks=(PlannedDisk("vda", Path("/") / path),),
        boot=replace(PLAN.boot, command_line=line),
    )
    root, usual = parsed(domain_xml(plan, SECRETS)), parsed(ASKED)
    assert root.findtext("name") == name
    assert (root.findtext("./os/cmdline") or "") == line
    assert {e.tag for e in root.iter()} <= {e.tag for e in usual.iter()}


def test_the_mark_is_read_back_and_a_foreign_domain_has_none() -> None:
    assert read_mark(ASKED) == Mark("main", GUEST_ID, "7-42", "starting")
    assert read_mark("<domain><metadata><guest instance='main' id='x'/></metadata></domain>") is None
    assert read_mark("<domain/>") is None


def test_every_file_a_domain_names_as_a_disk_is_seen_also_behind_another() -> None:
    foreign = (
        "<domain><devices><disk><source file='/a'/><backingStore><source file='/b'/></backingStore></disk>"
        "<disk><source dev='/dev/x'/></disk><disk><mirror><source file='/c'/></mirror></disk>"
        "<serial><source path='/d'/></serial></devices></domain>"
    )
    assert disk_paths(foreign) == ("/a", "/b", "/c")


def test_what_libvirt_adds_by_itself_is_no_difference() -> None:
    live = parsed(ASKED)
    live.set("id", "7")
    devices = live.find("./devices")
    assert devices is not None
    ET.SubElement(devices, "controller", type="pci", model="pcie-root")
    ET.SubElement(devices, "input", type="mouse", bus="ps2")
    for source in devices.findall("./disk/source"):
        source.set("index", "1")
    assert differences(ASKED, ET.tostring(live, encoding="unicode")) == ()


_QEMU = "{http://libvirt.org/schemas/domain/qemu/1.0}"
_TAMPERINGS = {
    "emulator": lambda live: setattr(live.find("./devices/emulator"), "text", "/evil/qemu"),
    "extra arguments": lambda live: ET.SubElement(live, f"{_QEMU}commandline"),
    "user": lambda live: setattr(live.find("./seclabel/label"), "text", "+0:+0"),
    "kernel": lambda live: setattr(live.find("./os/kernel"), "text", "/evil/vmlinuz"),
    "initrd": lambda live: setattr(live.find("./os/initrd"), "text", "/evil/initrd"),
    "kernel command line": lambda live: setattr(live.find("./os/cmdline"), "text", "init=/bin/sh"),
    "firmware": lambda live: setattr(ET.SubElement(live.find("./os"), "loader"), "text", "/evil/fw"),
    "disks": lambda live: live.find("./devices/disk/source").set("file", "/disks/other.qcow2"),
    "interfaces": lambda live: live.find("./devices/interface/port").set("isolated", "no"),
    "channels": lambda live: ET.SubElement(live.find("./devices"), "channel", type="spicevmc"),
    "serial ports": lambda live: ET.SubElement(live.find("./devices"), "serial", type="tcp"),
    "unplanned devices": lambda live: ET.SubElement(live.find("./devices"), "hostdev"),
    "memory": lambda live: setattr(live.find("./memory"), "text", "1"),
    "core dumps": lambda live: live.find("./memory").set("dumpCore", "on"),
    "random source": lambda live: setattr(live.find("./devices/rng/backend"), "text", "/dev/zero"),
    "uuid": lambda live: setattr(live.find("./uuid"), "text", SECRETS["vda"]),
    "type": lambda live: live.set("type", "kvm"),
}


@pytest.mark.parametrize("part", _TAMPERINGS)
def test_a_live_domain_that_was_tampered_with_is_named_by_the_part(part: str) -> None:
    live = parsed(ASKED)
    _TAMPERINGS[part](live)  # type: ignore[no-untyped-call]
    assert differences(ASKED, ET.tostring(live, encoding="unicode")) == (part,)


@pytest.mark.parametrize(
    "tamper",
    [
        lambda disk: disk.find("./source/encryption/secret").set("uuid", SECRETS["vdb"]),
        lambda disk: disk.find("source").remove(disk.find("./source/encryption")),
        lambda disk: disk.find("driver").set("type", "raw"),
        lambda disk: ET.SubElement(disk.find("backingStore"), "source", file="/etc/shadow"),
        lambda disk: ET.SubElement(disk, "mirror"),
        lambda disk: ET.SubElement(disk, "readonly"),
    ],
)
def test_a_disk_that_is_opened_otherwise_is_a_difference(tamper: object) -> None:
    live = parsed(ASKED)
    tamper(live.find("./devices/disk"))  # type: ignore[operator]
    assert differences(ASKED, ET.tostring(live, encoding="unicode")) == ("disks",)
