"""Turns the model's blocks and sections into what reportlab lays out on pages."""

from collections.abc import Iterator

from reportlab.platypus import (
    CondPageBreak,
    Flowable,
    HRFlowable,
    KeepTogether,
    PageBreak,
    Paragraph,
    Spacer,
    Table,
    TableStyle,
)

from audit.report import model
from audit.report.pdf import style
from audit.report.pdf.flowables import Anchor, Chart, Chip

#: Rows in one reportlab table: the layout of longer ones takes time with the square of their rows.
_CHUNK_ROWS = 300
_LABEL_SHARE = 0.17
#: A card with a table of at most so many rows is not broken, if it fits a page.
_WHOLE_CARD_ROWS = 8
_LINE = 0.4
#: Room a heading wants below it on its page, in points.
_ROOM_BELOW = 90
_ROOM_BELOW_CARD = 130


def section_flowables(section: model.Section, level: int = 0) -> Iterator[Flowable]:
    """Lay out a section and what is below it. Level 0 is a chapter, 1 a heading, 2 a card."""
    is_card = section.verdict is not None
    if level == 0:
        yield PageBreak() if section.new_page else CondPageBreak(_ROOM_BELOW * 2)
        if not section.new_page:
            yield Spacer(0, 14)
    else:
        yield CondPageBreak(_ROOM_BELOW_CARD if is_card else _ROOM_BELOW)
    anchor = Anchor(section.anchor, section.title, level, in_contents=in_contents(section, level))
    blocks = [flowable for block in section.blocks for flowable in block_flowables(block)]
    if is_card:
        head = _card_head(section)
        rows = sum(len(block.rows) for block in section.blocks if isinstance(block, model.Grid))
        # The head stays with what it heads; a long table may break over pages, a short one need not.
        together = len(blocks) if rows <= _WHOLE_CARD_ROWS else 1
        yield KeepTogether([anchor, head, *blocks[:together]])
        yield from blocks[together:]
        yield Spacer(0, 9)
    elif level == 0:
        yield from (anchor, Paragraph(style.markup(section.title), style.TITLE))
        yield HRFlowable(width="100%", thickness=1.2, color=style.TEAL, spaceBefore=2, spaceAfter=8)
        yield from blocks
    else:
        yield KeepTogether([anchor, Paragraph(style.markup(section.title), style.HEADING), *blocks[:1]])
        yield from blocks[1:]
    for below in section.sections:
        yield from section_flowables(below, level + 1)


def in_contents(section: model.Section, level: int) -> bool:
    """Whether a section has a line in the contents: chapters and headings, not each control and evidence item."""
    return level <= 1 and section.verdict is None


def _card_head(section: model.Section) -> Flowable:
    assert section.verdict is not None  # noqa: S101 - a card is a section with a verdict
    right: list[Flowable] = [Chip(section.verdict)]
    if section.status:
        right += [Spacer(0, 2.5), Paragraph(style.markup(f"PCI DSS: {section.status}"), style.STATUS)]
    right[0].hAlign = "RIGHT"
    _, _, solid = style.VERDICT_COLOURS[section.verdict]
    head = Table(
        [[Paragraph(style.markup(section.title), style.CARD_TITLE), right]],
        colWidths=[style.TEXT_WIDTH * 0.72, style.TEXT_WIDTH * 0.28],
    )
    head.setStyle(
        TableStyle(
            [
                ("BACKGROUND", (0, 0), (-1, -1), style.SHADE),
                ("LINEBEFORE", (0, 0), (0, 0), 3, solid),
                ("VALIGN", (0, 0), (-1, -1), "MIDDLE"),
                ("ALIGN", (1, 0), (1, 0), "RIGHT"),
                ("LEFTPADDING", (0, 0), (0, 0), 9),
                ("RIGHTPADDING", (-1, 0), (-1, 0), 7),
                ("TOPPADDING", (0, 0), (-1, -1), 5),
                ("BOTTOMPADDING", (0, 0), (-1, -1), 5),
            ]
        )
    )
    return head


def block_flowables(block: model.Block) -> list[Flowable]:
    """Lay out one block."""
    made: list[Flowable] = []
    match block:
        case model.Text(text, size):
            face = {"lead": style.LEAD, "small": style.SMALL}.get(size, style.BODY)
            made = [Paragraph(style.markup(text), face)]
        case model.Bullets(items):
            made = [Paragraph(style.markup(item), style.BULLET, bulletText="•") for item in items]
        case model.Callout():
            made = [callout(block), Spacer(0, 6)]
        case model.Pairs():
            made = [pairs(block), Spacer(0, 5)]
        case model.Code(lines):
            made = [_code(lines), Spacer(0, 6)]
        case model.Grid():
            made = [*grid_flowables(block), Spacer(0, 6)]
        case model.VerdictBar() | model.StackedRows() | model.Columns():
            made = [Chart(block), Spacer(0, 8)]
        case model.SignatureLines(roles):
            made = [_signatures(roles)]
    return made


