"""Where each part of a chart stands: one geometry that the PDF and the HTML draw alike.

Every kind of part has a hatching of its own beside its colour, so that a black-and-white print says the same, and
every chart states its figures in words or stands over a table that does. Lengths are points; `y` grows downward.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil

from audit.evidence.verdict import Verdict
from audit.report.model import Columns, StackedRows, VerdictBar, visible

#: Mean width of a character as a share of its size; what is placed by it has room to spare.
_CHARACTER = 0.54
_SIZE, _SMALL = 8.0, 7.0
_TITLE_HEIGHT = 15.0
_LEGEND_ROW = 13.0
_SWATCH = 9.0
_PLOT_HEIGHT = 92.0
_MAX_COLUMN = 34.0
_GRID_LINES = 4


@dataclass(frozen=True, slots=True)
class Paint:
    """How a kind of part is filled: ground, ink of its hatching and of figures on it, and the hatching's lines.

    Attributes:
        hatch: directions of lines: slash, backslash, hyphen, bar; empty for a plain ground.
    """

    ground: str
    ink: str
    hatch: str = ""


PAINTS: dict[str, Paint] = {
    Verdict.SATISFIED: Paint("#1F7A45", "#FFFFFF"),
    Verdict.PARTIAL: Paint("#FBE3AE", "#7A3E00", "/"),
    Verdict.NOT_SATISFIED: Paint("#F4B6B6", "#8B1515", "/\\"),
    Verdict.WAIVED: Paint("#E4D3F3", "#5B2A86", "-"),
    Verdict.NO_POPULATION: Paint("#D3E5F5", "#1E4E79", "|"),
    Verdict.NOT_EVALUATED: Paint("#E3E7EC", "#3E4854"),
    Verdict.NOT_APPLICABLE: Paint("#FFFFFF", "#3E4854"),
    "allowed": Paint("#12233F", "#FFFFFF"),
    "failed though allowed": Paint("#FBE3AE", "#7A3E00", "/"),
    "denied": Paint("#F4B6B6", "#8B1515", "/\\"),
    "waiting for approval": Paint("#D3E5F5", "#1E4E79", "|"),
    "keys": Paint("#0E7C86", "#FFFFFF"),
}


@dataclass(frozen=True, slots=True)
class Part:
    """A filled rectangle; `paint` names its paint."""

    x: float
    y: float
    width: float
    height: float
    paint: str


@dataclass(frozen=True, slots=True)
class Words:
    """A line of text; `anchor` is `start`, `middle` or `end`, `y` its baseline."""

    x: float
    y: float
    text: str
    size: float = _SIZE
    anchor: str = "start"
    bold: bool = False
    ink: str = "#4F5B6B"


@dataclass(frozen=True, slots=True)
class Rule:
    """A thin level line."""

    x: float
    y: float
    width: float


Shape = Part | Words | Rule


@dataclass(frozen=True, slots=True)
class Drawing:
    """A chart's shapes, in the order they are drawn."""

    width: float
    height: float
    shapes: tuple[Shape, ...]


def drawn(block: VerdictBar | StackedRows | Columns, width: float) -> Drawing:
    """Lay a chart out in a width of so many points."""
    shapes = list(
        {VerdictBar: _bar, StackedRows: _rows, Columns: _columns}[type(block)](block, width)  # type: ignore[operator]
    )
    low = max((_bottom(shape) for shape in shapes), default=0.0)
    return Drawing(width, low + 3, tuple(shapes))


def _bottom(shape: Shape) -> float:
    return shape.y + (shape.height if isinstance(shape, Part) else 2.0)


def _title(text: str) -> Words:
    return Words(0, 9, text, 8.5, bold=True, ink="#1C2430")


def _room(text: str, size: float) -> float:
    return len(text) * size * _CHARACTER


def _cut(text: str, room: float, size: float) -> str:
    shown = visible(text)
    most = int(room / (size * _CHARACTER))
    return shown if len(shown) <= most else f"{shown[: max(most - 1, 1)]}…"


