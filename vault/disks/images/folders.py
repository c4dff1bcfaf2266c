"""Folders that appear whole or not at all: made under a name that ends in `.part`, forced to the disk, renamed.

Recovery removes what still is a `.part`. A folder is never removed while anything is mounted below it.
"""

import hashlib
import os
import re
import secrets
import shutil
from pathlib import Path

from audit.log.durable import sync_directory, sync_file
from vault.disks.files import PART_SUFFIX, host_failure, opened
from vault.errors import Conflict, HostFailure

# Kernel and initrd are read by QEMU, which runs as another user; an image holds no secret.
_FOLDER_MODE = 0o755
# Large enough that hashing leaves the interpreter to other threads nearly all the time.
_CHUNK_BYTES = 1 << 20
_ESCAPED = re.compile(r"\\([0-7]{3})")


def make_root(root: Path) -> None:
    """Make the folder that holds images, if it is absent.

    Raises:
        HostFailure: it cannot be made.
    """
    try:
        root.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
    except OSError as error:
        raise host_failure(error, root) from error


def new_part(root: Path, name: str) -> Path:
    """Make a folder to prepare `root/name` in.

    Raises:
        HostFailure: it cannot be made.
    """
    part = root / f"{name}.{secrets.token_hex(4)}{PART_SUFFIX}"
    try:
        part.mkdir(mode=_FOLDER_MODE)
    except OSError as error:
        raise host_failure(error, part) from error
    return part


def publish(part: Path, target: Path) -> None:
    """Force a folder of files to the disk and give it its name; durable on return.

    Raises:
        Conflict: the name is taken.
        HostFailure: the storage failed.
    """
    try:
        for path in part.iterdir():
            sync_file(path)
        sync_directory(part)
        # rename(2) replaces an empty folder silently; none of ours is ever empty.
        if os.path.lexists(target):
            raise Conflict(f"{target} exists already.", "Remove it first.")
        part.rename(target)
        sync_directory(target.parent)
    except OSError as error:
        raise host_failure(error, target) from error


def discard(folder: Path) -> None:
    """Remove a folder and what is in it; durable on return, harmless when it is absent.

    It first gets the name of a part, so that a kill in between leaves no half image.

    Raises:
        HostFailure: something is mounted below it, or the storage failed.
    """
    try:
        if not folder.exists():
            return
        if not folder.name.endswith(PART_SUFFIX):
            part = folder.with_name(f"{folder.name}.{secrets.token_hex(4)}{PART_SUFFIX}")
            folder.rename(part)
            folder = part
        _require_no_mount_below(folder)
        shutil.rmtree(folder)
        sync_directory(folder.parent)
    except OSError as error:
        raise host_failure(error, folder) from error


def sha256_file(path: Path) -> str:
    """SHA-256 of an ordinary file, hex.

    Raises:
        HostFailure: it is absent, a link, or cannot be read.
    """
    digest = hashlib.sha256()
    buffer = memoryview(bytearray(_CHUNK_BYTES))
    with opened(path, os.O_RDONLY) as descriptor:
        while count := os.readv(descriptor, [buffer]):
            digest.update(buffer[:count])
    return digest.hexdigest()


def _require_no_mount_below(folder: Path) -> None:
    inside = str(folder.resolve()) + "/"
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        # proc(5): spaces and the like are written as \ooo.
        mounted = _ESCAPED.sub(lambda found: chr(int(found[1], 8)), line.split()[4])
        if mounted.startswith(inside):
            raise HostFailure(f"{mounted} is mounted below {folder}.", f"Unmount it: umount {mounted}")
