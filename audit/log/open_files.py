"""Whether the files on the disk are still the files that are open.

SQLite goes on committing into a write-ahead log that somebody has unlinked, acknowledges each commit, and all
are lost (FACTS.md, Log). So the identity of what is open is kept and compared with what the paths lead to,
before and after each commit.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from audit.errors import LogUnavailable

_DESCRIPTORS = Path("/proc/self/fd")  # proc_pid_fd(5): each entry links to the path that was opened


class OpenFiles:
    """The identities (device and inode) of files that stay open, by path.

    An inode number is not given out again while a descriptor holds it, so equality means the same file. No
    descriptor is opened here: closing one would drop SQLite's own locks on that file (fcntl(2), POSIX locks).

    Args:
        paths: absolute paths without links, of files that this process has open.

    Raises:
        LogUnavailable: one of them is not open any more under its path.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        wanted = {str(path) for path in paths}
        self._identities: dict[str, tuple[int, int]] = {}
        for descriptor in _DESCRIPTORS.iterdir():
            try:
                path = str(descriptor.readlink())
                status = os.fstat(int(descriptor.name))
            except OSError:
                continue  # closed since it was listed, the listing's own descriptor among them
            if path in wanted:
                self._identities[path] = (status.st_dev, status.st_ino)
        for missing in wanted - self._identities.keys():
            raise _gone(missing)

    def check(self) -> None:
        """Compare the open files with what their paths lead to now.

        Raises:
            LogUnavailable: one was removed or replaced.
        """
        for path, identity in self._identities.items():
            if not self._in_place(path, identity):
                raise _gone(path)

    def in_place(self, path: Path) -> bool:
        """Whether this one file is still where it was opened."""
        return self._in_place(str(path), self._identities[str(path)])

    @staticmethod
    def _in_place(path: str, identity: tuple[int, int]) -> bool:
        try:
            status = os.lstat(path)
        except OSError:
            return False
        return (status.st_dev, status.st_ino) == identity


def _gone(path: str) -> LogUnavailable:
    return LogUnavailable(
        f"The log's file {Path(path).name} was removed or replaced while in use.",
        "Find out who did that; nothing is acknowledged until the log's own files are back.",
    )
