"""The log's newest signed checkpoint, noted in a file apart from the database.

A whole log replaced by an older copy of itself between two runs is sound in itself; only what was kept apart
shows it. Invariant: the noted head is never ahead of what is durable, because it is written after the checkpoint
was stored. It lags behind by what was written since, at most about a second (decision record 17).
"""

import os
from pathlib import Path

from audit.errors import LogUnavailable
from audit.log.durable import sync_directory


class NotedHead:
    """The file that holds the note; need not exist yet."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> bytes | None:
        """The signed note, None where there is none.

        Raises:
            LogUnavailable: the file is there and cannot be read.
        """
        try:
            return self.path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise LogUnavailable(
                f"The log's noted head {self.path} cannot be read: {error.strerror}.",
                "Look at the disk it lies on.",
            ) from error

    def write(self, note: bytes) -> None:
        """Replace the note; whole and durable on return.

        Raises:
            LogUnavailable: it could not be written; the note before stands.
        """
        part = self.path.with_name(self.path.name + ".part")
        try:
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(note)
                file.flush()
                os.fsync(descriptor)
            part.rename(self.path)
            sync_directory(self.path.parent)
        except OSError as error:
            raise LogUnavailable(
                f"The log's head cannot be noted in {self.path}: {error.strerror}.",
                "Look at the disk it lies on.",
            ) from error
