"""Small charts as SVG, drawn on the server: no script, no inline style, colours from the style sheet's classes.

A chart never stands alone: the page that shows it says the same in words or in a table, and `title` is read aloud.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup

_WIDTH: Final = 440
_HEIGHT: Final = 150
_FOOT: Final = 20
_HEAD: Final = 16
_GAP: Final = 0.28
_LABELS: Final = 7
_STRIP_HEIGHT: Final = 12


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: its label below it, how high, and its tone (a class of the style sheet)."""

    label: str
    count: int
    tone: str = ""


@dataclass(frozen=True, slots=True)
class Share:
    """One part of a whole, and its tone."""

    name: str
    amount: float
    tone: str = ""


def bars(title: str, shown: Sequence[Bar]) -> Markup:
    """Bars side by side, from zero; each says its count above it unless that is zero.

    Args:
        title: what the chart shows, for those who do not see it.
    """
    most = max((bar.count for bar in shown), default=0) or 1
    slot = _WIDTH / max(len(shown), 1)
    height = _HEIGHT - _FOOT - _HEAD
    every = -(-len(shown) // _LABELS) or 1
    pieces = []
    for nth, bar in enumerate(shown):
        tall = height * bar.count / most
        left, width = nth * slot + slot * _GAP / 2, slot * (1 - _GAP)
        middle = nth * slot + slot / 2
        pieces.append(
            Markup(
                '<rect class="bar {}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" rx="2">'
            ).format(bar.tone, left, _HEAD + height - tall, width, tall)
            + Markup("<title>{}: {}</title></rect>").format(bar.label, bar.count)
        )
        if bar.count:
            pieces.append(_text(middle, _HEAD + height - tall - 4, str(bar.count)))
        if (len(shown) - 1 - nth) % every == 0:
            pieces.append(_text(middle, _HEIGHT - 5, bar.label))
    axis = Markup('<line class="axis" x1="0" x2="{0}" y1="{1}" y2="{1}"/>').format(_WIDTH, _HEAD + height)
    return _svg(title, _HEIGHT, [axis, *pieces])


def strip(title: str, whole: float, shares: Sequence[Share]) -> Markup:
    """One bar that shows how much of a whole is taken; what is more than the whole is cut off."""
    whole = whole or 1
    pieces = [
        Markup('<rect class="bar quiet" x="0" y="0" width="{}" height="{}" rx="3"/>').format(
            _WIDTH, _STRIP_HEIGHT
        )
    ]
    left = 0.0
    for share in shares:
        width = min(_WIDTH * share.amount / whole, _WIDTH - left)
        if width > 0:
            pieces.append(
                Markup('<rect class="bar {}" x="{:.1f}" y="0" width="{:.1f}" height="{}" rx="3">').format(
                    share.tone, left, width, _STRIP_HEIGHT
                )
                + Markup("<title>{}</title></rect>").format(share.name)
            )
        left += width
    return _svg(title, _STRIP_HEIGHT, pieces)


def _svg(title: str, height: int, pieces: Sequence[Markup]) -> Markup:
    head = Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">').format(_WIDTH, height, title)
    return head + Markup("").join(pieces) + Markup("</svg>")


def _text(x: float, y: float, text: str) -> Markup:
    return Markup('<text x="{:.1f}" y="{:.1f}" text-anchor="middle">{}</text>').format(x, y, text)
