"""`python -m audit.verify PATH`: a verification in a process of its own (D9).

Exit codes: 0 it holds, 2 there is nothing here to verify or the command is wrong, 7 it does not hold, 10 it could
not be read. Progress goes to standard error, a line each time, with `--json` as
`{"fraction": 0.5, "sentence": "..."}`; the report goes to standard output.
"""

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from audit.errors import AuditError, VerificationFailed
from audit.verify import Trust, verify_any, verify_store
from audit.verify.report import Progress
from policies.errors import ExitCode

_PROGRESS_EVERY_S = 0.5


def main(arguments: Sequence[str]) -> int:
    """Verify what the arguments name; returns the exit code."""
    options = _parser().parse_args(arguments)
    verify = verify_store if options.store else verify_any
    try:
        trust = None if options.trust is None else Trust.load(options.trust)
        report = verify(
            options.path, trust, fields=not options.quick, progress=_progress(as_json=options.json)
        )
    except VerificationFailed as failure:
        _say(failure)
        _write(failure.report, as_json=options.json)
        return failure.exit_code
    except AuditError as error:
        _say(error)
        if options.json:
            body = {"code": error.code, "message": error.message, "hint": error.hint, "exit": error.exit_code}
            _write({"error": {**body, "record": None}}, as_json=True)
        return error.exit_code
    _write(report.document(), as_json=options.json)
    return ExitCode.DONE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m audit.verify", description="Verify a log without its server."
    )
    parser.add_argument(
        "path",
        type=Path,
        help="an export or tiles, a folder or a tar; a proof; a checkpoint; the PDF of a report",
    )
    parser.add_argument("--trust", type=Path, help="a file that states what must be present")
    parser.add_argument("--store", action="store_true", help="the path is a log's database")
    parser.add_argument("--quick", action="store_true", help="bytes, links, root and signature only")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    return parser


def _progress(*, as_json: bool) -> Progress:
    last = time.monotonic()

    def show(done: int, of: int) -> None:
        nonlocal last
        if time.monotonic() - last >= _PROGRESS_EVERY_S or done == of:
            last = time.monotonic()
            sentence = f"Verified {done} of {of or 'an unknown number of'} records."
            told = {"fraction": done / of if of else 0, "sentence": sentence}
            sys.stderr.write((json.dumps(told) if as_json else sentence) + "\n")
            sys.stderr.flush()

    return show


def _say(error: AuditError) -> None:
    sys.stderr.write(f"{error.message} {error.hint}".rstrip() + "\n")


def _write(report: Mapping[str, object], *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps(report) + "\n")
        return
    checks = report["checks"]
    for check in checks if isinstance(checks, list) else []:
        sys.stdout.write(
            f"{'holds' if check['holds'] else 'FAILS':5}  {check['name']:10}  {check['detail']}\n"
        )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
