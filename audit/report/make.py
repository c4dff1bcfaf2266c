"""Makes a report in a process of its own: `python -m audit.report.make --snapshot F --log L ...` (D9).

Reads a snapshot of facts and the log's database, writes PDF, HTML and JSON, and nothing else: it holds no key, asks
no daemon, and leaves no half-written file. Progress goes to standard error as one JSON object a line,
`{"fraction": 0.4, "sentence": "..."}`; what was written goes to standard output as one JSON document.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import NoReturn

from audit.evidence.check import Snapshot
from audit.evidence.document import to_bytes
from audit.evidence.errors import EvidenceError, ReportUnwritable
from audit.evidence.evaluate import Evaluation, evaluate
from audit.evidence.facts import Facts
from audit.evidence.framework import Framework, framework_named
from audit.evidence.instant import Period
from audit.evidence.log_range import LogRange
from audit.evidence.stored_log import StoredLog
from audit.evidence.verdict import Verdict
from audit.report.compose import attachments, compose
from audit.report.html import render_html
from audit.report.pdf import render_pdf
from policies.errors import ExitCode, StrongroomError

Progress = Callable[[float, str], None]

_MEDIA_TYPES = {".pdf": "application/pdf", ".html": "text/html; charset=utf-8", ".json": "application/json"}
# Where the whole run stands when each part of it begins.
_VERIFIED, _CHECKED, _COMPOSED = 0.3, 0.7, 0.75


class BadUsage(EvidenceError):
    """Arguments that argparse refuses."""

    code = "report.bad_usage"
    exit_code = ExitCode.BAD_INPUT


def make_report(
    snapshot_file: Path, log_db: Path, framework: Framework, period: Period, out: Path, progress: Progress
) -> dict[str, object]:
    """Make one report in all its forms.

    Args:
        snapshot_file: facts, as `Facts.to_bytes` wrote them.
        log_db: the log's database.
        framework: which controls.
        period: which part of the log.
        out: folder for the files; made when missing. A file of the same name is replaced whole.
        progress: called with a fraction from 0 to 1 and a sentence.

    Returns:
        `{"files": [{"path", "media_type", "size_bytes", "sha256"}], "counts": {...}, ...}`.

    Raises:
        StrongroomError: bad input, an unreadable log, or a folder that cannot be written.
    """
    progress(0.0, "Reading the snapshot.")
    facts = Facts.read(snapshot_file)
    log = StoredLog(
        log_db, facts.log, period, lambda fraction, sentence: progress(fraction * _VERIFIED, sentence)
    )
    try:
        snapshot = Snapshot(facts, LogRange(log, period), period, framework)
        evaluation = evaluate(
            snapshot,
            framework.catalogue,
            lambda fraction, sentence: progress(_VERIFIED + fraction * (_CHECKED - _VERIFIED), sentence),
        )
        progress(_CHECKED, "Putting the report together.")
        report = compose(evaluation, snapshot)
    finally:
        log.close()
    progress(_COMPOSED, "Setting the pages.")
    name = f"strongroom-{framework.value}-{period.first[:10]}-to-{period.last_excluded[:10]}"
    forms = {
        f"{name}.pdf": render_pdf(report, attachments(evaluation, snapshot)),
        f"{name}.html": render_html(report),
        f"{name}.json": to_bytes({"v": 1, "report": report.document(), "evaluation": evaluation.document()}),
    }
    progress(0.95, "Writing the files.")
    _write(out, forms)
    progress(1.0, "The report is ready.")
    return _told(out, forms, evaluation)


def _told(out: Path, forms: dict[str, bytes], evaluation: Evaluation) -> dict[str, object]:
    counts = evaluation.counts()
    return {
        "framework": evaluation.framework.value,
        "period": {"from": evaluation.period.first, "to": evaluation.period.last_excluded},
        "files": [
            {
                "path": str(out / name),
                "media_type": _MEDIA_TYPES[Path(name).suffix],
                "size_bytes": len(data),
                "sha256": sha256(data).hexdigest(),
            }
            for name, data in forms.items()
        ],
        "summary": {
            "controls": len(evaluation.controls),
            "tested": evaluation.tested(),
            "counts": {verdict.value: count for verdict, count in counts.items()},
        },
        "sentence": (
            f"{evaluation.tested()} of {len(evaluation.controls)} controls were tested: the evidence supports "
            f"{counts[Verdict.SATISFIED]}, {counts[Verdict.PARTIAL]} in part, and "
            f"{counts[Verdict.NOT_SATISFIED]} do not hold."
        ),
        "records": {"covered": evaluation.records_covered, "in_period": evaluation.records_in_period},
        "snapshot_sha256": evaluation.snapshot_sha256,
    }


def _write(out: Path, forms: dict[str, bytes]) -> None:
    """Write all files beside their places, sync them, then rename: a reader sees old or new, never half."""
    try:
        out.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=".report-", dir=out))
    except OSError as error:
        raise _unwritable(out, error) from error
    try:
        for name, data in forms.items():
            with (folder / name).open("xb") as file:
                os.fchmod(file.fileno(), 0o600)
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        for name in forms:
            (folder / name).rename(out / name)
        _sync(out)
    except OSError as error:
        raise _unwritable(out, error) from error
    finally:
        shutil.rmtree(folder)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _unwritable(out: Path, error: OSError) -> ReportUnwritable:
    return ReportUnwritable(
        f"The report cannot be written to {out}: {error.strerror}.", "Choose another folder, or make room."
    )


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise BadUsage(f"{message[:1].upper()}{message[1:]}.", self.format_usage().strip())


def _arguments(arguments: Sequence[str]) -> argparse.Namespace:
    parser = _Parser(prog="python -m audit.report.make", description="Make an evidence report.")
    parser.add_argument("--snapshot", required=True, type=Path, help="facts, a JSON file")
    parser.add_argument("--log", required=True, type=Path, help="the log's database")
    parser.add_argument("--framework", required=True, help="hipaa or pci")
    parser.add_argument("--from", required=True, dest="start", help="first instant, RFC 3339 UTC")
    parser.add_argument("--to", required=True, dest="end", help="first instant after the period")
    parser.add_argument("--out", required=True, type=Path, help="folder for the files")
    return parser.parse_args(arguments)


def _tell(fraction: float, sentence: str) -> None:
    sys.stderr.write(json.dumps({"fraction": round(fraction, 3), "sentence": sentence}) + "\n")
    sys.stderr.flush()


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns its exit code."""
    try:
        given = _arguments(arguments)
        told = make_report(
            given.snapshot,
            given.log,
            framework_named(given.framework),
            Period.between(given.start, given.end),
            given.out,
            _tell,
        )
    except StrongroomError as error:
        sys.stderr.write(f"{error.message} {error.hint}".rstrip() + "\n")
        return int(error.exit_code)
    sys.stdout.write(json.dumps(told) + "\n")
    return int(ExitCode.DONE)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
