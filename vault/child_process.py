"""Runs heavy work in a child process of the daemon (D9).

One busy Python thread would make an append to the log thirty times slower. The child prints progress as JSON
lines (`{"fraction": 0.5, "sentence": "…"}`) on standard error and its result as one JSON document on standard
output. It gets file names, never secrets.
"""

import json
import logging
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any, cast

import vault
from vault.errors import HostFailure, IntegrityFailure
from vault.jobs import Progress

logger = logging.getLogger(__name__)

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
        # `-m` imports from where it stands first: never from the folder the daemon happens to be started in.
        cwd=Path(vault.__file__).resolve().parent.parent,
    )
    said: list[str] = []
    with process, ThreadPoolExecutor(1, thread_name_prefix="child-answer") as reader:
        try:
            # The answer is read beside what is said meanwhile: either may be more than a pipe holds.
            answer = reader.submit(_read_answer, cast("IO[bytes]", process.stdout), process)
            for line in cast("IO[bytes]", process.stderr):
                said = [*said[-5:], _follow(line.decode(errors="replace"), progress)]
            untrusted = answer.result()
            exit_code = process.wait()
        except BaseException:
            # Before the block ends, which waits for it.
            process.kill()
            raise
    if exit_code not in {0, _INTEGRITY_EXIT}:
        told = " ".join(text for text in said if text)
        logger.error("%s ended with %d: %s", module, exit_code, told)
        raise HostFailure(
            "A part of the daemon that works in a process of its own failed.",
            told[-300:] or "Look at the daemon's log.",
        )
    try:
        document = json.loads(untrusted)
    except ValueError as error:
        raise HostFailure("A child process gave no result.", "Look at the daemon's log.") from error
    if not isinstance(document, dict):
        raise IntegrityFailure(
            "A child process gave a result of the wrong shape.", "Look at the daemon's log."
        )
    return exit_code, document


def _read_answer(stream: IO[bytes], process: subprocess.Popen[bytes]) -> bytes:
    answer = stream.read(_MAX_ANSWER_BYTES + 1)
    if len(answer) > _MAX_ANSWER_BYTES:
        process.kill()  # it would wait for ever for somebody to read the rest
    return answer


def _follow(line: str, progress: Progress) -> str:
    """Pass progress on; return what was said otherwise."""
    try:
        told = json.loads(line)
        percent, sentence = int(float(told["fraction"]) * 100), str(told["sentence"])
    except (ValueError, KeyError, TypeError, OverflowError):
        return line.strip()
    progress(percent, sentence)
    return ""
