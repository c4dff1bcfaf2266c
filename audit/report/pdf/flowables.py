"""The few things on a page that reportlab does not have: anchors, verdict chips, the stacked bar."""

from reportlab.lib.colors import Color
from reportlab.pdfbase.pdfmetrics import stringWidth
from reportlab.platypus import Flowable

from audit.evidence.verdict import Verdict
from audit.report.model import VerdictBar
from audit.report.pdf.style import INK, MUTED, SANS, SANS_BOLD, VERDICT_COLOURS, WHITE, plain

_CHIP_SIZE = 6.6
_CHIP_PADDING = 4.5
_CHIP_HEIGHT = 11.5


class Anchor(Flowable):  # type: ignore[misc] # reportlab has no types
    """Marks a place: a link target, a bookmark in the outline, and maybe a line in the contents."""

    width = height = 0

    def __init__(self, key: str, title: str, level: int, *, in_contents: bool) -> None:
        super().__init__()
        self._key, self._title, self._level, self._in_contents = key, plain(title), level, in_contents

    def wrap(self, _width: float, _height: float) -> tuple[float, float]:
        """Take no room."""
        return 0, 0

    def draw(self) -> None:
        """Set the bookmark where the page stands now."""
        self.canv.bookmarkHorizontal(self._key, 0, 14)
        self.canv.addOutlineEntry(self._title, self._key, level=self._level, closed=self._level > 0)
        if self._in_contents:
            entry = (self._level, self._title, self.canv.getPageNumber(), self._key)
            self.canv._doctemplate.notify("TOCEntry", entry)  # noqa: SLF001 - reportlab's own way


class Chip(Flowable):  # type: ignore[misc]
    """A verdict as a coloured label: the word in it is what counts, the colour only helps."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__()
        self._verdict = verdict
        self.width = stringWidth(verdict.value, SANS_BOLD, _CHIP_SIZE) + 2 * _CHIP_PADDING
        self.height = _CHIP_HEIGHT

    def wrap(self, _width: float, _height: float) -> tuple[float, float]:
        """Take the room of the word."""
        return self.width, self.height

    def draw(self) -> None:
        """Draw ground, edge and word."""
        ink, ground, _ = VERDICT_COLOURS[self._verdict]
        self.canv.setFillColor(ground)
        self.canv.setStrokeColor(ink)
        self.canv.setLineWidth(0.4)
        self.canv.roundRect(0, 0, self.width, self.height, 2.5, stroke=1, fill=1)
        self.canv.setFillColor(ink)
        self.canv.setFont(SANS_BOLD, _CHIP_SIZE)
        self.canv.drawString(_CHIP_PADDING, 3.4, self._verdict.value)


class Bar(Flowable):  # type: ignore[misc]
    """A stacked bar with a legend that names and counts each part in the bar's order."""

    _bar_height = 20.0
    _legend_row = 13.0

    def __init__(self, bar: VerdictBar) -> None:
        super().__init__()
        self._bar = bar
        self._parts = [(verdict, count) for verdict, count in bar.counts if count]
        self._lines: list[list[tuple[Verdict, str, float]]] = []

    def wrap(self, width: float, _height: float) -> tuple[float, float]:
        """Take the whole width; the legend takes as many lines as it needs."""
        self.width = width
        self._lines = [[]]
        used = 0.0
        for verdict, count in self._parts:
            words = f"{verdict.value}: {count}"
            room = stringWidth(words, SANS, 8) + 26
            if used + room > width and self._lines[-1]:
                self._lines.append([])
                used = 0.0
            self._lines[-1].append((verdict, words, used))
            used += room
        self.height = 14 + self._bar_height + 8 + self._legend_row * len(self._lines) + 4
        return width, self.height

    def draw(self) -> None:
        """Draw title, bar and legend."""
        canvas, top = self.canv, self.height
        canvas.setFillColor(INK)
        canvas.setFont(SANS_BOLD, 8.5)
        canvas.drawString(0, top - 9, plain(self._bar.title))
        bottom = top - 14 - self._bar_height
        left = 0.0
        for verdict, count in self._parts:
            ink, _, solid = VERDICT_COLOURS[verdict]
            room = self.width * count / max(self._bar.total, 1)
            self._part(left, bottom, room, solid)
            dark = verdict in {Verdict.SATISFIED, Verdict.NOT_SATISFIED, Verdict.WAIVED}
            if room > stringWidth(str(count), SANS_BOLD, 9) + 6:
                canvas.setFillColor(WHITE if dark else ink)
                canvas.setFont(SANS_BOLD, 9)
                canvas.drawCentredString(left + room / 2, bottom + 6.5, str(count))
            left += room
        for number, line in enumerate(self._lines):
            baseline = bottom - 14 - number * self._legend_row
            for verdict, words, place in line:
                self._part(place, baseline - 1.5, 9, VERDICT_COLOURS[verdict][2], height=9)
                canvas.setFillColor(MUTED)
                canvas.setFont(SANS, 8)
                canvas.drawString(place + 13, baseline, words)

    def _part(
        self, left: float, bottom: float, width: float, colour: Color, height: float = _bar_height
    ) -> None:
        self.canv.setFillColor(colour)
        self.canv.setStrokeColor(WHITE)
        self.canv.setLineWidth(0.8)
        self.canv.rect(left, bottom, width, height, stroke=1, fill=1)
