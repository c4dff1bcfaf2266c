"""The file that holds the tokens of log-ins on this machine (0600): by the daemon's address, then by profile."""

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from web.cli.failure import BadUsage


class Credentials:
    """Reads and writes the credentials file; a write replaces it whole."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def path(self) -> Path:
        """Where the file is, or would be."""
        return self._path

    @classmethod
    def usual(cls, environment: Mapping[str, str] = os.environ) -> "Credentials":
        """The file of this user, or the one that STRONGROOM_CREDENTIALS names."""
        named = environment.get("STRONGROOM_CREDENTIALS")
        return cls(Path(named) if named else Path.home() / ".config" / "strongroom" / "credentials.json")

    def token(self, url: str, profile: str) -> str | None:
        """The token for an address and profile, or None."""
        entry = self._read().get(url, {}).get(profile)
        token = entry.get("token") if isinstance(entry, dict) else None
        return token if isinstance(token, str) else None

    def profiles(self, url: str) -> list[str]:
        """The profiles that are logged in at an address."""
        return sorted(self._read().get(url, {}))

    def store(self, url: str, profile: str, token: str, account: str) -> None:
        """Remember a token, with the account's name for whoever looks into the file."""
        everything = self._read()
        everything.setdefault(url, {})[profile] = {"account": account, "token": token}
        self._write(everything)

    def forget(self, url: str, profile: str) -> None:
        """Forget a token; forgetting twice is harmless."""
        everything = self._read()
        if everything.get(url, {}).pop(profile, None) is not None:
            self._write(everything)

    def _read(self) -> dict[str, dict[str, Any]]:
        try:
            found = json.loads(self._path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except ValueError:
            found = None
        if not isinstance(found, dict) or not all(isinstance(profiles, dict) for profiles in found.values()):
            raise BadUsage(f"The credentials file {self._path} is damaged.", "Delete it, then log in again.")
        return found

    def _write(self, everything: Mapping[str, Any]) -> None:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # mkstemp makes the file 0600 from its first instant.
        descriptor, name = tempfile.mkstemp(dir=self._path.parent, prefix=".credentials-")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump(everything, file, indent=2)
            Path(name).replace(self._path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
