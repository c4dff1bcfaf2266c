"""How the PDF looks: page, colours, faces, and how text becomes safe for reportlab's small markup.

The standard PDF faces are used: they need no font files and every viewer has them. They hold the characters
of Windows code page 1252 and no others; `markup` spells out the rest, so that nothing is shown as a blank
box.
"""

from html import escape

from reportlab.lib.colors import Color, HexColor
from reportlab.lib.enums import TA_RIGHT
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm

from audit.evidence.verdict import Verdict
from audit.report.model import Tone, visible

PAGE_WIDTH, PAGE_HEIGHT = A4
MARGIN_X = 18 * mm
MARGIN_TOP = 24 * mm
MARGIN_BOTTOM = 20 * mm
TEXT_WIDTH = PAGE_WIDTH - 2 * MARGIN_X
#: Height of the coloured band on the cover.
BAND_HEIGHT = 78 * mm

NAVY = HexColor("#12233F")
TEAL = HexColor("#0E7C86")
INK = HexColor("#1C2430")
MUTED = HexColor("#5A6676")
HAIRLINE = HexColor("#D5DBE3")
SHADE = HexColor("#F3F5F9")
HEAD = HexColor("#E6EBF3")
WHITE = HexColor("#FFFFFF")

#: Ink and ground of each verdict; both pass WCAG AA against each other. The word is always printed as well.
VERDICT_COLOURS: dict[Verdict, tuple[Color, Color, Color]] = {
    # ink, ground, and the solid used in bars
    Verdict.SATISFIED: (HexColor("#14532D"), HexColor("#DCF3E4"), HexColor("#2F9E5B")),
    Verdict.PARTIAL: (HexColor("#7A3E00"), HexColor("#FDF0D2"), HexColor("#E2A52B")),
    Verdict.NOT_SATISFIED: (HexColor("#8B1515"), HexColor("#FBE0E0"), HexColor("#C93B3B")),
    Verdict.WAIVED: (HexColor("#5B2A86"), HexColor("#EEE3F8"), HexColor("#8E5BBF")),
    Verdict.NO_POPULATION: (HexColor("#1E4E79"), HexColor("#DFECF8"), HexColor("#6FA3D0")),
    Verdict.NOT_EVALUATED: (HexColor("#3E4854"), HexColor("#E9ECF0"), HexColor("#B4BCC7")),
    Verdict.NOT_APPLICABLE: (HexColor("#3E4854"), HexColor("#F6F7F9"), HexColor("#DDE1E7")),
}

TONE_COLOURS: dict[Tone, tuple[Color, Color]] = {
    Tone.NOTE: (TEAL, HexColor("#EAF5F6")),
    Tone.WARNING: (HexColor("#B45309"), HexColor("#FEF6E7")),
}

PRODUCT = "Strongroom"
SANS, SANS_BOLD, MONO = "Helvetica", "Helvetica-Bold", "Courier"


def face(
    name: str, size: float, leading: float, *, face: str = SANS, colour: Color = INK, **more: object
) -> ParagraphStyle:
    """A paragraph style: size and leading in points, and whatever else reportlab knows."""
    return ParagraphStyle(name, fontName=face, fontSize=size, leading=leading, textColor=colour, **more)


BODY = face("body", 9.5, 13.5, spaceAfter=6)
LEAD = face("lead", 11, 16, spaceAfter=8)
SMALL = face("small", 8, 11, colour=MUTED, spaceBefore=4, spaceAfter=6)
TITLE = face("title", 19, 23, face=SANS_BOLD, colour=NAVY, spaceAfter=2)
HEADING = face("heading", 12.5, 16, face=SANS_BOLD, colour=NAVY, spaceBefore=12, spaceAfter=5)
CARD_TITLE = face("card", 10, 13, face=SANS_BOLD, colour=NAVY)
LABEL = face("label", 8, 11, face=SANS_BOLD, colour=MUTED)
VALUE = face("value", 8.8, 11.8)
VALUE_CODE = face("value-code", 7.8, 11, face=MONO)
CELL = face("cell", 7.9, 10)
CELL_RIGHT = face("cell-right", 7.9, 10, alignment=TA_RIGHT)
CELL_CODE = face("cell-code", 6.9, 9.2, face=MONO)
CELL_HEAD = face("cell-head", 7.6, 9.6, face=SANS_BOLD, colour=NAVY)
CELL_HEAD_RIGHT = face("cell-head-right", 7.6, 9.6, face=SANS_BOLD, colour=NAVY, alignment=TA_RIGHT)
CALLOUT = face("callout", 8.9, 12.4)
CODE = face("code", 7.8, 11, face=MONO)
BULLET = face("bullet", 9.2, 13, leftIndent=12, bulletIndent=2, spaceAfter=3)
STATUS = face("status", 7.2, 9, colour=MUTED, alignment=TA_RIGHT)
CONTENTS_1 = face("contents-1", 9.8, 12.4, face=SANS_BOLD, colour=NAVY, spaceBefore=3.5)
CONTENTS_2 = face("contents-2", 8.6, 10.6, leftIndent=16)

#: Signs that the faces lack and that have a plain spelling.
_SPELLED = str.maketrans(
    {
        "\u2264": "<=",
        "\u2265": ">=",
        "\u2192": "->",
        "\u2212": "-",
        "\u2260": "!=",
        "\u2011": "-",
        "\u00a0": " ",
    }
)


def plain(text: str) -> str:
    """Text with every character that the faces lack, or that would not show, spelled out."""
    shown = visible(text.translate(_SPELLED))
    if shown.isascii():
        return shown
    return "".join(c if _drawable(c) else f"\\u{{{ord(c):x}}}" for c in shown)


def markup(text: str) -> str:
    """Text as reportlab's markup: nothing in it can become a tag (FACTS: `<b>x` crashed a build)."""
    return escape(plain(text), quote=True)


def _drawable(character: str) -> bool:
    try:
        character.encode("cp1252")
    except UnicodeEncodeError:
        return False
    return True
