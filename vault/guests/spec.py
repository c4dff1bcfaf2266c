"""What a guest may be: name, CPUs, memory, disk, labels, checked before anything is done."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from vault.errors import BadInput

#: The libvirt domain, the cloud-init host name and pages use it: a DNS label.
_NAME = re.compile(r"[a-z][a-z0-9-]{0,38}[a-z0-9]")
_LABEL = re.compile(r"[a-z][a-z0-9-]{0,30}")
_SIZE = re.compile(r"([0-9]{1,6})([KMGT])(i?B)?")
_UNITS = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
MIN_MEMORY_BYTES = 64 * 2**20
#: What the host itself keeps.
HOST_RESERVE_BYTES = 512 * 2**20
MIN_GUEST_DISK_BYTES = 64 * 2**20
MAX_GUEST_DISK_BYTES = 16 * 2**40
MAX_LABELS = 16
_SECTOR_BYTES = 512
_MIB = 2**20


@dataclass(frozen=True, slots=True)
class GuestSpec:
    """A guest that can be made.

    Raises:
        BadInput: one sentence says which part cannot be.
    """

    id: str
    name: str
    vcpus: int
    memory_bytes: int
    disk_bytes: int
    labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise BadInput(
                f"{self.name!r} cannot name a guest.",
                "Use 2 to 40 lower-case letters, digits and hyphens, beginning with a letter.",
            )
        cpus = os.cpu_count() or 1
        if not 1 <= self.vcpus <= cpus:
            raise BadInput(f"A guest here can have 1 to {cpus} vCPUs, not {self.vcpus}.")
        most = host_memory_bytes() - HOST_RESERVE_BYTES
        if not MIN_MEMORY_BYTES <= self.memory_bytes <= most:
            raise BadInput(
                f"A guest here can have 64M to {most // 2**20}M of memory, not {self.memory_bytes // 2**20}M."
            )
        if self.memory_bytes % _MIB:
            raise BadInput(f"A guest's memory is given in whole MiB, not as {self.memory_bytes} bytes.")
        if (
            self.disk_bytes % _SECTOR_BYTES
            or not MIN_GUEST_DISK_BYTES <= self.disk_bytes <= MAX_GUEST_DISK_BYTES
        ):
            raise BadInput(
                f"A guest's disk can have 64M to 16T in steps of 512 bytes, not {self.disk_bytes} bytes."
            )
        if len(self.labels) > MAX_LABELS:
            raise BadInput(f"A guest can have at most {MAX_LABELS} labels.")
        for label in self.labels:
            if not _LABEL.fullmatch(label):
                raise BadInput(
                    f"{label!r} cannot be a label.",
                    "Use lower-case letters, digits and hyphens, such as ephi.",
                )


def parse_size(text: str) -> int:
    """Read a size such as `512M` or `2G` (powers of 1024) as bytes.

    Raises:
        BadInput: it is not written so, or is zero.
    """
    found = _SIZE.fullmatch(text.strip())
    if found is None or int(found[1]) == 0:
        raise BadInput(f"{text!r} is not a size.", "Write a number and a unit: 512M, 2G.")
    return int(found[1]) * _UNITS[found[2]]


def host_memory_bytes() -> int:
    """All memory of this host."""
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    raise BadInput("This host does not say how much memory it has.")
