"""`python -m audit.replay PATH`: a replay in a process of its own (D9), as `python -m audit.verify` is for hashes.

Exit codes: 0 every decision comes out as recorded, 2 there is nothing here to replay, 7 one does not, 10 it could not
be read. Progress goes to standard error as JSON lines, the report to standard output.
"""

import argparse
import json
import resource
import sys
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from audit.errors import AuditError, VerificationFailed
from audit.replay import replay_export, replay_store
from audit.replay.recorded import Span
from policies.errors import ExitCode

_PROGRESS_EVERY_S = 0.5

#: Far more than a replay needs; a policy schema that asks for more is hostile.
_MAX_MEMORY_BYTES = 4 << 30


def main(arguments: Sequence[str]) -> int:
    """Replay what the arguments name; returns the exit code."""
    options = _parser().parse_args(arguments)
    resource.setrlimit(resource.RLIMIT_AS, (_MAX_MEMORY_BYTES, _MAX_MEMORY_BYTES))
    try:
        run = replay_store if options.store else replay_export
        report = run(options.path, Span(options.since, options.until), _Progress())
    except VerificationFailed as failure:
        _say(failure)
        _write(failure.report)
        return failure.exit_code
    except AuditError as error:
        _say(error)
        return error.exit_code
    _write(report.document())
    return ExitCode.DONE


class _Progress:
    def __init__(self) -> None:
        self._last_s = time.monotonic()

    def __call__(self, done: int, of: int) -> None:
        if time.monotonic() - self._last_s >= _PROGRESS_EVERY_S:
            self._last_s = time.monotonic()
            told = {
                "fraction": done / of if of else 0,
                "sentence": f"Looked at {done} of {of or 'all'} records.",
            }
            sys.stderr.write(json.dumps(told) + "\n")
            sys.stderr.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m audit.replay", description="Make recorded decisions again."
    )
    parser.add_argument("path", type=Path, help="an export, or with --store a log's database")
    parser.add_argument("--store", action="store_true", help="the path is a log's database")
    parser.add_argument("--from", dest="since", type=_instant, help="first instant, RFC 3339 with its zone")
    parser.add_argument("--to", dest="until", type=_instant, help="the instant after the last")
    return parser


def _instant(text: str) -> datetime:
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None:
        raise ValueError
    return instant


def _say(error: AuditError) -> None:
    sys.stderr.write(f"{error.message} {error.hint}".rstrip() + "\n")


def _write(report: object) -> None:
    sys.stdout.write(json.dumps(report) + "\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
