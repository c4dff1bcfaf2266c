"""The daemon's pid file, locked for as long as the daemon lives.

The lock, not the number in the file, says whether a daemon runs: a number may belong to another program by now.
(The log has a lock of its own, which guards its one writer; this one gives the clear sentence, and lets
`strongroom serve --stop` find whom to stop.)
"""

import fcntl
import os
import time
from pathlib import Path

from vault.config import Settings
from vault.errors import Conflict

FILE_NAME = "daemon.pid"
_TRIES = 4
_BETWEEN_TRIES_S = 0.05


class DaemonRunning(Conflict):
    """Another daemon serves this instance."""

    code = "daemon.running"


class InstanceLock:
    """Holds the pid file of an instance."""

    def __init__(self, descriptor: int, path: Path) -> None:
        self._descriptor = descriptor
        self._path = path

    @classmethod
    def take(cls, settings: Settings) -> "InstanceLock":
        """Lock the instance for this process and write its pid.

        Raises:
            DaemonRunning: another process holds it.
        """
        path = settings.data_dir / FILE_NAME
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        for _ in range(_TRIES):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(_BETWEEN_TRIES_S)  # somebody may only be asking, in `running_pid`
        else:
            os.close(descriptor)
            raise _running(settings)
        lock = cls(descriptor, path)
        lock.write_pid(os.getpid())
        return lock

    def write_pid(self, pid: int) -> None:
        """Note which process is the daemon."""
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{pid}\n".encode(), 0)

    def leave_to_parent(self) -> None:
        """Let go of the lock in a forked child, so that it lives no longer than the parent."""
        os.close(self._descriptor)

    def release(self) -> None:
        """Empty the pid file and let go. The file stays, or two processes could lock two files of that name."""
        os.ftruncate(self._descriptor, 0)
        os.close(self._descriptor)


def refuse_if_running(settings: Settings) -> None:
    """Refuse to go on while a daemon serves this instance.

    Raises:
        DaemonRunning: one does.
    """
    if running_pid(settings) is not None:
        raise _running(settings)


def _running(settings: Settings) -> DaemonRunning:
    return DaemonRunning(
        f"A daemon already serves the instance in {settings.data_dir}.",
        "Use it, or stop it with `strongroom serve --stop`.",
    )


def running_pid(settings: Settings) -> int | None:
    """Return the pid of the daemon of this instance, or None when none runs."""
    try:
        descriptor = os.open(settings.data_dir / FILE_NAME, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        written = os.pread(descriptor, 32, 0).strip()
        return int(written) if written.isdigit() else None
    else:
        return None
    finally:
        os.close(descriptor)
