"""`make bench`: measures every row, prints the table, writes build/bench.json.

ONLY="gate.effect log.append64" measures some rows, SCALE=full adds those of ten million records, WRITE_DOCS=1 puts
the table into docs/benchmarks.md. A goal that does not hold is shown, and ends with exit code 1 only under
STRICT=1: the machine may be busy with other things.
"""

import json
import os
import signal
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from tests.bench import append, disk, gate, guest, verify
from tests.bench.row import Row
from tests.bench.subject import NotMeasured, Setting, Subject, bench_folder
from tests.bench.table import facts_of, machine, markdown, terminal_table, write_into

SUBJECTS: Sequence[Subject] = (
    disk.SUBJECT,
    gate.SUBJECT,
    append.SUBJECT,
    verify.SUBJECT,
    guest.SUBJECT,
    verify.FULL,
)
_REPOSITORY = Path(__file__).parents[2]
_RESULTS = Path("build/bench.json")
_DOCUMENT = Path("docs/benchmarks.md")


def run(
    subjects: Sequence[Subject], wanted: frozenset[str], console: Console, *, full: bool
) -> tuple[list[Row], dict[str, str]]:
    """Measure the wanted rows.

    Returns:
        The rows, and why the others could not be measured.
    """
    rows: list[Row] = []
    missing: dict[str, str] = {}
    for subject in subjects:
        ids = wanted.intersection(subject.ids)
        if not ids:
            continue
        with bench_folder() as folder, console.status("") as status:
            measured: list[Row] = []
            try:
                for row in subject.measure(Setting(folder, full, status.update), ids):
                    measured.append(row)
                    console.print(f"{row.id}: ratio {row.ratio:.3g}. {facts_of(row)}", highlight=False)
            except NotMeasured as reason:
                console.print(f"Not measured: {reason}", highlight=False)
                missing |= {each: str(reason) for each in ids - {row.id for row in measured}}
            rows += measured
    return rows, missing


def wanted_ids(subjects: Sequence[Subject], only: str, *, full: bool) -> frozenset[str]:
    """The rows asked for.

    Raises:
        SystemExit: one is unknown.
    """
    known = [each for subject in subjects for each in subject.ids]
    asked = only.split()
    unknown = [each for each in asked if each not in known]
    if unknown:
        raise SystemExit(f"There is no row {unknown[0]}. There are: {' '.join(known)}.")
    return frozenset(asked) or frozenset(
        each for subject in subjects if full or not subject.only_full for each in subject.ids
    )


def main() -> int:
    """Measure and tell."""
    signal.signal(
        signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM)
    )  # so that folders and guests go too
    full = os.environ.get("SCALE", "") == "full"
    console = Console(stderr=True)
    wanted = wanted_ids(SUBJECTS, os.environ.get("ONLY", ""), full=full)
    measured_at = datetime.now(UTC)
    rows, missing = run(SUBJECTS, wanted, console, full=full)
    Console().print(terminal_table(rows))
    results = _REPOSITORY / _RESULTS
    results.parent.mkdir(exist_ok=True)
    results.write_text(json.dumps([row.document() for row in rows], indent=2) + "\n", encoding="utf-8")
    console.print(f"Written: {_RESULTS}", highlight=False)
    if os.environ.get("WRITE_DOCS"):
        generated = markdown(rows, machine(), f"{measured_at:%Y-%m-%d %H:%M} UTC", missing)
        write_into(_REPOSITORY / _DOCUMENT, generated)
        console.print(f"Written: {_DOCUMENT}", highlight=False)
    failed = [row.id for row in rows if not row.holds]
    if failed:
        console.print(f"Goals that did not hold in this run: {', '.join(failed)}.", highlight=False)
    return 1 if failed and os.environ.get("STRICT") else 0


if __name__ == "__main__":
    sys.exit(main())
