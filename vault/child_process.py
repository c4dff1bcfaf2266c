"""Runs heavy work in a child process of the daemon (D9).

One busy Python thread would make an append to the log thirty times slower. The child prints progress as JSON
lines (`{"fraction": 0.5, "sentence": "…"}`) on standard error and its result as one JSON document on standard
output. It gets file names, never secrets.
"""

import json
import logging
import os
import selectors
import subprocess
import sys
from collections.abc import Iterator, Mapping
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
#: A child that says nothing for so long is waited on, and whoever listens to its progress is asked again.
_ASK_AGAIN_S = 0.5


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
    last = 0, ""
    with process, ThreadPoolExecutor(1, thread_name_prefix="child-answer") as reader:
        try:
            # The answer is read beside what is said meanwhile: either may be more than a pipe holds.
            answer = reader.submit(_read_answer, cast("IO[bytes]", process.stdout), process)
            for line in _lines(cast("IO[bytes]", process.stderr)):
                step = None if line is None else _told(line)
                if line is not None and step is None:
                    said = [*said[-5:], line.strip()]
                    continue
                # Where there is nothing new whoever listens is asked all the same: a cancelled job is to end soon.
                last = step or last
                if last[1]:
                    progress(*last)
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


def _lines(stream: IO[bytes]) -> Iterator[str | None]:
    """What a child says, line by line; None whenever it said nothing for a moment."""
    rest = b""
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        while True:
            if not selector.select(_ASK_AGAIN_S):
                yield None
                continue
            chunk = os.read(stream.fileno(), 65536)
            *whole, rest = (rest + chunk).split(b"\n")
            if not chunk and rest:
                whole = [rest]
            for line in whole:
                yield line.decode(errors="replace")
            if not chunk:
                return


def _told(line: str) -> tuple[int, str] | None:
    """The progress that a line tells; None where it says something else."""
    try:
        told = json.loads(line)
        return int(float(told["fraction"]) * 100), str(told["sentence"])
    except (ValueError, KeyError, TypeError, OverflowError):
        return None
