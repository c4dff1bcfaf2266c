"""`python -m tests.bench.reading WAY EXPORT`: reads a log's records once, in a process of its own.

Prints `{"records": ..., "cpu_s": ..., "peak_bytes": ...}`. CPU seconds, because the rate of one core is meant, and
they count what this process did and not how long it waited for others; the peak of memory is only its own here.
"""

import json
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from hashlib import sha256
from pathlib import Path

from audit.verify import verify_export


def _verify(export: Path) -> int:
    return verify_export(export, fields=False).records


def _verify_fields(export: Path) -> int:
    return verify_export(export).records


def _hash(export: Path) -> int:
    """What cannot be saved: each record through SHA-256 once."""
    count = 0
    for line in _lines(export):
        sha256(line).digest()
        count += 1
    return count


def _hash_and_parse(export: Path) -> int:
    """What a script of a person's own would do: hash each line, and read it as JSON."""
    count = 0
    for line in _lines(export):
        sha256(line).digest()
        json.loads(line)
        count += 1
    return count


def _lines(export: Path) -> Iterator[bytes]:
    with (export / "records.jsonl").open("rb") as file:
        yield from file


WAYS: Mapping[str, Callable[[Path], int]] = {
    "verify": _verify,
    "verify-fields": _verify_fields,
    "hash": _hash,
    "hash-and-parse": _hash_and_parse,
}


def main(way: str, export: str) -> None:
    """Read it, and print what that took."""
    began_s = time.process_time()
    count = WAYS[way](Path(export))
    cpu_s = time.process_time() - began_s
    # Not getrusage(2): its peak is handed on from the process that started this one.
    peak = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    peak_bytes = int(peak[1]) * 1024 if peak else 0
    sys.stdout.write(json.dumps({"records": count, "cpu_s": cpu_s, "peak_bytes": peak_bytes}) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
