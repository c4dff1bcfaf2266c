"""What a command prints: one JSON document, or tables and sentences for people. Errors go elsewhere."""

import io
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

#: A pipe has no width; rows must not be cut for it.
_PIPE_COLUMNS: Final = 400
_TONES: Final = {
    "running": "green",
    "ok": "green",
    "done": "green",
    "allow": "green",
    "holds": "green",
    "deny": "red",
    "denied": "red",
    "failed": "red",
    "missing": "red",
    "critical": "red",
    "high": "red",
    "sealed": "yellow",
    "unmet": "yellow",
    "pending": "yellow",
}


def print_json(document: Mapping[str, Any]) -> None:
    """Print the one document of `--json`."""
    sys.stdout.write(json.dumps(document, ensure_ascii=False, indent=2) + "\n")
    sys.stdout.flush()


def print_line(sentence: str) -> None:
    """Print a line of text as it is."""
    sys.stdout.write(_printable(sentence) + "\n")


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], nothing: str) -> None:
    """Print rows that fit the terminal, or a sentence where there are none.

    Args:
        columns: headings; one that begins with `#` holds numbers.
        nothing: what to say without rows.
    """
    table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold", show_edge=False)
    for column in columns:
        justify: Literal["left", "right"] = "right" if column.startswith("#") else "left"
        table.add_column(column.removeprefix("#"), justify=justify, overflow="fold")
    for row in rows:
        table.add_row(*(_cell(value) for value in row))
    if table.row_count == 0:
        print_line(nothing)
        return
    _print(table)


def print_facts(facts: Iterable[tuple[str, object]]) -> None:
    """Print names and values, one a line, aligned."""
    table = Table.grid(padding=(0, 3))
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in facts:
        table.add_row(Text(name), _cell(value))
    _print(table)


def print_error(sentence: str) -> None:
    """Print the one sentence of an error to standard error."""
    sys.stderr.write(_printable(sentence) + "\n")
    sys.stderr.flush()


def _print(table: Table) -> None:
    if sys.stdout.isatty():
        Console(highlight=False).print(table)
        return
    page = Console(file=io.StringIO(), width=_PIPE_COLUMNS, highlight=False)
    with page.capture() as captured:
        page.print(table)
    sys.stdout.write("".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()))


def _cell(value: object) -> Text:
    if value is None or value == "":
        return Text("—", style="dim")
    if isinstance(value, bool):
        return Text("yes" if value else "no")
    if isinstance(value, list | tuple):
        return Text(", ".join(str(part) for part in value) or "—")
    written = _printable(str(value))
    return Text(written, style=_TONES.get(written.lower(), ""))


def _printable(text: str) -> str:
    """Take out what could drive a terminal: names and guests' words come from elsewhere."""
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)
