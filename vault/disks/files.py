"""Opening, making and removing disk files so that a kill leaves a whole file or a `.part`, never half a disk.

Links are refused: a disk is the file itself. Names appear by `link`, which refuses a name that is taken,
after the bytes are forced to the disk.
"""

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from audit.log.durable import sync_directory
from vault.errors import Conflict, HostFailure

#: What an operation in progress calls its file. Recovery removes such files.
PART_SUFFIX = ".part"


@contextmanager
def opened(path: Path, flags: int) -> Iterator[int]:
    """Open an existing ordinary file, never through a link, and close it again.

    Raises:
        HostFailure: it is not there, is no ordinary file, or cannot be opened.
    """
    try:
        # O_NONBLOCK: a FIFO put in the disk's place must not hang the daemon.
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise host_failure(error, path) from error
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise HostFailure(f"{path} is not an ordinary file.", "Put the disk's own file there.")
        yield descriptor
    except OSError as error:
        raise host_failure(error, path) from error
    finally:
        os.close(descriptor)


def new_part(target: Path) -> Path:
    """Name a file of its own to prepare `target` in, in the same folder.

    Raises:
        Conflict: `target` exists already.
    """
    require_absent(target)
    return target.with_name(f"{target.name}.{secrets.token_hex(4)}{PART_SUFFIX}")


def require_absent(target: Path) -> None:
    """Check that nothing has this name, not even a dangling link.

    Raises:
        Conflict: something has.
    """
    if os.path.lexists(target):
        raise Conflict(f"The disk {target} exists already.", "Delete what uses it, or choose another name.")


def create_part(part: Path) -> int:
    """Make a new file that only we may read, open for reading and writing; the caller closes it.

    Raises:
        HostFailure: it cannot be made.
    """
    try:
        return os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise host_failure(error, part) from error


def publish(part: Path, target: Path) -> None:
    """Force a finished part to the disk and give it its name; durable on return.

    Raises:
        Conflict: the name is taken.
        HostFailure: the storage failed.
    """
    with opened(part, os.O_RDWR) as descriptor:
        os.fsync(descriptor)
    try:
        os.link(part, target, follow_symlinks=False)
        part.unlink()
        sync_directory(target.parent)
    except FileExistsError as error:
        raise Conflict(f"The disk {target} exists already.", "Delete what uses it first.") from error
    except OSError as error:
        raise host_failure(error, target) from error


def remove(path: Path) -> bool:
    """Remove a file's name; durable on return. Says whether there was one.

    Raises:
        HostFailure: the storage failed.
    """
    try:
        path.unlink()
        sync_directory(path.parent)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise host_failure(error, path) from error
    return True


def write_at(descriptor: int, content: bytes, offset: int) -> None:
    """Write all of `content` at an offset in bytes; raises OSError."""
    view = memoryview(content)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written


def host_failure(error: OSError, path: Path) -> HostFailure:
    """An error of the file system as one sentence and what to do."""
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return HostFailure(
                f"There is no space left for {path}.", "Free some space on that device, then try again."
            )
        case errno.ENOENT:
            return HostFailure(
                f"{path} or its folder does not exist.", "Make the folder, or restore the file."
            )
        case errno.ELOOP:
            return HostFailure(f"{path} is a link.", "Put the file itself there, not a link to it.")
        case _:
            reason = os.strerror(error.errno) if error.errno else "unknown reason"
            return HostFailure(f"{path} could not be used: {reason}.", "Look at the device and its rights.")
