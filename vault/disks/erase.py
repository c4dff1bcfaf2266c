"""Erases disks: first the keys that open them, then the file (NIST SP 800-88 Rev. 2, cryptographic erase)."""

import os
from dataclasses import dataclass
from pathlib import Path

from policies.vocabulary import Action, EntityRef
from vault.disks.files import PART_SUFFIX, opened, remove, write_at
from vault.disks.qcow2 import read_qcow2_header
from vault.errors import IntegrityFailure
from vault.permit import Permit

#: Erased at the least: the qcow2 header, its tables and the LUKS header, wherever a changed header says they
#: lie.
_ERASED_BYTES = 4 * 1024 * 1024
_MAX_ERASED_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class ErasedDisk:
    """What was erased.

    Attributes:
        existed: whether there was a file.
        erased_bytes: how many bytes from the file's beginning were overwritten and forced to the disk.
    """

    existed: bool
    erased_bytes: int


def erase_disk(permit: Permit, guest: EntityRef, path: Path) -> ErasedDisk:
    """Overwrite a disk's LUKS header and keyslots, force that to the disk, and remove the file.

    Without its keyslots the disk opens for nobody, its passphrase included. What cannot be reached from
    here: older blocks that a copy-on-write file system or flash keeps, and copies of the header
    elsewhere.

    Args:
        permit: to delete the guest, or to undo its creation.
        guest: whose disk it is.
        path: the disk; a link is refused; none there is no error, so that a deletion can be finished.

    Raises:
        HostFailure: the storage failed, or the path is no ordinary file.
    """
    permit.require(guest, Action.GUEST_DELETE, Action.GUEST_CREATE)
    if not os.path.lexists(path):
        return ErasedDisk(existed=False, erased_bytes=0)
    with opened(path, os.O_RDWR) as descriptor:
        erased_bytes = min(os.fstat(descriptor).st_size, _bytes_to_erase(descriptor))
        _overwrite(descriptor, erased_bytes)
    remove(path)
    return ErasedDisk(existed=True, erased_bytes=erased_bytes)


def remove_parts(permit: Permit, guest: EntityRef, folder: Path) -> tuple[str, ...]:
    """Erase what an operation that was killed left unfinished in a guest's folder.

    Returns:
        the names that were removed, sorted.
    """
    permit.require(guest, Action.GUEST_DELETE, Action.GUEST_CREATE)
    try:
        parts = sorted(path for path in folder.iterdir() if path.name.endswith(PART_SUFFIX))
    except FileNotFoundError:
        return ()
    for part in parts:
        erase_disk(permit, guest, part)
    return tuple(part.name for part in parts)


def _bytes_to_erase(descriptor: int) -> int:
    """How far the key material may reach; a header that cannot be read counts as one that lies."""
    try:
        luks = read_qcow2_header(descriptor).luks
    except IntegrityFailure:
        luks = None
    reach = luks.offset + luks.length if luks is not None else 0
    return min(max(reach, _ERASED_BYTES), _MAX_ERASED_BYTES)


def _overwrite(descriptor: int, length: int) -> None:
    write_at(descriptor, bytes(length), 0)
    os.fsync(descriptor)
