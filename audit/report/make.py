"""Makes a report in a process of its own: `python -m audit.report.make --snapshot F --log L ...` (D9).

Reads a snapshot of facts and the log's database, writes PDF, HTML, JSON and CSV, and nothing else: it asks no daemon,
holds no key but the one that signs reports (whose folder is named to it, never the key), and leaves no half-written
file. Progress goes to standard error as one JSON object a line,
`{"fraction": 0.4, "sentence": "..."}`; what was written goes to standard output as one JSON document.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
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
from audit.report.activity import Activity
from audit.report.attachment import Attachment
from audit.report.compose import compose
from audit.report.html import render_html
from audit.report.pdf import render_pdf
from audit.report.signer import ReportSigner
from policies.errors import ExitCode, StrongroomError

Progress = Callable[[float, str], None]

_MEDIA_TYPES = {
    ".pdf": "application/pdf",
    ".html": "text/html; charset=utf-8",
    ".json": "application/json",
    ".csv": "text/csv; charset=utf-8",
}
# Where the whole run stands when each part of it begins.
_VERIFIED, _CHECKED, _COMPOSED, _SET = 0.2, 0.5, 0.55, 0.95


class BadUsage(EvidenceError):
    """Arguments that argparse refuses."""

    code = "report.bad_usage"
    exit_code = ExitCode.BAD_INPUT


def make_report(
    snapshot_file: Path,
    log_db: Path,
    framework: Framework,
    period: Period,
    out: Path,
    progress: Progress,
    signer_dir: Path | None = None,
) -> dict[str, object]:
    """Make one report in all its forms.

    Args:
        snapshot_file: facts, as `Facts.to_bytes` wrote them.
        log_db: the log's database.
        framework: which controls.
        period: which part of the log.
        out: folder for the files; made when missing. A file of the same name is replaced whole.
        progress: called with a fraction from 0 to 1 and a sentence.
        signer_dir: folder with the key and certificates that sign the PDF; None leaves it unsigned.

    Returns:
        `{"files": [{"path", "media_type", "size_bytes", "sha256"}], "unsigned": {"size_bytes", "sha256"}, ...}`.

    Raises:
        StrongroomError: bad input, an unreadable log, an unusable signer, or a folder that cannot be written.
    """
    progress(0.0, "Reading the snapshot.")
    signer = None if signer_dir is None else ReportSigner.load(signer_dir)
    facts, activity = Facts.read(snapshot_file), Activity()
    log = StoredLog(
        log_db, facts.log, period, lambda fraction, sentence: progress(fraction * _VERIFIED, sentence)
    )
    try:
        snapshot = Snapshot(facts, LogRange(log, period), period, framework)
        evaluation = evaluate(
            snapshot,
            framework.catalogue,
            lambda fraction, sentence: progress(_VERIFIED + fraction * (_CHECKED - _VERIFIED), sentence),
            activity.note,
        )
        progress(_CHECKED, "Putting the report together.")
        report, attachments = compose(evaluation, snapshot, activity)
    finally:
        log.close()
    progress(_COMPOSED, "Setting the pages.")
    name = f"strongroom-{framework.value}-{period.first[:10]}-to-{period.last_excluded[:10]}"
    unsigned = render_pdf(report, attachments, lambda page: progress(_paged(page), f"Setting page {page}."))
    progress(_SET, "Signing." if signer else "Writing the files.")
    forms: dict[str, bytes | Attachment] = {
        f"{name}.pdf": signer.sign(unsigned) if signer else unsigned,
        f"{name}.html": render_html(report),
        f"{name}.json": to_bytes({"v": 1, "report": report.document(), "evaluation": evaluation.document()}),
        **{f"{name}-{each.name}": each for each in attachments if each.beside},
    }
    told = _told(out, forms, evaluation)
    _write(out, forms)
    progress(1.0, "The report is ready.")
    return told | {
        "unsigned": {"size_bytes": len(unsigned), "sha256": sha256(unsigned).hexdigest()},
        "signed_by": list(signer.fingerprints) if signer else None,
    }


def _paged(page: int) -> float:
    """How far the run is at a page: how many there will be is not known, so it slows down as it goes."""
    return _COMPOSED + (_SET - _COMPOSED) * page / (page + 100)


def _told(out: Path, forms: Mapping[str, bytes | Attachment], evaluation: Evaluation) -> dict[str, object]:
    counts = evaluation.counts()
    return {
        "framework": evaluation.framework.value,
        "period": {"from": evaluation.period.first, "to": evaluation.period.last_excluded},
        "files": [
            {
                "path": str(out / name),
                "media_type": _MEDIA_TYPES[Path(name).suffix],
                "size_bytes": data.size_bytes if isinstance(data, Attachment) else len(data),
                "sha256": data.sha256 if isinstance(data, Attachment) else sha256(data).hexdigest(),
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


def _write(out: Path, forms: Mapping[str, bytes | Attachment]) -> None:
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
                file.writelines(data.pieces() if isinstance(data, Attachment) else (data,))
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
    parser.add_argument(
        "--signer", type=Path, help="folder with report.key and report.crt; else it is unsigned"
    )
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
            given.signer,
        )
    except StrongroomError as error:
        sys.stderr.write(f"{error.message} {error.hint}".rstrip() + "\n")
        return int(error.exit_code)
    sys.stdout.write(json.dumps(told) + "\n")
    return int(ExitCode.DONE)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
