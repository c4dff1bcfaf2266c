"""The few things on a page that reportlab does not have: anchors, verdict chips, charts."""

from reportlab.lib.colors import HexColor
from reportlab.pdfbase.pdfmetrics import stringWidth
from reportlab.platypus import Flowable

from audit.evidence.verdict import Verdict
from audit.report.charts import PAINTS, Part, Rule, Words, drawn
from audit.report.model import Columns, StackedRows, VerdictBar
from audit.report.pdf.style import HAIRLINE, SANS, SANS_BOLD, VERDICT_COLOURS, plain

_CHIP_SIZE = 6.6
_CHIP_PADDING = 4.5
_CHIP_HEIGHT = 11.5
_HATCH_STEP = 4.0


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


class Chart(Flowable):  # type: ignore[misc]
    """A chart, drawn from the geometry that the HTML copy has too."""

    def __init__(self, block: VerdictBar | StackedRows | Columns) -> None:
        super().__init__()
        self._block = block

    def wrap(self, width: float, _height: float) -> tuple[float, float]:
        """Take the whole width."""
        self._drawing = drawn(self._block, width)
        self.width, self.height = width, self._drawing.height
        return width, self.height

    def draw(self) -> None:
        """Draw every shape; reportlab's `y` grows upward."""
        for shape in self._drawing.shapes:
            match shape:
                case Part():
                    self._part(shape)
                case Rule(x, y, width):
                    self.canv.setStrokeColor(HAIRLINE)
                    self.canv.setLineWidth(0.4)
                    self.canv.line(x, self.height - y, x + width, self.height - y)
                case Words():
                    self._words(shape)

    def _words(self, words: Words) -> None:
        canvas, text = self.canv, plain(words.text)
        canvas.setFont(SANS_BOLD if words.bold else SANS, words.size)
        canvas.setFillColor(HexColor(words.ink))
        draw = {"start": canvas.drawString, "middle": canvas.drawCentredString, "end": canvas.drawRightString}
        draw[words.anchor](words.x, self.height - words.y, text)

    def _part(self, part: Part) -> None:
        canvas, name = self.canv, part.paint.removesuffix(" plain")
        paint, plainly = PAINTS[name], part.paint != name
        bottom = self.height - part.y - part.height
        canvas.setFillColor(HexColor(paint.ground))
        if plainly:
            canvas.rect(part.x, bottom, part.width, part.height, stroke=0, fill=1)
            return
        canvas.saveState()
        outline = canvas.beginPath()
        outline.rect(part.x, bottom, part.width, part.height)
        canvas.clipPath(outline, stroke=0, fill=1)
        canvas.setStrokeColor(HexColor(paint.ink))
        canvas.setLineWidth(0.5)
        for direction in paint.hatch:
            canvas.lines(_hatching(direction, part.x, bottom, part.width, part.height))
        canvas.restoreState()
        canvas.setStrokeColor(HexColor(paint.ink) if paint.ink != "#FFFFFF" else HexColor(paint.ground))
        canvas.setLineWidth(0.5)
        canvas.rect(part.x, bottom, part.width, part.height, stroke=1, fill=0)


def _hatching(
    direction: str, x: float, y: float, width: float, height: float
) -> list[tuple[float, float, float, float]]:
    """Lines of one direction over a rectangle, a little longer than it; it is clipped to."""
    if direction == "-":
        return [(x, y + at, x + width, y + at) for at in _steps(height)]
    if direction == "|":
        return [(x + at, y, x + at, y + height) for at in _steps(width)]
    if direction == "/":
        return [(x + at - height, y, x + at, y + height) for at in _steps(width + height)]
    return [(x + at - height, y + height, x + at, y) for at in _steps(width + height)]


def _steps(length: float) -> list[float]:
    return [_HATCH_STEP * number for number in range(1, int(length / _HATCH_STEP) + 1)]
