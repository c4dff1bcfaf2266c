"""Tables that fit: a terminal sees whole words in its width, a pipe sees whole rows.

A terminal that is too narrow loses the columns that matter least, the last first (their headings end in `?`), and says
so; when even the rest does not fit, each row becomes a few lines. Without a terminal each row is one whole line,
so that `grep` and `awk` find what they look for.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

_GAP: Final = 3
#: A column that holds sentences may be folded down to this; others are shown whole or not at all.
_LEAST_FOLDED: Final = 24


@dataclass(frozen=True, slots=True)
class Column:
    """A heading as commands write it: `#Size` holds numbers, `Id?` may be left out, `What…` may be folded."""

    title: str
    number: bool
    optional: bool
    folds: bool

    @classmethod
    def read(cls, written: str) -> "Column":
        """Read the marks off a heading."""
        title = written.removeprefix("#").removesuffix("?").removesuffix("…")
        return cls(title, written.startswith("#"), written.endswith("?"), "…" in written)


def plain_lines(columns: Sequence[str], rows: Sequence[Sequence[Text]]) -> list[str]:
    """Aligned lines, none cut."""
    heads = [Column.read(column) for column in columns]
    one_line = [[Text(cell.plain.replace("\n", " ")) for cell in row] for row in rows]
    table = [[Text(head.title) for head in heads], *one_line]
    widths = [max(cell_len(row[nth].plain) for row in table) for nth in range(len(heads))]
    lines = []
    for row in table:
        cells = [
            " " * (width - cell_len(cell.plain)) + cell.plain if head.number
            else cell.plain + " " * (width - cell_len(cell.plain))
            for head, cell, width in zip(heads, row, widths, strict=True)
        ]  # fmt: skip
        lines.append((" " * _GAP).join(cells).rstrip())
    return lines


def fitted(columns: Sequence[str], rows: Sequence[Sequence[Text]], width: int) -> RenderableType:
    """The table for a terminal of this width."""
    heads = [Column.read(column) for column in columns]
    kept = list(range(len(heads)))
    while _least_width(heads, rows, kept) > width:
        optional = [nth for nth in kept if heads[nth].optional]
        if not optional:
            return _as_lines(heads, rows)
        kept.remove(optional[-1])
    table = _table([heads[nth] for nth in kept], [[row[nth] for nth in kept] for row in rows])
    left_out = [heads[nth].title for nth in range(len(heads)) if nth not in kept]
    if not left_out:
        return table
    return Group(
        table, Text(f"Left out here: {', '.join(left_out)}. A wider terminal shows all.", style="dim")
    )


def _least_width(heads: Sequence[Column], rows: Sequence[Sequence[Text]], kept: Sequence[int]) -> int:
    widths = []
    for nth in kept:
        natural = max(cell_len(heads[nth].title), *(cell_len(row[nth].plain) for row in rows))
        widths.append(min(natural, _LEAST_FOLDED) if heads[nth].folds else natural)
    return sum(widths) + _GAP * (len(widths) - 1)


def _table(heads: Sequence[Column], rows: Sequence[Sequence[Text]]) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold", show_edge=False)
    for head in heads:
        table.add_column(
            head.title,
            justify="right" if head.number else "left",
            overflow="fold",
            no_wrap=not head.folds,
        )
    for row in rows:
        table.add_row(*row)
    return table


def _as_lines(heads: Sequence[Column], rows: Sequence[Sequence[Text]]) -> RenderableType:
    """One block for each row: the first cell as its title, the others named below it."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim")
    grid.add_column(overflow="fold")
    for count, row in enumerate(rows):
        if count:
            grid.add_row("", "")
        for head, cell in zip(heads, row, strict=True):
            grid.add_row(head.title, cell)
    return grid
