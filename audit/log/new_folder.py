"""A folder or tar that appears under its name only when it is whole, and durable then.

It is written beside its place under another name, and renamed at the end; nothing half-made stays behind.
"""

import errno
import os
import shutil
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from audit.errors import ExportFailed, TargetExists
from audit.log.durable import sync_directory, sync_file

#: How link(2) and rename(2) say that the target appeared meanwhile.
_TAKEN = frozenset({errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR})


class NewFolder:
    """A folder being written.

    Attributes:
        digests: SHA-256 of each file written so far, hex.
        size_bytes: their sizes together.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.digests: dict[str, str] = {}
        self.size_bytes = 0

    def write(self, name: str, parts: Iterable[bytes]) -> None:
        """Write a file, whose bytes are durable when this returns."""
        digest = sha256()
        path = self._path / name
        path.parent.mkdir(mode=0o700, exist_ok=True, parents=True)
        with path.open("xb") as file:
            os.fchmod(file.fileno(), 0o600)
            for part in parts:
                digest.update(part)
                file.write(part)
                self.size_bytes += len(part)
            file.flush()
            os.fsync(file.fileno())
        self.digests[name] = digest.hexdigest()

    def make(self, name: str) -> None:
        """Make a folder in it, also when no file comes into it."""
        (self._path / name).mkdir(mode=0o700)

    def finish(self) -> None:
        """Make all names durable."""
        for directory in (self._path, *(each for each in self._path.rglob("*") if each.is_dir())):
            sync_directory(directory)


@contextmanager
def new_folder(target: Path, *, as_tar: bool = False) -> Iterator[NewFolder]:
    """Write a folder within the block; it is at `target` when the block has ended without an error.

    Args:
        target: its name; the directory that it is in exists.
        as_tar: make a tar with the same files.

    Raises:
        TargetExists: there is something with this name.
        ExportFailed: it cannot be written.
    """
    target = target.absolute()  # not resolved: a link in the last place is an existing target
    staging = target.with_name(f".{target.name}.{os.urandom(4).hex()}.part")
    archive = staging.with_name(staging.name + ".tar")
    try:
        if os.path.lexists(target):
            raise _taken()
        staging.mkdir(mode=0o700)
        folder = NewFolder(staging)
        yield folder
        folder.finish()
        if as_tar:
            _pack(staging, archive)
            os.link(archive, target)  # unlike rename(2), it refuses to overwrite
        else:
            staging.rename(target)  # refuses whatever is not an empty folder
        sync_directory(target.parent)
    except OSError as error:
        if error.errno in _TAKEN:
            raise _taken() from error
        raise ExportFailed(
            f"The export cannot be written: {error.strerror}.", "Look at the target's directory and its disk."
        ) from error
    finally:
        archive.unlink(missing_ok=True)
        shutil.rmtree(staging, ignore_errors=True)


def _taken() -> TargetExists:
    return TargetExists("There is something with the export's name already.", "Choose another name.")


def _pack(folder: Path, archive: Path) -> None:
    """Make a tar of the folder's files, without owners and times, so that equal exports are equal."""
    with tarfile.open(archive, "x", format=tarfile.PAX_FORMAT) as tar:
        archive.chmod(0o600)
        for path in sorted(each for each in folder.rglob("*") if each.is_file()):
            member = tarfile.TarInfo(path.relative_to(folder).as_posix())
            member.size = path.stat().st_size
            member.mode = 0o600
            with path.open("rb") as file:
                tar.addfile(member, file)
    sync_file(archive)
