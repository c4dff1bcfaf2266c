"""What a command prints: one JSON document, or tables and sentences for people. Errors go elsewhere."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from web.cli.tables import fitted, plain_lines

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
    "advice": "yellow",
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
        columns: headings, with the marks of `web.cli.tables.Column`.
        nothing: what to say without rows.
    """
    cells = [[_cell(value) for value in row] for row in rows]
    if not cells:
        print_line(nothing)
    elif sys.stdout.isatty():
        console = Console(highlight=False)
        console.print(fitted(columns, cells, console.width))
    else:
        sys.stdout.write("".join(f"{line}\n" for line in plain_lines(columns, cells)))


def print_facts(facts: Iterable[tuple[str, object]]) -> None:
    """Print names and values, one a line, aligned."""
    cells = [(name, _cell(value)) for name, value in facts]
    if sys.stdout.isatty():
        table = Table.grid(padding=(0, 3))
        table.add_column(style="bold", no_wrap=True)
        table.add_column(overflow="fold")
        for name, cell in cells:
            table.add_row(Text(name), cell)
        Console(highlight=False).print(table)
        return
    width = max((cell_len(name) for name, _ in cells), default=0)
    for name, cell in cells:
        sys.stdout.write(f"{name}{' ' * (width - cell_len(name))}   {cell.plain}".rstrip() + "\n")


def print_error(sentence: str) -> None:
    """Print the one sentence of an error to standard error."""
    sys.stderr.write(_printable(sentence) + "\n")
    sys.stderr.flush()


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
