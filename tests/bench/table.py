"""The table: on the terminal, and in docs/benchmarks.md, where nobody writes it by hand."""

import os
import platform
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.table import Table

from tests.bench.row import Row

#: Between these lines docs/benchmarks.md is generated.
BEGIN = "<!-- the table begins: written by `make bench WRITE_DOCS=1` -->"
END = "<!-- the table ends -->"


def terminal_table(rows: Sequence[Row]) -> Table:
    """The rows for people at a terminal."""
    table = Table(title="Strongroom against what you would use instead")
    for column in ("row", "ours", "theirs", "unit", "ratio", "spread", "goal", "holds"):
        table.add_column(
            column, justify="right" if column in {"ours", "theirs", "ratio", "spread"} else "left"
        )
    for row in rows:
        table.add_row(*_cells(row))
    return table


def facts_of(row: Row) -> str:
    """The further figures in one line."""
    return ", ".join(f"{name} {figure(value)}" for name, value in row.facts.items())


def markdown(rows: Sequence[Row], machine: str, measured_at: str, missing: Mapping[str, str]) -> str:
    """What stands in docs/benchmarks.md."""
    lines = [
        f"Measured {measured_at} on {machine}.",
        "",
        "| row | what against what | ours | theirs | unit | ratio | lowest to highest | goal | holds |",
        "| --- | --- | ---: | ---: | --- | ---: | ---: | --- | --- |",
    ]
    for row in rows:
        row_id, ours, theirs, unit, ratio, spread, goal, holds = _cells(row)
        lines.append(
            f"| `{row_id}` | {row.name} | {ours} | {theirs} | {unit} | {ratio} | {spread} | {goal} | {holds} |"
        )
    told = [f"- `{row.id}`: {facts_of(row)}" for row in rows if row.facts]
    told += [f"- `{row_id}`: not measured. {why}" for row_id, why in missing.items()]
    return "\n".join([*lines, "", *told])


def write_into(document: Path, generated: str) -> None:
    """Put the generated part between its marks."""
    text = document.read_text(encoding="utf-8")
    parts = re.fullmatch(f"(.*{re.escape(BEGIN)}\n).*({re.escape(END)}.*)", text, re.DOTALL)
    if parts is None:
        raise ValueError(f"{document} has no place for the table.")
    document.write_text(f"{parts[1]}\n{generated}\n\n{parts[2]}", encoding="utf-8")


def machine() -> str:
    """The machine in one line, without its name."""
    model = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    memory_kib = re.search(r"MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text(encoding="ascii"))
    qemu = subprocess.run(["qemu-img", "--version"], capture_output=True, text=True, check=False).stdout
    version = re.search(r"version (\S+)", qemu)
    return (
        f"{os.cpu_count()} cores ({model[1] if model else platform.machine()}), "
        f"{int(memory_kib[1]) // 2**20 if memory_kib else '?'} GiB, Linux {platform.release()}, "
        f"Python {platform.python_version()}, QEMU {version[1] if version else 'absent'}"
    )


def figure(value: float) -> str:
    """A figure as people read it."""
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}" if value >= 1 else f"{value:.3g}"


def _cells(row: Row) -> tuple[str, ...]:
    low, high = row.spread
    holds = "yes" if row.holds else "NO"
    return (
        row.id, figure(row.ours), figure(row.theirs), row.unit, figure(row.ratio), f"{figure(low)} to {figure(high)}",
        row.goal, holds,
    )  # fmt: skip
