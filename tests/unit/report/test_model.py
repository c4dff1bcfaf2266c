"""The model every form is made of: order, denominators, and strings that cannot hide."""

from collections.abc import Iterator

import pytest

from audit.evidence.document import to_bytes
from audit.evidence.framework import Framework
from audit.evidence.instant import Period
from audit.evidence.verdict import Verdict
from audit.report.model import Cell, Grid, Pairs, Section, Text, clipped, seconds, visible
from tests.unit.evidence.examples import healthy_facts, snapshot
from tests.unit.report.made import model_of


def _sections(sections: tuple[Section, ...]) -> Iterator[Section]:
    for section in sections:
        yield section
        yield from _sections(section.sections)


def _grids(sections: tuple[Section, ...]) -> Iterator[Grid]:
    for section in _sections(sections):
        yield from (block for block in section.blocks if isinstance(block, Grid))


def test_the_sections_stand_in_the_order_auditors_expect() -> None:
    report, _ = model_of(snapshot())
    assert [section.anchor for section in report.sections] == [
        "scope",
        "summary",
        "exceptions",
        "index",
        "controls",
        "registers",
        "co-residents",
        "evidence",
        "provenance",
        "verify",
        "sign-offs",
    ]


@pytest.mark.parametrize("framework", list(Framework))
def test_every_control_has_a_line_in_the_index_and_a_section_that_it_leads_to(framework: Framework) -> None:
    report, evaluation = model_of(snapshot(framework))
    anchors = {section.anchor for section in _sections(report.sections)}
    index = next(section for section in report.sections if section.anchor == "index")
    rows = next(block for block in index.blocks if isinstance(block, Grid)).rows
    assert len(rows) == len(evaluation.controls)
    assert {row[0].link for row in rows} <= anchors


@pytest.mark.parametrize("framework", list(Framework))
def test_every_link_leads_somewhere_and_every_anchor_is_unique(framework: Framework) -> None:
    report, _ = model_of(snapshot(framework))
    anchors = [section.anchor for section in _sections(report.sections)]
    links = {cell.link for grid in _grids(report.sections) for row in grid.rows for cell in row if cell.link}
    assert len(anchors) == len(set(anchors))
    assert links <= set(anchors)


@pytest.mark.parametrize("framework", list(Framework))
def test_every_row_has_a_cell_for_each_column(framework: Framework) -> None:
    report, _ = model_of(snapshot(framework))
    for grid in _grids(report.sections):
        assert all(len(row) == len(grid.columns) for row in grid.rows), grid.columns


def test_the_summary_says_what_its_figures_are_a_share_of() -> None:
    report, evaluation = model_of(snapshot(Framework.PCI))
    summary = next(section for section in report.sections if section.anchor == "summary")
    lead = next(block for block in summary.blocks if isinstance(block, Text)).text
    total, tested = len(evaluation.controls), evaluation.tested()
    assert f"{tested} of {total} were tested" in lead
    assert f"{total - tested} of {total} were not tested, and none of those is a pass" in lead


def test_the_figures_on_the_cover_are_those_of_the_evaluation() -> None:
    report, evaluation = model_of(snapshot(Framework.PCI))
    counts = evaluation.counts()
    assert [number for number, _ in report.cover.figures] == [
        f"{evaluation.tested()} of {len(evaluation.controls)}",
        str(counts[Verdict.SATISFIED]),
        str(counts[Verdict.PARTIAL]),
        str(counts[Verdict.NOT_SATISFIED]),
    ]


def test_the_pci_cover_says_that_disk_encryption_alone_is_not_enough() -> None:
    report, _ = model_of(snapshot(Framework.PCI))
    assert any("leaves 3.5.1.2 not in place" in callout.text for callout in report.cover.callouts)


def test_a_period_without_records_is_reported_as_such_and_passes_nothing_that_reads_the_log() -> None:
    later = Period.between("2027-01-01T00:00:00Z", "2027-02-01T00:00:00Z")
    report, evaluation = model_of(snapshot(Framework.PCI, period=later))
    assert evaluation.records_in_period == 0
    pairs = [b for s in _sections(report.sections) for b in s.blocks if isinstance(b, Pairs)]
    assert ("Records in period", "no record lies in the period") in [
        row for block in pairs for row in block.rows
    ]
    verdict = {each.control.id: each.verdict for each in evaluation.controls}
    assert verdict["10.2.2"] is verdict["10.2.1.3"] is Verdict.NO_POPULATION


def test_an_empty_site_makes_a_report_too() -> None:
    facts = healthy_facts().model_copy(update={"guests": (), "keys": (), "accounts": ()})
    for framework in Framework:
        report, evaluation = model_of(snapshot(framework, facts, ()))
        assert evaluation.counts()[Verdict.NO_POPULATION] > 0
        assert report.sections


def test_nothing_in_a_report_says_compliant() -> None:
    for framework in Framework:
        report, _ = model_of(snapshot(framework))
        assert b"complian" not in to_bytes(report.document()).lower().replace(b"compliance officer", b"")


def test_the_same_snapshot_gives_the_same_model() -> None:
    one, two = (to_bytes(model_of(snapshot())[0].document()) for _ in range(2))
    assert one == two


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("a\nb", "a b"),
        ("a\x00b", "a\\u{0}b"),
        ("exe.\u202egpj", "exe.\\u{202e}gpj"),
        ("zero\u200bwidth", "zero\\u{200b}width"),
        ("Zürich", "Zürich"),
    ],
)
def test_what_would_not_show_is_spelled_out(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_a_long_text_is_cut_and_says_how_long_it_was() -> None:
    assert clipped("A" * 10_000).endswith("… (10,000 characters; all of them in the attached evaluation)")
    assert clipped("A" * 160) == "A" * 160


def test_an_instant_is_shown_to_the_second_and_other_text_as_it_is() -> None:
    assert seconds("2026-03-01T10:20:30.123456Z") == "2026-03-01 10:20:30"
    assert seconds("guest.start") == "guest.start"


def test_a_table_that_shows_less_than_all_says_so() -> None:
    grid = Grid((), ((Cell("x"),),), 7)
    assert grid.shown.startswith("Showing 1 of 7 rows")
    assert Grid((), ((Cell("x"),),), 1).shown == ""
