"""Writes an initramfs: a cpio archive in the "newc" form (cpio(5); Documentation/driver-api/early-userspace).

The kernel reads it, so nothing else is needed to make one; times and owners are zero, so that the same
members give the same bytes.
"""

from collections.abc import Iterable
from dataclasses import dataclass

EXECUTABLE = 0o100755
FILE = 0o100644
DIRECTORY = 0o040755
SYMLINK = 0o120777

_MAGIC = b"070701"
_TRAILER = "TRAILER!!!"


@dataclass(frozen=True, slots=True)
class Member:
    """One member of an archive.

    Attributes:
        name: without a leading slash; its folder comes before it.
        mode: type and permissions, as in `st_mode`.
        content: of a file; where a symbolic link points.
        device: major and minor number of a device.
    """

    name: str
    mode: int
    content: bytes = b""
    device: tuple[int, int] = (0, 0)


def newc_archive(members: Iterable[Member]) -> bytes:
    """The archive's bytes."""
    numbered = enumerate([*members, Member(_TRAILER, 0)], 1)
    return b"".join(_member(number, member) for number, member in numbered)


def _member(number: int, member: Member) -> bytes:
    name = member.name.encode() + b"\0"
    fields = (number, member.mode, 0, 0, 1, 0, len(member.content), 0, 0, *member.device, len(name), 0)
    header = _MAGIC + b"".join(b"%08x" % field for field in fields) + name
    return _padded(header) + _padded(member.content)


def _padded(content: bytes) -> bytes:
    return content.ljust(-(-len(content) // 4) * 4, b"\0")
