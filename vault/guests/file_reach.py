"""Looks, before a start, whether a guest's own user can get at its disks; names the folder in the way.

QEMU's message for this is "Permission denied" on a file whose own mode is right: the closed folder above it
(a home with mode 0700, /root) is what people overlook.
"""

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from vault.errors import HostFailure
from vault.guests.domain_xml import PlannedDisk

_READ_WRITE = stat.S_IRUSR | stat.S_IWUSR


def require_reachable(disks: Iterable[PlannedDisk], uid: int) -> None:
    """Check that each disk is a file of the user `uid` that this user can open.

    Raises:
        HostFailure: one sentence says which file or folder is in the way.
    """
    for disk in disks:
        try:
            _require_passable(disk.path, uid)
            status = os.lstat(disk.path)
        except FileNotFoundError as error:
            raise HostFailure(
                f"The guest's disk {disk.path} is not there.",
                "Restore it from a backup; look at the findings.",
            ) from error
        if not stat.S_ISREG(status.st_mode):
            raise HostFailure(
                f"The guest's disk {disk.path} is not an ordinary file.", "Look who changed it."
            )
        if status.st_uid != uid or status.st_mode & _READ_WRITE != _READ_WRITE:
            raise HostFailure(
                f"The guest's disk {disk.path} does not belong to the guest's user {uid}.",
                f"Run `chown {uid}:{uid} {disk.path} && chmod 0600 {disk.path}`, and look who changed it.",
            )


def _require_passable(path: Path, uid: int) -> None:
    for folder in reversed(path.resolve().parents):
        status = folder.stat()
        needed = stat.S_IXUSR if status.st_uid == uid else stat.S_IXOTH
        if not status.st_mode & needed:
            raise HostFailure(
                f"QEMU runs the guest as user {uid}, who may not enter {folder}.",
                f"Keep the data folder elsewhere, such as /var/lib/strongroom, or run `chmod o+x {folder}`.",
            )
