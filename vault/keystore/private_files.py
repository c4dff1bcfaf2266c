"""Files that only their owner may reach: the key store's folder (0700) and what lies in it (0600).

Looser permissions are refused, not mended: somebody may already have read what lay open, and should know.
"""

import os
import stat
from pathlib import Path

from audit.log.durable import sync_directory
from vault.errors import HostFailure, HostUnprotected, NotFound

FOLDER_MODE = 0o700
FILE_MODE = 0o600


def make_private_folder(folder: Path) -> None:
    """Make a folder that only its owner may enter; one that exists must already be so.

    Raises:
        HostFailure: it cannot be made.
        HostUnprotected: it exists, and others may enter it.
    """
    try:
        folder.mkdir(mode=FOLDER_MODE)
    except FileExistsError:
        require_private_folder(folder)
    except OSError as error:
        raise HostFailure(
            f"The folder {folder} cannot be made: {os.strerror(error.errno or 0)}.",
            "Make its parent folder, or choose another place.",
        ) from error
    else:
        sync_directory(folder.parent)


def require_private_folder(folder: Path) -> None:
    """Check that a folder is a real folder of ours that nobody else may enter.

    Raises:
        NotFound: it does not exist.
        HostUnprotected: others may enter it, or somebody else owns it; the hint is the command that mends it.
    """
    status = _status(folder)
    if not stat.S_ISDIR(status.st_mode):
        raise HostUnprotected(f"{folder} is not a folder.", "Name the folder itself, not a link to it.")
    _require_private(folder, status, FOLDER_MODE)


def require_private_file(file: Path) -> None:
    """Check that a file is a real file of ours that nobody else may read or write.

    Raises:
        NotFound: it does not exist.
        HostUnprotected: as for a folder.
    """
    status = _status(file)
    if not stat.S_ISREG(status.st_mode):
        raise HostUnprotected(
            f"{file} is not an ordinary file.", "Put the file itself there, not a link to it."
        )
    _require_private(file, status, FILE_MODE)


def _status(path: Path) -> os.stat_result:
    try:
        return path.lstat()
    except FileNotFoundError as error:
        raise NotFound(f"{path} does not exist.") from error
    except OSError as error:
        raise HostFailure(f"{path} cannot be looked at: {os.strerror(error.errno or 0)}.") from error


def _require_private(path: Path, status: os.stat_result, mode: int) -> None:
    if status.st_uid != os.geteuid():
        raise HostUnprotected(
            f"{path} belongs to another user of this host (uid {status.st_uid}).",
            f"Find out why; then: chown {os.geteuid()} {path}",
        )
    loose = stat.S_IMODE(status.st_mode) & ~mode
    if loose:
        raise HostUnprotected(
            f"Others may reach {path} (mode {stat.S_IMODE(status.st_mode):04o}).",
            f"Find out who has read it; then: chmod {mode:o} {path}",
        )
