"""Charts tell the same figures as the tables, also in black and white; CSV gives hostile cells no power."""

import csv
from io import StringIO

import pytest

from audit.evidence.framework import Framework
from audit.evidence.verdict import Verdict
from audit.report.charts import PAINTS, Drawing, Part, Words, drawn
from audit.report.csv_table import csv_table
from audit.report.model import Columns, StackedRows, VerdictBar
from tests.unit.evidence.examples import snapshot
from tests.unit.report.hostile import ALL, hostile_snapshot
from tests.unit.report.made import composed

WIDTH = 480.0


def _words(drawing: Drawing) -> list[str]:
    return [shape.text for shape in drawing.shapes if isinstance(shape, Words)]


def test_every_kind_that_can_stand_beside_another_has_a_look_of_its_own_without_colour() -> None:
    for names in (
        [v.value for v in Verdict],
        ["allowed", "failed though allowed", "denied", "waiting for approval"],
    ):
        hatchings = [
            (PAINTS[name].hatch, PAINTS[name].ground if not PAINTS[name].hatch else "") for name in names
        ]
        assert len(set(hatchings)) == len(names)


def test_a_stacked_bar_is_as_long_as_its_counts() -> None:
    bar = drawn(VerdictBar("t", ((Verdict.SATISFIED, 3), (Verdict.PARTIAL, 1))), WIDTH)
    parts = [shape for shape in bar.shapes if isinstance(shape, Part) and shape.height == 20]
    assert [part.width for part in parts] == [WIDTH * 3 / 4, WIDTH / 4]
    assert "SATISFIED: 3" in _words(bar)


def test_columns_state_their_sums_and_stay_inside_the_width() -> None:
    days = tuple((f"03-{n:02d}", (n, 1)) for n in range(1, 32))
    drawing = drawn(Columns("t", ("allowed", "denied"), days), WIDTH)
    assert {"allowed: 496", "denied: 31"} <= set(_words(drawing))
    assert all(part.x + part.width <= WIDTH for part in drawing.shapes if isinstance(part, Part))
    assert all(0 <= part.y <= drawing.height for part in drawing.shapes if isinstance(part, Part))


@pytest.mark.parametrize("most", [0, 1, 3, 7, 99, 100_000, 12_345_678])
def test_columns_of_any_height_fit(most: int) -> None:
    drawing = drawn(Columns("t", ("keys",), (("a", (most,)), ("b", (0,)))), WIDTH)
    assert all(part.y >= 0 for part in drawing.shapes if isinstance(part, Part))


def test_rows_without_anything_are_drawn_too() -> None:
    drawn(StackedRows("t", ()), WIDTH)
    drawn(Columns("t", ("keys",), ()), WIDTH)
    drawn(VerdictBar("t", ()), WIDTH)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("=1+1", "'=1+1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("-2", "'-2"),
        (-2, "-2"),
        (None, ""),
        ("a\nb\x00", "a b\\u{0}"),
        ("exe.\u202egpj", "exe.\\u{202e}gpj"),
        ('"quoted", and more', '"quoted", and more'),
    ],
)
def test_a_cell_of_a_table_is_text_and_nothing_else(value: object, written: str) -> None:
    data = b"".join(csv_table("t.csv", "t", ("head",), [(value,)]).pieces())
    assert list(csv.reader(StringIO(data.decode(), newline=""))) == [["head"], [written]]


def test_the_table_of_records_has_every_record_of_the_period_in_order() -> None:
    over = snapshot(Framework.HIPAA)
    _, attachments, evaluation = composed(over)
    data = b"".join(next(each for each in attachments if each.name == "records.csv").pieces())
    rows = list(csv.DictReader(StringIO(data.decode(), newline="")))
    assert [int(row["record"]) for row in rows] == list(range(evaluation.records_in_period))
    assert [row["action"] for row in rows] == [event.action for event in over.log.events()]


def test_hostile_strings_stay_in_their_cells() -> None:
    over = hostile_snapshot(Framework.PCI)
    _, attachments, _ = composed(over)
    for attachment in attachments:
        if attachment.name.endswith(".csv"):
            data = b"".join(attachment.pieces()).decode()
            lengths = {len(row) for row in csv.reader(StringIO(data, newline=""))}
            assert len(lengths) == 1, attachment.name
            assert "\u202e" not in data
            assert "\x1b" not in data
    assert ALL
