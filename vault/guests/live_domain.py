"""Reads what libvirt says of a domain, and compares it with what was asked for, before it may run. Pure.

The comparison names what must be exactly as planned, and refuses devices that were not planned at all: each
would be a way out for what the guest knows.
"""

from xml.etree import ElementTree as ET

from vault.guests.domain_xml import NAMESPACE, Mark

_QEMU_NAMESPACE = "{http://libvirt.org/schemas/domain/qemu/1.0}"
#: What a guest of ours has, and what libvirt adds to every domain by itself; anything else is refused.
_EXPECTED_DEVICES = frozenset(
    {
        *("emulator", "disk", "controller", "interface", "serial", "console", "channel", "rng", "memballoon"),
        *("input", "audio", "watchdog"),
    }
)


def read_mark(xml: str) -> Mark | None:
    """Our mark in a domain's XML, or None where it is not ours."""
    mark = _parse(xml).find(f"./metadata/{{{NAMESPACE}}}guest")
    if mark is None:
        return None
    return Mark(mark.get("instance", ""), mark.get("id", ""), mark.get("run", ""), mark.get("phase", ""))


def disk_paths(xml: str) -> tuple[str, ...]:
    """Every file that a domain names as a disk, also behind another."""
    found = {
        source.get("file", "")
        for disk in _parse(xml).findall("./devices/disk")
        for source in disk.iter("source")
    }
    return tuple(sorted(found - {""}))


def differences(asked: str, live: str) -> tuple[str, ...]:
    """Names of what is not as asked for; empty when the live domain is what was planned."""
    wanted, found = _essence(asked), _essence(live)
    return tuple(sorted(part for part in wanted if wanted[part] != found[part]))


def _essence(xml: str) -> dict[str, object]:
    root = _parse(xml)
    devices = root.findall("./devices/*")
    return {
        "type": root.get("type"),
        "uuid": root.findtext("./uuid"),
        "name": root.findtext("./name"),
        "memory": root.findtext("./memory"),
        "core dumps": _attribute(root.find("./memory"), "dumpCore"),
        "locked memory": root.find("./memoryBacking/locked") is not None,
        "vcpus": root.findtext("./vcpu"),
        "firmware": (root.findtext("./os/loader"), root.findtext("./os/nvram")),
        "kernel": root.findtext("./os/kernel"),
        "initrd": root.findtext("./os/initrd"),
        "kernel command line": root.findtext("./os/cmdline"),
        "emulator": root.findtext("./devices/emulator"),
        "extra arguments": sorted(e.tag for e in root if e.tag.startswith(_QEMU_NAMESPACE)),
        "user": [e.findtext("label") for e in root.findall("./seclabel") if e.get("model") == "dac"],
        "disks": sorted(_disk(disk) for disk in root.findall("./devices/disk")),
        "interfaces": sorted(_interface(interface) for interface in root.findall("./devices/interface")),
        "channels": sorted(
            (channel.get("type", ""), _attribute(channel.find("target"), "name"))
            for channel in root.findall("./devices/channel")
        ),
        "serial ports": [serial.get("type") for serial in root.findall("./devices/serial")],
        "random source": [rng.findtext("backend") for rng in root.findall("./devices/rng")],
        "memory balloon": [_attribute(e, "model") for e in root.findall("./devices/memballoon")],
        "unplanned devices": sorted({e.tag for e in devices} - _EXPECTED_DEVICES),
    }


def _disk(disk: ET.Element) -> tuple[str, ...]:
    return (
        _attribute(disk.find("target"), "dev"),
        _attribute(disk.find("source"), "file"),
        _attribute(disk.find("driver"), "type"),
        _attribute(disk.find("./source/encryption"), "format"),
        _attribute(disk.find("./source/encryption/secret"), "uuid"),
        "read-only" if disk.find("readonly") is not None else "",
        "leans on another file" if disk.find("./backingStore/source") is not None else "",
        "is copied to another file" if disk.find("./mirror") is not None else "",
    )


def _interface(interface: ET.Element) -> tuple[str, ...]:
    return (
        interface.get("type", ""),
        _attribute(interface.find("mac"), "address"),
        _attribute(interface.find("source"), "network"),
        _attribute(interface.find("port"), "isolated"),
    )


def _attribute(element: ET.Element | None, name: str) -> str:
    return "" if element is None else element.get(name, "")


def _parse(xml: str) -> ET.Element:
    return ET.fromstring(xml)  # noqa: S314 - libvirt's own output, which has no document type
