"""What SQLite's errors mean for the key store, in words a person can use."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from vault.errors import Conflict, HostFailure, KeyStoreDamaged

_DAMAGED_CODES = ("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_ERROR", "SQLITE_SCHEMA", "SQLITE_MISMATCH")
_BUSY_CODES = ("SQLITE_BUSY", "SQLITE_LOCKED")


@contextmanager
def translated() -> Iterator[None]:
    """Turn SQLite's errors into Conflict, KeyStoreDamaged or HostFailure."""
    try:
        yield
    except sqlite3.Error as error:
        name = getattr(error, "sqlite_errorname", "")
        if name.startswith(_BUSY_CODES):
            raise Conflict(
                "Another process has the key store open.", "Stop the other daemon, then try again."
            ) from error
        # Without a code it is the driver's own error: text in the file that is no text.
        if not name or name.startswith(_DAMAGED_CODES):
            raise damaged() from error
        raise HostFailure(
            f"The key store's file could not be read or written ({name}).",
            "Look at the space and the health of the device that holds it.",
        ) from error


def damaged() -> KeyStoreDamaged:
    """The error of a file that is no sound key store."""
    return KeyStoreDamaged(
        "The key store's file is damaged or is no key store.", "Restore it from its backup, then unseal it."
    )
