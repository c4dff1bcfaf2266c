"""A child process that behaves as its first argument says."""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path


def answer(text: str, exit_code: int = 0) -> int:
    sys.stdout.write(text)
    return exit_code


def large() -> int:
    """More than a pipe holds on the one, and only then more than a pipe holds on the other."""
    sys.stdout.write(json.dumps({"text": "y" * 1_000_000}))
    sys.stdout.flush()
    for _ in range(3000):
        sys.stderr.write(json.dumps({"fraction": 0.5, "sentence": "x" * 100}) + "\n")
    return 0


def fails() -> int:
    sys.stderr.write("first\n" * 20 + "The log is damaged.\n")
    return 3


def odd_progress() -> int:
    for line in ('{"fraction": Infinity, "sentence": "a"}', "5", '{"fraction": "x"}', "\x00", "{}"):
        sys.stderr.write(line + "\n")
    sys.stderr.flush()
    sys.stderr.buffer.write(b"\xff\xfe\n")
    return answer("{}")


def hangs() -> int:
    Path(sys.argv[2]).write_text(str(os.getpid()), encoding="ascii")
    sys.stderr.write(json.dumps({"fraction": 0.1, "sentence": "Begun."}) + "\n")
    sys.stderr.flush()
    time.sleep(600)
    return 0


def endless() -> int:
    while True:
        sys.stdout.write("x" * 65536)


BEHAVIOURS: dict[str, Callable[[], int]] = {
    "answers": lambda: answer('{"records": 5}'),
    "violated": lambda: answer('{"checks": []}', 7),
    "no-json": lambda: answer("hello"),
    "list": lambda: answer("[1]"),
    "silent-failure": lambda: 3,
    "where": lambda: answer(json.dumps({"path": sys.path[0]})),
    "large": large,
    "fails": fails,
    "odd-progress": odd_progress,
    "hangs": hangs,
    "endless": endless,
}

if __name__ == "__main__":
    sys.exit(BEHAVIOURS[sys.argv[1]]())
