"""`make model`: runs all models and prints what each showed."""

import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.model.runs import RUNS, check, verdict


def main() -> int:
    """Run everything; 1 when a property was violated or a seeded defect not caught."""
    console = Console()
    table = Table("Model", "Seeded defect", "States", "Seconds", "Result")
    failed = 0
    for run in RUNS:
        console.print(f"{run.model}: {run.defect or 'as it is'} …", style="dim")
        begun = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            result = check(run, Path(folder))
        wrong = verdict(run, result)
        failed += wrong is not None
        good = "holds" if run.defect is None else "caught"
        took_s = time.monotonic() - begun
        table.add_row(run.model, run.defect or "—", f"{result.states:,}", f"{took_s:.0f}", wrong or good)
    console.print(table)
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
