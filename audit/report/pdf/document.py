"""The PDF file: pages, contents, running lines with `page n of N`, attachments, a date from the snapshot.

Invariant: the same model and attachments give the same bytes. So nothing here reads a clock, and the file's
dates are the instant the facts were taken.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from io import BytesIO

from reportlab.pdfbase.pdfdoc import (
    PDFArray,
    PDFDictionary,
    PDFName,
    PDFStream,
    PDFString,
)
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import (
    BaseDocTemplate,
    Flowable,
    Frame,
    NextPageTemplate,
    PageBreak,
    PageTemplate,
    Paragraph,
    Spacer,
    TableStyle,
)
from reportlab.platypus.doctemplate import IndexingFlowable
from reportlab.platypus.tableofcontents import TableOfContents

from audit.report import model
from audit.report.attachment import Attachment
from audit.report.pdf import style
from audit.report.pdf.blocks import in_contents, section_flowables
from audit.report.pdf.cover import cover_flowables, cover_template


class _FixedTime:
    """What reportlab asks of a time stamp, for one given instant."""

    def __init__(self, at: datetime) -> None:
        self.t = at.timestamp()
        self.YMDhms = at.timetuple()[:6]
        self.dhh = self.dmm = 0


class _PageTotal(IndexingFlowable):  # type: ignore[misc] # reportlab has no types
    """Takes no room; asks for another pass until the number of pages printed on each page is the real one."""

    def __init__(self) -> None:
        super().__init__()
        self.pages = self._pages_before = 0

    def wrap(self, _width: float, _height: float) -> tuple[float, float]:
        return 0, 0

    def draw(self) -> None:
        self._pages_before, self.pages = self.pages, self.canv.getPageNumber()

    def isSatisfied(self) -> bool:  # noqa: N802 - reportlab's name
        return self.pages == self._pages_before


def render_pdf(
    report: model.ReportModel,
    attachments: Sequence[Attachment] = (),
    on_page: Callable[[int], None] = lambda _page: None,
) -> bytes:
    """Render a report as PDF.

    Args:
        report: what to print.
        attachments: files to carry inside, each under its name.
        on_page: told the number of each page that was set; they are set twice and more.
    """
    made_at = datetime.fromisoformat(report.made_at).astimezone(UTC)
    total = _PageTotal()

    def canvas(file: BytesIO, **options: object) -> Canvas:
        made = Canvas(file, **{**options, "invariant": 1, "pageCompression": 1, "lang": "en"})
        made._doc._timeStamp = _FixedTime(made_at)  # noqa: SLF001 - else the environment sets it
        made.showOutline()
        made.setViewerPreference("DisplayDocTitle", "true")
        _attach(made, attachments, made_at)
        return made

    out = BytesIO()
    document = BaseDocTemplate(
        out,
        pagesize=(style.PAGE_WIDTH, style.PAGE_HEIGHT),
        title=style.plain(report.title),
        author=f"{style.PRODUCT} evidence",
        subject="Evidence, control by control; not a certificate",
        creator=style.PRODUCT,
    )
    document.addPageTemplates([cover_template(report), _page_template(report, total)])
    document.setPageCallBack(_new_high(on_page))
    document.multiBuild(_story(report, total), canvasmaker=canvas)
    return out.getvalue()


def _new_high(on_page: Callable[[int], None]) -> Callable[[int], None]:
    """Tell only of pages beyond those already told: later passes set the same ones again."""
    told = 0

    def tell(page: int) -> None:
        nonlocal told
        if page > told:
            told = page
            on_page(page)

    return tell


def _story(report: model.ReportModel, total: _PageTotal) -> list[Flowable]:
    contents = TableOfContents()
    contents.levelStyles = [style.CONTENTS_1, style.CONTENTS_2]
    contents.dotsMinLevel = 1
    contents.tableStyle = _CONTENTS_TABLE
    # As many lines as there will be, so that the first pass already breaks its pages where the last one does.
    contents._lastEntries = list(_contents_lines(report.sections))  # noqa: SLF001 - reportlab has no way to say it
    story: list[Flowable] = [
        NextPageTemplate("page"),
        *cover_flowables(report.cover),
        PageBreak(),
        Paragraph("Contents", style.TITLE),
        Spacer(0, 6),
        contents,
    ]
    for section in report.sections:
        story.extend(section_flowables(section))
    return [*story, total]


def _contents_lines(sections: Sequence[model.Section], level: int = 0) -> Iterator[tuple[int, str, int, str]]:
    for section in sections:
        if in_contents(section, level):
            yield level, style.plain(section.title), 0, section.anchor
        yield from _contents_lines(section.sections, level + 1)


_CONTENTS_TABLE = TableStyle(
    [
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
        ("LEFTPADDING", (0, 0), (-1, -1), 0),
        ("RIGHTPADDING", (0, 0), (-1, -1), 0),
        ("TOPPADDING", (0, 0), (-1, -1), 0.8),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 0.8),
    ]
)


def _page_template(report: model.ReportModel, total: _PageTotal) -> PageTemplate:
    def draw(canvas: Canvas, document: BaseDocTemplate) -> None:
        canvas.saveState()
        canvas.setFont(style.SANS, 7.8)
        canvas.setFillColor(style.MUTED)
        head, foot = style.PAGE_HEIGHT - 15 * 2.835, style.MARGIN_BOTTOM * 0.55
        right = style.PAGE_WIDTH - style.MARGIN_X
        canvas.drawString(style.MARGIN_X, head, style.plain(f"{style.PRODUCT}  |  {report.running_title}"))
        canvas.drawRightString(right, head, "Evidence supports; it does not certify")
        canvas.drawString(style.MARGIN_X, foot, style.plain(report.running_foot)[:90])
        canvas.drawRightString(right, foot, f"Page {document.page} of {total.pages}")
        canvas.setStrokeColor(style.HAIRLINE)
        canvas.setLineWidth(0.5)
        canvas.line(style.MARGIN_X, head - 6, right, head - 6)
        canvas.line(style.MARGIN_X, foot + 11, right, foot + 11)
        canvas.restoreState()

    frame = Frame(
        style.MARGIN_X,
        style.MARGIN_BOTTOM,
        style.TEXT_WIDTH,
        style.PAGE_HEIGHT - style.MARGIN_TOP - style.MARGIN_BOTTOM,
        leftPadding=0,
        rightPadding=0,
        topPadding=0,
        bottomPadding=0,
    )
    return PageTemplate("page", [frame], onPage=draw)


def _attach(canvas: Canvas, attachments: Sequence[Attachment], made_at: datetime) -> None:
    """Embed files (ISO 32000-1 section 7.11.4), so that they can be taken out with any PDF tool."""
    if not attachments:
        return
    document = canvas._doc  # noqa: SLF001 - reportlab's canvas has no way to embed a file
    names: list[object] = []
    for attachment in sorted(attachments, key=lambda each: each.name):
        stamp = PDFString(made_at.strftime("D:%Y%m%d%H%M%SZ"))
        stream = PDFStream(
            dictionary=PDFDictionary(
                {
                    "Type": PDFName("EmbeddedFile"),
                    "Filter": PDFName("FlateDecode"),
                    "Params": PDFDictionary(
                        {
                            "Size": attachment.size_bytes,
                            "CreationDate": stamp,
                            "ModDate": stamp,
                        }
                    ),
                }
            ),
            # Packed already, as it was written: a table of every record is never here as a whole.
            content=attachment.deflated,
            filters=[],
        )
        specification = PDFDictionary(
            {
                "Type": PDFName("Filespec"),
                "F": PDFString(attachment.name),
                "UF": PDFString(attachment.name),
                "Desc": PDFString(attachment.description),
                "AFRelationship": PDFName("Data"),
                "EF": PDFDictionary({"F": document.Reference(stream)}),
            }
        )
        names += [PDFString(attachment.name), document.Reference(specification)]
    document.Catalog.Names = PDFDictionary({"EmbeddedFiles": PDFDictionary({"Names": PDFArray(names)})})
