"""The one model every form of a report is made of: PDF, HTML and JSON show the same words and figures (D12).

It knows sections, tables, pairs and verdicts, and nothing of fonts or tags. All text in it is plain text
that may come from hostile hands: renderers escape it, and `visible` has already shown what would otherwise
be hidden.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from audit.evidence.document import as_json
from audit.evidence.verdict import Verdict

#: The model document's shape.
MODEL_VERSION = 1
#: Longest text in one table cell; the attached evaluation holds all of it.
MAX_CELL = 160
#: Longest value beside a label, and longest line of code; and most such lines.
MAX_VALUE = 1500
MAX_LINES = 40
#: Rows of one table shown in PDF and HTML; the attached evaluation holds more, and totals are stated.
MAX_SHOWN_ROWS = 300

_INSTANT_LENGTH = len("2026-03-01T00:00:00.000000Z")
#: Categories that draw nothing or reorder what is drawn: controls, formats, private use, separators.
_HIDDEN = frozenset({"Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp"})


def visible(text: str) -> str:
    """Show what a reader could not see: control and direction characters are spelled out."""
    flat = " ".join(text.split("\n")) if "\n" in text else text
    if flat.isascii() and flat.isprintable():
        return flat
    return "".join(f"\\u{{{ord(c):x}}}" if unicodedata.category(c) in _HIDDEN else c for c in flat)


def clipped(text: str, limit: int = MAX_CELL) -> str:
    """Cut a text to a limit and say so; what was cut is in the attachment."""
    shown = visible(text)
    if len(shown) <= limit:
        return shown
    return f"{shown[:limit]}… ({len(text):,} characters; all of them in the attached evaluation)"


class Tone(StrEnum):
    """What a boxed note is: something to know, or something to mind."""

    NOTE = "note"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Text:
    """A paragraph. `lead` sets it larger, `small` smaller."""

    text: str
    size: str = "body"


@dataclass(frozen=True, slots=True)
class Bullets:
    """A list of sentences."""

    items: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Callout:
    """A boxed note with a heading."""

    tone: Tone
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Pairs:
    """Labels with values; `code` sets the values in a fixed-width face (digests, keys, commands)."""

    rows: tuple[tuple[str, str], ...]
    code: bool = False

    def __post_init__(self) -> None:
        shown = tuple((visible(label), clipped(value, MAX_VALUE)) for label, value in self.rows)
        object.__setattr__(self, "rows", shown)


@dataclass(frozen=True, slots=True)
class Code:
    """Lines to be typed or compared exactly."""

    lines: tuple[str, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "lines", tuple(clipped(line, MAX_VALUE) for line in self.lines[:MAX_LINES]))


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell: its text, or a verdict, and where it leads inside the report."""

    text: str
    verdict: Verdict | None = None
    link: str | None = None


@dataclass(frozen=True, slots=True)
class Column:
    """A column: heading, share of the width, and whether it is set right (numbers) or fixed-width (code)."""

    title: str
    share: int
    kind: str = "text"


@dataclass(frozen=True, slots=True)
class Grid:
    """A table. `total` is how many rows there were; the caption says so where fewer are shown."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    total: int
    empty: str = "There is nothing to list."
    rest: str = "the attached snapshot holds all of them"

    @property
    def shown(self) -> str:
        """How much of the whole is shown; empty when all of it is."""
        if len(self.rows) >= self.total:
            return ""
        return f"Showing {len(self.rows):,} of {self.total:,} rows; {self.rest}."


@dataclass(frozen=True, slots=True)
class VerdictBar:
    """A stacked bar of how many controls ended with which verdict."""

    title: str
    counts: tuple[tuple[Verdict, int], ...]

    @property
    def total(self) -> int:
        """Sum of the counts."""
        return sum(count for _, count in self.counts)


@dataclass(frozen=True, slots=True)
class StackedRows:
    """Stacked bars below one another: for each label, how many of each kind; every row names the kinds alike."""

    title: str
    rows: tuple[tuple[str, tuple[tuple[str, int], ...]], ...]

    def sums(self) -> tuple[tuple[str, tuple[tuple[str, int], ...], int], ...]:
        """Each row with its total."""
        return tuple((label, parts, sum(count for _, count in parts)) for label, parts in self.rows)


@dataclass(frozen=True, slots=True)
class Columns:
    """Stacked columns beside one another, such as days: for each label one figure of each series."""

    title: str
    series: tuple[str, ...]
    columns: tuple[tuple[str, tuple[int, ...]], ...]
    over: str = "Day (UTC)"


@dataclass(frozen=True, slots=True)
class SignatureLines:
    """Lines for people to sign on."""

    roles: tuple[str, ...]


Block = Text | Bullets | Callout | Pairs | Code | Grid | VerdictBar | StackedRows | Columns | SignatureLines


@dataclass(frozen=True, slots=True)
class Section:
    """A section with an anchor; `verdict` and `status` are shown beside its title."""

    anchor: str
    title: str
    blocks: tuple[Block, ...] = ()
    sections: "tuple[Section, ...]" = ()
    verdict: Verdict | None = None
    status: str = ""
    new_page: bool = False


@dataclass(frozen=True, slots=True)
class Cover:
    """The first page: what, of whom, for when, and the sentences that must not be missed."""

    eyebrow: str
    title: str
    subtitle: str
    figures: tuple[tuple[str, str], ...]
    bar: VerdictBar
    highlights: Grid
    pairs: tuple[tuple[str, str], ...]
    callouts: tuple[Callout, ...]


@dataclass(frozen=True, slots=True)
class ReportModel:
    """A whole report. `made_at` is the instant the facts were taken, RFC 3339: a report has no other date."""

    title: str
    running_title: str
    running_foot: str
    made_at: str
    cover: Cover
    sections: tuple[Section, ...]

    def document(self) -> dict[str, object]:
        """The model as one JSON object; each block names its type."""
        return {
            "v": MODEL_VERSION,
            "title": self.title,
            "made_at": self.made_at,
            "cover": as_json(self.cover, tag=True),
            "sections": as_json(self.sections, tag=True),
        }


def seconds(text: str) -> str:
    """A record's instant to the second; its number and the attached evaluation have the rest."""
    if len(text) == _INSTANT_LENGTH and text.endswith("Z") and text[10] == "T" and text[19] == ".":
        return f"{text[:10]} {text[11:19]}"
    return text


def prose(text: str) -> str:
    """Our own sentences as a report prints them: code that they quote stands in plain quotes."""
    return text.replace("`", "'")


def cells(*values: object, links: Sequence[str | None] = ()) -> tuple[Cell, ...]:
    """Make a row of plain cells; a Verdict becomes a verdict cell."""
    made = []
    for place, value in enumerate(values):
        link = links[place] if place < len(links) else None
        if isinstance(value, Verdict):
            made.append(Cell(value.value, verdict=value, link=link))
        else:
            made.append(Cell(clipped("—" if value is None or value == "" else str(value)), link=link))
    return tuple(made)
