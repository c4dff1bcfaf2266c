"""The journal of safe-direction actions that were done while the log was away.

One line of JSON for a beginning and one for an end, each forced to disk. When the log works
again the lines become records (`recovery`, code and time of the act in the facts) and the file is
emptied: first the records are durable, then the lines go, so a kill in between repeats a record
and never loses one.
"""

import json
import os
import secrets
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from audit.log.record import Draft, Kind
from policies.vocabulary import EntityRef


class SafeJournal:
    """Appends to `path`, which need not exist yet."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._guard = threading.Lock()

    def begin(self, action: str, principal: EntityRef, resource: EntityRef, policies: tuple[str, ...]) -> str:
        """Note that `action` is about to be done; returns the entry's id (32 hex digits)."""
        entry = secrets.token_hex(16)
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
        return entry

    def end(self, entry: str, code: str) -> None:
        """Note how the entry ended: `ok` or an error's code."""
        self._write({"entry": entry, "ended_at": datetime.now(UTC).isoformat(), "code": code})

    def drain(self, append: Callable[[Draft], object]) -> int:
        """Turn every journalled act into a durable record, then empty the journal.

        Returns:
            how many acts were recorded.
        """
        with self._guard:
            if not self._path.exists():
                return 0
            begun: dict[str, dict[str, object]] = {}
            codes: dict[str, str] = {}
            for line in self._path.read_text(encoding="utf-8").splitlines():
                try:
                    entry = json.loads(line)
                except ValueError:
                    continue  # a line cut short by a kill: its act had not begun
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
                            "code": codes.get(key, "unexpected"),
                            "facts": {
                                "journalled_at": str(entry["at"]),
                                "journalled_policies": entry["policies"],
                            },
                        },
                    )
                )
            self._path.unlink()
            return len(begun)

    def _write(self, entry: dict[str, object]) -> None:
        with self._guard:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                os.write(descriptor, json.dumps(entry).encode() + b"\n")
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
