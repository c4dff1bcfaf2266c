"""Runs heavy work in a child process of the daemon (D9).

One busy Python thread would make an append to the log thirty times slower. The child prints progress as JSON
lines (`{"fraction": 0.5, "sentence": "…"}`) on standard error and its result as one JSON document on standard
output. It gets file names, never secrets.
"""

import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from vault.errors import HostFailure, IntegrityFailure
from vault.jobs import Progress

_MAX_ANSWER_BYTES = 64 * 2**20
_INTEGRITY_EXIT = 7
_NICE = 10


def run_child(module: str, arguments: list[str], progress: Progress) -> tuple[int, Mapping[str, Any]]:
    """Run `python -m module arguments` at low priority and follow it.

    Returns:
        the exit code (0, or 7 where a verification did not hold) and the JSON document.

    Raises:
        HostFailure: the child failed otherwise, or did not answer with JSON.
    """
    process = subprocess.Popen(
        ["nice", "-n", str(_NICE), sys.executable, "-m", module, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    said: list[str] = []
    try:
        with process:
            for line in process.stderr or ():
                said = [*said[-5:], _follow(line, progress)]
            answer = process.stdout.read(_MAX_ANSWER_BYTES) if process.stdout else ""
    except BaseException:
        process.kill()
        raise
    if process.returncode not in {0, _INTEGRITY_EXIT}:
        raise HostFailure(
            "A part of the daemon that works in a process of its own failed.",
            " ".join(text for text in said if text)[-300:] or "Look at the daemon's log.",
        )
    try:
        document = json.loads(answer)
    except ValueError as error:
        raise HostFailure("A child process gave no result.", "Look at the daemon's log.") from error
    if not isinstance(document, dict):
        raise IntegrityFailure(
            "A child process gave a result of the wrong shape.", "Look at the daemon's log."
        )
    return process.returncode, document


def _follow(line: str, progress: Progress) -> str:
    """Pass progress on; return what was said otherwise."""
    try:
        told = json.loads(line)
        progress(int(float(told["fraction"]) * 100), str(told["sentence"]))
    except (ValueError, KeyError, TypeError):
        return line.strip()
    return ""
