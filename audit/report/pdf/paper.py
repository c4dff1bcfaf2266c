"""The paper witness: a checkpoint on one A4 page, to be countersigned in the site's book.

Paper in a binder is a witness that no intruder on the network rewrites. People read the root aloud from it; the QR code
holds the signed checkpoint itself, so that a machine can compare an export with it years later.
"""

from datetime import datetime
from io import BytesIO

from reportlab.graphics import renderPDF
from reportlab.graphics.barcode.qr import QrCodeWidget
from reportlab.graphics.shapes import Drawing
from reportlab.lib.pagesizes import A4
from reportlab.lib.units import mm
from reportlab.pdfgen.canvas import Canvas

from audit.log.checkpoint import Checkpoint
from audit.log.note import Note

_MARGIN = 22 * mm
_QR = 88 * mm
_GROUP = 4
_GROUPS_PER_LINE = 8


def paper_page(note: bytes, printed_at: datetime) -> bytes:
    """Print a signed checkpoint.

    Args:
        note: the checkpoint, verified before.
        printed_at: now, aware, in UTC.

    Returns:
        A PDF of one page.

    Raises:
        NoteInvalid: it is not a checkpoint.
    """
    signed = Note.parse(note)
    checkpoint = Checkpoint.parse(signed.untrusted_text)
    file = BytesIO()
    page = Canvas(file, pagesize=A4, invariant=1)
    page.setTitle(f"Checkpoint of {checkpoint.origin} over {checkpoint.head.size} records")
    _, height = A4
    y = height - _MARGIN
    y = _line(page, y, "Checkpoint for the site's book", "Helvetica-Bold", 17, 26)
    facts = [
        ("Log", checkpoint.origin),
        ("Records", f"{checkpoint.head.size:,}".replace(",", " ")),
        ("Printed", f"{printed_at:%Y-%m-%d %H:%M} UTC"),
    ]
    for name, value in facts:
        page.setFont("Helvetica-Bold", 10.5)
        page.drawString(_MARGIN, y, name)
        page.setFont("Helvetica", 10.5)
        page.drawString(_MARGIN + 26 * mm, y, value)
        y -= 15
    y = _line(page, y - 6, "Root, to be read aloud", "Helvetica-Bold", 10.5, 17)
    for line in _groups(checkpoint.head.root.hex()):
        y = _line(page, y, line, "Courier-Bold", 14, 19)
    y = _line(page, y - 6, "Signed by", "Helvetica-Bold", 10.5, 14)
    for each in signed.signatures:
        y = _line(page, y, f"{each.key_id.hex()}  {each.name}", "Courier", 8.5, 11)
    y -= _QR + 4
    _draw_code(page, bytes(_of_the_log(signed, checkpoint.origin)), y)
    page.setFont("Helvetica", 9)
    beside = _MARGIN + _QR + 6 * mm
    for number, line in enumerate(_HOW):
        page.drawString(beside, y + _QR - 14 - number * 12.5, line)
    y -= 58
    for who in ("First person", "Second person"):
        page.line(_MARGIN, y, A4[0] - _MARGIN, y)
        page.drawString(_MARGIN, y - 11, f"{who}: name, date, signature")
        y -= 58
    page.showPage()
    page.save()
    return file.getvalue()


_HOW = (
    "Compare the root with the screen, then",
    "sign below and put the page into the book.",
    "",
    "To check later, scan the code with any",
    "phone, save its text as paper.txt, and",
    "verify an export of the log against it:",
    "",
    "strongroom verify EXPORT",
    "   --trust trust.json --paper paper.txt",
    "",
    "It fails when a record that this page was",
    "signed over is changed, moved or missing.",
)


def _line(page: Canvas, y: float, text: str, face: str, size: float, down: float) -> float:
    page.setFont(face, size)
    page.drawString(_MARGIN, y, text)
    return y - down


def _groups(digits: str) -> list[str]:
    groups = [digits[first : first + _GROUP] for first in range(0, len(digits), _GROUP)]
    return [
        " ".join(groups[first : first + _GROUPS_PER_LINE])
        for first in range(0, len(groups), _GROUPS_PER_LINE)
    ]


def _of_the_log(signed: Note, origin: str) -> Note:
    """The note without its cosignatures: the page is a witness itself, and the code stays coarse enough to scan."""
    own = [each for each in signed.signatures if each.name == origin or each.name.startswith(f"{origin}/")]
    return Note(signed.untrusted_text, tuple(own))


def _draw_code(page: Canvas, note: bytes, y: float) -> None:
    code = QrCodeWidget(note.decode(), barLevel="M", barWidth=_QR, barHeight=_QR)
    drawing = Drawing(_QR, _QR)
    drawing.add(code)
    renderPDF.draw(drawing, page, _MARGIN - 3 * mm, y)
