"""The cover: a coloured band with the title, the figures that matter, and the sentences not to be missed."""

from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import (
    BaseDocTemplate,
    Flowable,
    Frame,
    PageTemplate,
    Paragraph,
    Spacer,
    Table,
    TableStyle,
)

from audit.report import model
from audit.report.pdf import style
from audit.report.pdf.blocks import callout, grid_flowables, pairs
from audit.report.pdf.flowables import Chart


def cover_flowables(cover: model.Cover) -> list[Flowable]:
    """What stands below the band: figures, bar, particulars, and the sentences not to be missed."""
    others = [style.TEXT_WIDTH * 0.69 / (len(cover.figures) - 1)] * (len(cover.figures) - 1)
    figures = Table(
        [
            [Paragraph(style.markup(number), _FIGURE) for number, _ in cover.figures],
            [Paragraph(style.markup(words), _FIGURE_WORDS) for _, words in cover.figures],
        ],
        colWidths=[style.TEXT_WIDTH * 0.31, *others],
    )
    figures.setStyle(
        TableStyle(
            [
                ("LEFTPADDING", (0, 0), (-1, -1), 0),
                ("TOPPADDING", (0, 0), (-1, -1), 0),
                ("BOTTOMPADDING", (0, 0), (-1, -1), 1),
            ]
        )
    )
    boxes: list[Flowable] = []
    for box in cover.callouts:
        boxes += [callout(box), Spacer(0, 5)]
    return [
        figures,
        Spacer(0, 12),
        Chart(cover.bar),
        Spacer(0, 8),
        pairs(model.Pairs(cover.pairs)),
        Spacer(0, 12),
        *boxes,
        Spacer(0, 6),
        *grid_flowables(cover.highlights),
    ]


_FIGURE = style.face("figure", 24, 29, face=style.SANS_BOLD, colour=style.NAVY)
_FIGURE_WORDS = style.face("figure-words", 8.5, 11, colour=style.MUTED)
_BAND_TITLE = style.face("band-title", 28, 34, face=style.SANS_BOLD, colour=style.WHITE)
_BAND_WORDS = style.face("band-words", 11.5, 16, colour=style.HEAD)


def cover_template(report: model.ReportModel) -> PageTemplate:
    """The page with the coloured band and the title in it."""

    def draw(canvas: Canvas, _document: BaseDocTemplate) -> None:
        canvas.saveState()
        bottom = style.PAGE_HEIGHT - style.BAND_HEIGHT
        canvas.setFillColor(style.NAVY)
        canvas.rect(0, bottom, style.PAGE_WIDTH, style.BAND_HEIGHT, stroke=0, fill=1)
        canvas.setFillColor(style.TEAL)
        canvas.rect(0, bottom - 4, style.PAGE_WIDTH, 4, stroke=0, fill=1)
        canvas.setFillColor(style.WHITE)
        canvas.setFont(style.SANS_BOLD, 12)
        canvas.drawString(style.MARGIN_X, style.PAGE_HEIGHT - 44, style.PRODUCT)
        canvas.setFont(style.SANS, 8.5)
        canvas.drawRightString(
            style.PAGE_WIDTH - style.MARGIN_X, style.PAGE_HEIGHT - 44, style.plain(report.cover.eyebrow)
        )
        title = Paragraph(style.markup(report.cover.title), _BAND_TITLE)
        words = Paragraph(style.markup(report.cover.subtitle), _BAND_WORDS)
        title.wrapOn(canvas, style.TEXT_WIDTH, style.BAND_HEIGHT)
        _, words_height = words.wrapOn(canvas, style.TEXT_WIDTH, style.BAND_HEIGHT)
        words.drawOn(canvas, style.MARGIN_X, bottom + 26)
        title.drawOn(canvas, style.MARGIN_X, bottom + 26 + words_height + 6)
        canvas.restoreState()

    frame = Frame(
        style.MARGIN_X,
        style.MARGIN_BOTTOM * 0.6,
        style.TEXT_WIDTH,
        style.PAGE_HEIGHT - style.BAND_HEIGHT - style.MARGIN_BOTTOM * 0.6 - 18,
        leftPadding=0,
        rightPadding=0,
        topPadding=0,
        bottomPadding=0,
    )
    return PageTemplate("cover", [frame], onPage=draw)
