"""The journal of safe-direction actions that were done while the log was away.

One line of JSON for a beginning and one for an end, each forced to disk. When the log works
again the lines become records (`recovery`, code and time of the act in the facts) and the file is
emptied: first the records are durable, then the lines go, so a kill in between repeats a record
(with the same `journal_entry`) and never loses one.
"""

import json
import os
import secrets
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from audit.errors import LogUnavailable
from audit.log.record import Draft, Kind
from policies.vocabulary import EntityRef

#: How an act ended whose end is not in the journal: the daemon was killed in it.
_UNKNOWN = "recovery.unknown"


class SafeJournal:
    """Appends to `path`, which need not exist yet."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._guard = threading.Lock()
        self._open: set[str] = set()

    @property
    def waiting(self) -> bool:
        """Whether there is anything that is not recorded yet."""
        return self._path.exists()

    def begin(self, action: str, principal: EntityRef, resource: EntityRef, policies: tuple[str, ...]) -> str:
        """Note that `action` is about to be done; returns the entry's id (32 hex digits).

        Raises:
            LogUnavailable: it could not be noted, so it must not be done.
        """
        entry = secrets.token_hex(16)
        with self._guard:
            self._write(
                {
                    "entry": entry,
                    "at": datetime.now(UTC).isoformat(),
                    "action": action,
                    "principal": str(principal),
                    "resource": str(resource),
                    "policies": list(policies),
                }
            )
            self._open.add(entry)
        return entry

    def end(self, entry: str, code: str) -> None:
        """Note how the entry ended: `ok` or an error's code.

        Raises:
            LogUnavailable: it could not be noted; the entry then counts as of unknown end.
        """
        with self._guard:
            self._open.discard(entry)
            self._write({"entry": entry, "ended_at": datetime.now(UTC).isoformat(), "code": code})

    def drain(self, append: Callable[[Draft], object]) -> int:
        """Turn every journalled act into a durable record, then empty the journal.

        While an act of this process is under way nothing is drained, so that its end is not lost.

        Returns:
            how many acts were recorded.

        Raises:
            AuditError: a record could not be written; the journal is kept whole.
        """
        with self._guard:
            if self._open or not self._path.exists():
                return 0
            begun: dict[str, dict[str, object]] = {}
            codes: dict[str, str] = {}
            for line in self._path.read_bytes().split(b"\n"):
                try:
                    entry = json.loads(line)
                except ValueError:
                    continue  # empty, or cut short by a kill: its act had not begun, or its end is unknown
                if "code" in entry:
                    codes[entry["entry"]] = entry["code"]
                else:
                    begun[entry["entry"]] = entry
            for key, entry in begun.items():
                append(
                    Draft(
                        kind=Kind.RECOVERY,
                        principal=str(entry["principal"]),
                        action=str(entry["action"]),
                        resource=str(entry["resource"]),
                        result={
                            "code": codes.get(key, _UNKNOWN),
                            "facts": {
                                "journal_entry": key,
                                "journalled_at": str(entry["at"]),
                                "journalled_policies": entry["policies"],
                            },
                        },
                    )
                )
            self._path.unlink()
            return len(begun)

    def _write(self, entry: dict[str, object]) -> None:
        # The line feed in front keeps this line apart from one that a full disk or a kill cut short.
        line = b"\n" + json.dumps(entry).encode() + b"\n"
        try:
            is_new = not self._path.exists()
            descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                written_bytes = os.write(descriptor, line)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            if is_new:
                _sync_folder(self._path.parent)
        except OSError as error:
            raise _unwritable() from error
        if written_bytes != len(line):
            raise _unwritable()


def _sync_folder(folder: Path) -> None:
    """Make a new file's name durable, without which its content is lost with the power."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _unwritable() -> LogUnavailable:
    return LogUnavailable(
        "Neither the log nor the journal beside it can be written.",
        "Make room on the disk, or mend it; to seal the key store without a record, stop the daemon.",
    )
