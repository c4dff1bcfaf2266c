"""A folder for files that must never touch a disk: it lies on memory that does not swap, or it is refused.

ramfs never swaps. tmpfs does as soon as the host has swap, so it counts only while there is none, or where it
is mounted with `noswap`.
"""

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vault.disks.files import host_failure
from vault.errors import HostUnprotected

_MOUNTS = Path("/proc/self/mountinfo")
_SWAPS = Path("/proc/swaps")
_MODE = 0o700


class RamDir:
    """A private folder on memory that does not swap."""

    def __init__(self, folder: Path, *, mounts: Path = _MOUNTS, swaps: Path = _SWAPS) -> None:
        """Make the folder if it is absent, and check where it lies.

        Args:
            folder: the folder; its parent must exist.
            mounts: where the kernel says what is mounted.
            swaps: where the kernel says what swaps.

        Raises:
            HostUnprotected: it lies on a disk, may be swapped, or others may enter it.
            HostFailure: it cannot be made.
        """
        self.folder = folder
        try:
            folder.mkdir(mode=_MODE, exist_ok=True)
            status = folder.lstat()
        except OSError as error:
            raise host_failure(error, folder) from error
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o077:
            raise HostUnprotected(
                f"Others may enter the folder {folder}.", f"Make it yours alone: chmod 700 {folder}"
            )
        _require_memory(folder, status, mounts, swaps)

    @contextmanager
    def file(self, content: bytes | bytearray = b"", size_bytes: int | None = None) -> Iterator[Path]:
        """Make a file that only we may read, and overwrite and remove it after the block.

        Args:
            content: what to write into it.
            size_bytes: length of the file if longer than the content; the rest reads as zeros.

        Raises:
            HostFailure: it cannot be made.
        """
        path = self.folder / secrets.token_hex(8)
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise host_failure(error, path) from error
        try:
            _write_all(descriptor, content)
            if size_bytes is not None:
                os.ftruncate(descriptor, size_bytes)
            yield path
        finally:
            _overwrite(descriptor)
            os.close(descriptor)
            path.unlink(missing_ok=True)

    def sweep(self) -> int:
        """Remove what a killed process left here, before anything uses it; returns how many files.

        Raises:
            HostFailure: something there cannot be removed.
        """
        left = list(self.folder.iterdir())
        for path in left:
            try:
                path.unlink()
            except OSError as error:
                raise host_failure(error, path) from error
        return len(left)


def _require_memory(folder: Path, status: os.stat_result, mounts: Path, swaps: Path) -> None:
    # statfs(2) gives no portable structure to Python; the mount table has the same answer by device number.
    device = f"{os.major(status.st_dev)}:{os.minor(status.st_dev)}"
    kinds = set()
    options: set[str] = set()
    for line in mounts.read_text(encoding="utf-8").splitlines():
        before, _, after = line.partition(" - ")
        if before.split()[2] == device:
            kind, _, rest = after.split(maxsplit=2)
            kinds.add(kind)
            options.update(rest.split(","))
    swapping = len(swaps.read_text(encoding="utf-8").splitlines()) > 1
    if kinds == {"ramfs"} or (kinds == {"tmpfs"} and (not swapping or "noswap" in options)):
        return
    where = "may be swapped to a disk" if kinds == {"tmpfs"} else "lies on a disk"
    raise HostUnprotected(
        f"The folder {folder} {where}, so secrets in it could be stolen with the disk.",
        f"Mount memory that does not swap: mount -t ramfs -o mode=0711 ramfs {folder.parent}",
    )


def _write_all(descriptor: int, content: bytes | bytearray) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]


def _overwrite(descriptor: int) -> None:
    length = os.fstat(descriptor).st_size
    os.lseek(descriptor, 0, os.SEEK_SET)
    block = bytes(min(length, 1 << 20))
    while length > 0:
        length -= os.write(descriptor, block[:length])
