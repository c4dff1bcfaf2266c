"""Plans of domains for the tests."""

from pathlib import Path
from xml.etree import ElementTree as ET

from vault.guests.domain_xml import DirectBoot, DomainPlan, PlannedDisk

GUEST_ID = "3f0c1c52-6f0e-4f5e-9a54-0c7f3d1f0b11"
SECRETS = {"vda": "11111111-1111-4111-8111-111111111111", "vdb": "22222222-2222-4222-8222-222222222222"}
PLAN = DomainPlan(
    instance="main",
    guest_id=GUEST_ID,
    name="clinic-db",
    accelerator="tcg",
    vcpus=1,
    memory_bytes=2**30,
    uid=1_000_001,
    mac="52:54:00:12:34:56",
    network="strongroom",
    disks=(
        PlannedDisk("vda", Path("/disks/root.qcow2")),
        PlannedDisk("vdb", Path("/disks/seed.qcow2"), read_only=True),
    ),
    boot=DirectBoot(Path("/images/vmlinuz"), Path("/images/initrd.img"), "root=/dev/vda quiet"),
    run="7-42",
)


def parsed(xml: str) -> ET.Element:
    """XML that the test has just made."""
    return ET.fromstring(xml)  # noqa: S314
