"""What lies under a path: the mount table of a process, and the swap areas in use.

Read from /proc (proc(5)), so that the question "does this path lie on memory that does not swap?" is
answered by the kernel and in the mount namespace of the process that writes there (libvirtd), which need
not be ours.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path

_OCTAL = re.compile(r"\\([0-7]{3})")
_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Mount:
    """One line of mountinfo: where, which file system, and the options that matter here."""

    point: Path
    root: str
    device: int
    file_system: str
    source: str
    options: frozenset[str]


def mounts_of(pid: int | None = None) -> tuple[Mount, ...]:
    """Mounts as the process `pid` sees them (ours when None), in mount order.

    Raises:
        OSError: there is no such process, or its table may not be read.
    """
    table = (_PROC / (str(pid) if pid else "self") / "mountinfo").read_text(
        encoding="utf-8", errors="surrogateescape"
    )
    return tuple(_parse(line) for line in table.splitlines())


def mount_under(path: Path, pid: int | None = None) -> Mount | None:
    """The mount that holds `path` as the process `pid` sees it; None when the path does not exist there."""
    seen = _PROC / str(pid) / "root" / path.relative_to("/") if pid else path
    try:
        device = os.stat(seen).st_dev  # noqa: PTH116 - follows the path inside the other namespace
    except (FileNotFoundError, NotADirectoryError):
        return None
    covering = [m for m in mounts_of(pid) if m.device == device and path.is_relative_to(m.point)]
    return max(covering, key=lambda m: len(m.point.parts), default=None)


def active_swap(proc: Path = _PROC) -> tuple[str, ...]:
    """Names of the swap areas in use; empty when the host does not swap."""
    try:
        lines = (proc / "swaps").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:  # a kernel built without swap
        return ()
    return tuple(line.split()[0] for line in lines[1:] if line.strip())


def never_swaps(mount: Mount, swap: tuple[str, ...]) -> bool:
    """Whether what is written to this mount stays in memory that is never written to a disk.

    A ramfs is never swapped; a tmpfs is, unless no swap is active or it is mounted `noswap` (tmpfs(5)).
    """
    if mount.file_system == "ramfs":
        return True
    return mount.file_system == "tmpfs" and (not swap or "noswap" in mount.options)


def _parse(line: str) -> Mount:
    left, _, right = line.partition(" - ")
    fields, tail = left.split(), right.split()
    major, _, minor = fields[2].partition(":")
    return Mount(
        point=Path(_unescape(fields[4])),
        root=_unescape(fields[3]),
        device=os.makedev(int(major), int(minor)),
        file_system=tail[0],
        source=_unescape(tail[1]) if len(tail) > 1 else "",
        options=frozenset(fields[5].split(",")) | frozenset(tail[2].split(",") if len(tail) > 2 else ()),
    )


def _unescape(text: str) -> str:
    return _OCTAL.sub(lambda match: chr(int(match.group(1), 8)), text)


def file_system_of(path: Path) -> str | None:
    """Type of the file system that `path` lies on; None when it does not exist."""
    mount = mount_under(path)
    return None if mount is None else mount.file_system