def callout(block: model.Callout) -> Flowable:
    """A boxed note with a coloured edge."""
    edge, ground = style.TONE_COLOURS[block.tone]
    words = f"<b>{style.markup(block.title)}</b><br/>{style.markup(block.text)}"
    box = Table([[Paragraph(words, style.CALLOUT)]], colWidths=[style.TEXT_WIDTH])
    box.setStyle(
        TableStyle(
            [
                ("BACKGROUND", (0, 0), (-1, -1), ground),
                ("LINEBEFORE", (0, 0), (0, -1), 3, edge),
                ("LEFTPADDING", (0, 0), (-1, -1), 10),
                ("RIGHTPADDING", (0, 0), (-1, -1), 10),
                ("TOPPADDING", (0, 0), (-1, -1), 7),
                ("BOTTOMPADDING", (0, 0), (-1, -1), 8),
            ]
        )
    )
    return box


def pairs(block: model.Pairs) -> Flowable:
    """Labels on the left, values on the right."""
    face = style.VALUE_CODE if block.code else style.VALUE
    rows = [
        [Paragraph(style.markup(label), style.LABEL), Paragraph(style.markup(value), face)]
        for label, value in block.rows
    ]
    width = style.TEXT_WIDTH
    table = Table(rows, colWidths=[width * _LABEL_SHARE, width * (1 - _LABEL_SHARE)])
    table.setStyle(
        TableStyle(
            [
                ("VALIGN", (0, 0), (-1, -1), "TOP"),
                ("LEFTPADDING", (0, 0), (0, -1), 9),
                ("TOPPADDING", (0, 0), (-1, -1), 2.5),
                ("BOTTOMPADDING", (0, 0), (-1, -1), 2.5),
                ("LINEBELOW", (0, 0), (-1, -2), _LINE, style.HAIRLINE),
            ]
        )
    )
    return table


def _code(lines: tuple[str, ...]) -> Flowable:
    rows = [
        [Paragraph(style.markup(line).replace("  ", "&nbsp; ") or "&nbsp;", style.CODE)] for line in lines
    ]
    table = Table(rows, colWidths=[style.TEXT_WIDTH])
    table.setStyle(
        TableStyle(
            [
                ("BACKGROUND", (0, 0), (-1, -1), style.SHADE),
                ("LEFTPADDING", (0, 0), (-1, -1), 9),
                ("TOPPADDING", (0, 0), (-1, -1), 1.5),
                ("BOTTOMPADDING", (0, 0), (-1, -1), 1.5),
            ]
        )
    )
    return table


def grid_flowables(grid: model.Grid) -> Iterator[Flowable]:
    """A table, in pieces that repeat its head; says how much of the whole is shown."""
    if not grid.rows:
        yield Paragraph(style.markup(grid.empty), style.SMALL)
        return
    shares = sum(column.share for column in grid.columns)
    widths = [style.TEXT_WIDTH * column.share / shares for column in grid.columns]
    head = [
        Paragraph(
            style.markup(column.title),
            style.CELL_HEAD_RIGHT if column.kind == "number" else style.CELL_HEAD,
        )
        for column in grid.columns
    ]
    for start in range(0, len(grid.rows), _CHUNK_ROWS):
        body = [
            [_cell(cell, column) for cell, column in zip(row, grid.columns, strict=True)]
            for row in grid.rows[start : start + _CHUNK_ROWS]
        ]
        table = Table([head, *body], colWidths=widths, repeatRows=1, splitInRow=1)
        table.setStyle(_GRID_STYLE)
        yield table
    if grid.shown:
        yield Paragraph(style.markup(grid.shown), style.SMALL)


_GRID_STYLE = TableStyle(
    [
        ("BACKGROUND", (0, 0), (-1, 0), style.HEAD),
        ("VALIGN", (0, 0), (-1, 0), "BOTTOM"),
        ("VALIGN", (0, 1), (-1, -1), "TOP"),
        ("LINEBELOW", (0, 0), (-1, 0), 0.8, style.NAVY),
        ("LINEBELOW", (0, 1), (-1, -1), _LINE, style.HAIRLINE),
        ("LEFTPADDING", (0, 0), (-1, -1), 4),
        ("RIGHTPADDING", (0, 0), (-1, -1), 4),
        ("TOPPADDING", (0, 0), (-1, -1), 3),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 3.5),
    ]
)


def _cell(cell: model.Cell, column: model.Column) -> Flowable:
    if cell.verdict is not None:
        return Chip(cell.verdict)
    words = style.markup(cell.text)
    if cell.link is not None:
        words = f'<a href="#{style.markup(cell.link)}" color="#0E7C86">{words}</a>'
    face = {"number": style.CELL_RIGHT, "code": style.CELL_CODE}.get(column.kind, style.CELL)
    return Paragraph(words, face)


def _signatures(roles: tuple[str, ...]) -> Flowable:
    head = [
        Paragraph(style.markup(word), style.CELL_HEAD) for word in ("Role", "Name", "Date (UTC)", "Signature")
    ]
    rows = [[Paragraph(style.markup(role), style.CELL), "", "", ""] for role in roles]
    width = style.TEXT_WIDTH
    table = Table(
        [head, *rows],
        colWidths=[width * 0.24, width * 0.28, width * 0.16, width * 0.32],
        rowHeights=[16] + [34] * len(rows),
    )
    table.setStyle(
        TableStyle(
            [
                ("BACKGROUND", (0, 0), (-1, 0), style.HEAD),
                ("VALIGN", (0, 0), (-1, -1), "MIDDLE"),
                ("GRID", (0, 0), (-1, -1), _LINE, style.HAIRLINE),
            ]
        )
    )
    return table