def _stack(
    parts: Sequence[tuple[str, int]], x: float, y: float, width: float, height: float, total: int
) -> Iterator[Shape]:
    """One bar of parts side by side, each with its figure where it fits."""
    for paint, count in parts:
        if not count:
            continue
        room = width * count / max(total, 1)
        yield Part(x, y, room, height, paint)
        figure = f"{count:,}"
        if room > _room(figure, _SIZE) + 7:
            # The figure stands on plain ground, so that no hatching crosses it.
            if PAINTS[paint].hatch:
                half = _room(figure, _SIZE) / 2 + 1.5
                yield Part(x + room / 2 - half, y + 1.5, 2 * half, height - 3, f"{paint} plain")
            middle = y + height / 2 + _SIZE * 0.36
            yield Words(x + room / 2, middle, figure, anchor="middle", bold=True, ink=PAINTS[paint].ink)
        x += room


def _legend(entries: Sequence[tuple[str, str]], y: float, width: float) -> Iterator[Shape]:
    x = 0.0
    for paint, text in entries:
        room = _room(text, _SIZE) + 27
        if x and x + room > width:
            x, y = 0.0, y + _LEGEND_ROW
        yield Part(x, y, _SWATCH, _SWATCH, paint)
        yield Words(x + 13, y + 7.5, text)
        x += room


def _bar(block: VerdictBar, width: float) -> Iterator[Shape]:
    yield _title(block.title)
    yield from _stack(block.counts, 0, _TITLE_HEIGHT, width, 20, block.total)
    entries = [(verdict.value, f"{verdict.value}: {count}") for verdict, count in block.counts if count]
    yield from _legend(entries, _TITLE_HEIGHT + 27, width)


def _rows(block: StackedRows, width: float) -> Iterator[Shape]:
    yield _title(block.title)
    y, label_width, figure_width = _TITLE_HEIGHT, width * 0.36, 26.0
    most = max((total for _, _, total in block.sums()), default=1)
    for label, parts, total in block.sums():
        yield Words(0, y + 10, _cut(label, label_width - 6, _SIZE), ink="#1C2430")
        room = (width - label_width - figure_width) * total / max(most, 1)
        yield from _stack(parts, label_width, y, room, 14, total)
        yield Words(label_width + room + 5, y + 10, str(total), bold=True)
        y += 18
    used = {paint for _, parts in block.rows for paint, count in parts if count}
    order = [paint for paint, _ in block.rows[0][1]] if block.rows else []
    yield from _legend([(paint, paint) for paint in order if paint in used], y + 5, width)


def _columns(block: Columns, width: float) -> Iterator[Shape]:
    yield _title(block.title)
    top, left = _TITLE_HEIGHT + 4, 40.0
    most = max((sum(values) for _, values in block.columns), default=0)
    step = _round_step(most)
    scale = step * max(ceil(most / step), 1)
    for line in range(0, scale + 1, step):
        y = top + _PLOT_HEIGHT * (1 - line / scale)
        yield Rule(left, y, width - left)
        yield Words(left - 4, y + 2.5, f"{line:,}", _SMALL, "end")
    room = (width - left) / max(len(block.columns), 1)
    each = min(room * 0.78, _MAX_COLUMN)
    every = (
        ceil(max(_room(label, _SMALL) for label, _ in block.columns) * 1.15 / room) if block.columns else 1
    )
    for place, (label, values) in enumerate(block.columns):
        middle, y = left + room * (place + 0.5), top + _PLOT_HEIGHT
        for paint, value in zip(block.series, values, strict=True):
            height = _PLOT_HEIGHT * value / scale
            y -= height
            if value:
                yield Part(middle - each / 2, y, each, height, paint)
        if place % every == 0:
            yield Words(middle, top + _PLOT_HEIGHT + 10, label, _SMALL, "middle")
    bottom = top + _PLOT_HEIGHT + 17
    sums = [sum(values[place] for _, values in block.columns) for place in range(len(block.series))]
    entries = [(paint, f"{paint}: {total:,}") for paint, total in zip(block.series, sums, strict=True)]
    yield from _legend(entries, bottom, width)


def _round_step(most: int) -> int:
    """A step of 1, 2 or 5 times a power of ten that gives few grid lines."""
    step = 1
    while True:
        for times in (1, 2, 5):
            if most <= step * times * _GRID_LINES:
                return step * times
        step *= 10
