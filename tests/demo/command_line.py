"""Runs `strongroom` as a person would, and reads its JSON."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any


class CommandFailed(AssertionError):
    """A command did not end as the demo needs."""


class CommandLine:
    """`strongroom` for one data folder, with one profile for each person."""

    def __init__(self, data_dir: Path, port: int, credentials: Path) -> None:
        self._program = Path(sys.executable).with_name("strongroom")
        self._environment = os.environ | {
            "STRONGROOM_DATA_DIR": str(data_dir),
            "STRONGROOM_PORT": str(port),
            "STRONGROOM_CREDENTIALS": str(credentials),
        }

    def run(
        self,
        *arguments: str,
        person: str = "default",
        stdin: bytes = b"",
        exit_code: int = 0,
        show: bool = False,
        timeout_s: float = 900,
    ) -> Any:  # noqa: ANN401 - JSON is what it is
        """Run one command and return its JSON document.

        Args:
            show: let progress through to the terminal.
            exit_code: what the command must end with.

        Raises:
            CommandFailed: it ended otherwise.
        """
        completed = subprocess.run(
            [self._program, "--json", "--as", person, *arguments],
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=None if show else subprocess.PIPE,
            env=self._environment,
            timeout=timeout_s,
            check=False,
        )
        if completed.returncode != exit_code:
            said = (completed.stderr or b"").decode(errors="replace") + completed.stdout.decode(
                errors="replace"
            )
            raise CommandFailed(
                f"`strongroom {' '.join(arguments)}` ended with {completed.returncode}, not {exit_code}: {said.strip()}"
            )
        return json.loads(completed.stdout) if completed.stdout.strip() else None

    def start_daemon(self) -> Any:  # noqa: ANN401
        """Start the daemon in the background; returns when it answers."""
        return self.run("serve", "--background")

    def stop_daemon(self) -> None:
        """Stop the daemon, if one runs."""
        subprocess.run(
            [self._program, "serve", "--stop"],
            env=self._environment,
            capture_output=True,
            check=False,
            timeout=120,
        )

    def serve_in_foreground(self) -> int:
        """Run the daemon until it is interrupted."""
        return subprocess.run([self._program, "serve"], env=self._environment, check=False).returncode
