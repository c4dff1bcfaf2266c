"""SQLite's errors in the log's own words, translated at the edge."""

import sqlite3

from audit.errors import AuditError, LogDamaged, LogUnavailable

_DAMAGE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_SCHEMA})
_FULL = frozenset({sqlite3.SQLITE_FULL})
_BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})


def translate(error: sqlite3.Error) -> AuditError:
    """Say what an SQLite error means for the log.

    Returns:
        `LogDamaged` when the file is not what it should be, else `LogUnavailable`. SQLite's own words are not
        repeated: they can quote values; they stay in the chained error.
    """
    code = getattr(error, "sqlite_errorcode", None)
    primary = (
        code & 0xFF if isinstance(code, int) else None
    )  # extended codes carry the primary in the low byte
    if primary in _DAMAGE:
        return LogDamaged(
            "The log's database is damaged.", "Keep the file, and restore the log from its backup."
        )
    if primary in _FULL:
        return LogUnavailable("The log cannot be written: its disk is full.", "Make room, then try again.")
    if primary in _BUSY:
        return LogUnavailable("Another program holds the log's database locked.", "Close it, then try again.")
    name = getattr(error, "sqlite_errorname", None) or type(error).__name__
    return LogUnavailable(f"The log's database does not work ({name}).", "Look at the disk it lies on.")
