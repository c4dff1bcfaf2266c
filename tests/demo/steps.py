"""Tells what is being done, how long it took, and keeps it for the closing table and `summary.json`."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table


@dataclass(slots=True)
class Step:
    """One step as `summary.json` has it."""

    n: int
    name: str
    seconds: float = 0.0
    ok: bool = False


@dataclass(slots=True)
class Story:
    """The steps so far, and where the results lie."""

    out_dir: Path
    console: Console = field(default_factory=lambda: Console(highlight=False))
    steps: list[Step] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Tell a step, time it, and write the summary also when it fails."""
        step = Step(len(self.steps) + 1, name)
        self.steps.append(step)
        self.console.print(f"\n[bold]{step.n}. {name}[/bold]")
        began = time.monotonic()
        try:
            yield
            step.ok = True
        finally:
            step.seconds = round(time.monotonic() - began, 1)
            self.console.print(f"   [dim]{'done' if step.ok else 'failed'} in {step.seconds} s[/dim]")

    def say(self, sentence: str) -> None:
        """Tell something that was seen."""
        self.console.print(f"   {sentence}", markup=False)

    def write_summary(self, url: str, data_dir: Path) -> None:
        """Write `summary.json` in the shape of INTERFACES."""
        summary: dict[str, Any] = {
            "steps": [{"n": s.n, "name": s.name, "seconds": s.seconds, "ok": s.ok} for s in self.steps],
            "files": self.files,
            "url": url,
            "data_dir": str(data_dir),
        }
        (self.out_dir / "summary.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")

    def print_table(self) -> None:
        """Close with what was done and where the files are."""
        table = Table(title="What was done", show_lines=False)
        for heading in ("", "step", "seconds", ""):
            table.add_column(heading, justify="right" if heading == "seconds" else "left")
        for step in self.steps:
            table.add_row(str(step.n), step.name, f"{step.seconds:.1f}", "ok" if step.ok else "FAILED")
        table.add_section()
        table.add_row("", "all", f"{sum(s.seconds for s in self.steps):.1f}", "")
        self.console.print()
        self.console.print(table)
        files = Table(title="Where the files are")
        files.add_column("what")
        files.add_column("where", overflow="fold")
        for name, path in self.files.items():
            files.add_row(name, path)
        self.console.print(files)
