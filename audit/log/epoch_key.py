"""The private half of the epoch key, in one file that is destroyed when the next one takes its place.

The order keeps a kill at any point harmless: the next key is durable before the record that names it, and the old one
is destroyed only after that record is. What the log says decides, at each start, which of the two files is the key.

The file outlives a reboot, or the log could not go on after one. A copy of the disk taken while an epoch lasts (a
snapshot, a backup of the secrets) holds that epoch's key: forward security then begins with the next epoch.
"""

import os
from pathlib import Path

from audit.errors import LogKeyRefused, LogUnavailable
from audit.log.durable import sync_directory
from audit.log.epochs import key_name
from audit.log.note import VerifierKey
from audit.log.signing_key import LogKey

_PRESENT = "epoch.key"
_NEXT = "epoch.next.key"


class EpochKeys:
    """The present epoch's key and, during a change, the next one's.

    Args:
        folder: where the files lie; only the daemon may read it.
    """

    def __init__(self, folder: Path) -> None:
        self._present_path = folder / _PRESENT
        self._next_path = folder / _NEXT
        self._present: LogKey | None = None
        self._next: LogKey | None = None

    @property
    def present(self) -> LogKey:
        """The key that signs now.

        Raises:
            LogKeyRefused: no epoch has begun yet.
        """
        if self._present is None:
            raise LogKeyRefused("No key epoch has begun.", "Start the daemon again.")
        return self._present

    def settle(self, named: VerifierKey | None) -> None:
        """Be at the epoch that the log names: finish or undo a change that was cut off.

        Args:
            named: the present epoch's public key as the log says; None before the first epoch.

        Raises:
            LogKeyRefused: neither file holds its private half.
            LogUnavailable: the files cannot be put in order.
        """
        if self._present is not None and named is not None and self._present.vkey == str(named):
            self._drop_next()
            return
        if named is not None and self._is_next(named):
            self.promote()
            return
        self._drop_next()
        self._present = None
        if named is None:
            return
        self._present = LogKey.load(self._present_path)
        if self._present.vkey != str(named):
            self._present = None
            raise LogKeyRefused(
                "The epoch key is not the one that the log names.",
                "It belongs to an older or another log: restore log and keys from one and the same backup.",
            )

    def prepare(self, origin: str, number: int) -> LogKey:
        """Make the next epoch's key; durable when this returns.

        Raises:
            LogKeyRefused: its file cannot be written.
        """
        self._drop_next()
        self._next = LogKey.create(self._next_path, key_name(origin, number))
        return self._next

    def promote(self) -> None:
        """Let the next key take the present one's place, and destroy the present one.

        Raises:
            LogUnavailable: the old key cannot be destroyed; nothing is signed until it can.
        """
        if self._next is None:
            raise LogKeyRefused("There is no next epoch key.", "Start the daemon again.")
        try:
            _destroy(self._present_path)
            self._next_path.rename(self._present_path)
            sync_directory(self._present_path.parent)
        except OSError as error:
            raise LogUnavailable(
                f"The old epoch key cannot be destroyed: {error.strerror}.",
                f"Look at {self._present_path.parent}.",
            ) from error
        self._present, self._next = self._next, None

    def _is_next(self, named: VerifierKey) -> bool:
        """Take up the next key when it is the named one. A file that was cut off while it was written is not."""
        if not self._next_path.exists():
            return False
        try:
            self._next = LogKey.load(self._next_path)
        except LogKeyRefused:
            return False
        return self._next.vkey == str(named)

    def _drop_next(self) -> None:
        self._next = None
        try:
            _destroy(self._next_path)
        except OSError as error:
            raise LogUnavailable(
                f"An unused epoch key cannot be destroyed: {error.strerror}.", f"Look at {self._next_path}."
            ) from error


def _destroy(path: Path) -> None:
    """Overwrite a small file where it lies, then remove it; nothing when it is not there."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return
    try:
        os.pwrite(descriptor, bytes(os.fstat(descriptor).st_size), 0)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    path.unlink()
    sync_directory(path.parent)
