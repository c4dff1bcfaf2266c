"""The arithmetic of the benchmarks, which measures nothing itself."""

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from audit.verify import verify_export
from tests.bench.__main__ import SUBJECTS, run, wanted_ids
from tests.bench.made_log import make_export
from tests.bench.rounds import side_by_side
from tests.bench.row import Rounds, Row
from tests.bench.subject import NotMeasured, Setting, Subject
from tests.bench.table import BEGIN, END, markdown, write_into


def row(ours: list[float], theirs: list[float], goal: str = "none", **more: object) -> Row:
    return Row("a.row", "A against B", Rounds(ours, theirs), "ms", goal, **more)  # type: ignore[arg-type]


def test_half_the_time_is_a_ratio_of_two() -> None:
    assert row([1, 2, 3], [4, 4, 4]).ratio == 2
    assert row([1, 2, 4], [4, 4, 4]).spread == (1, 4)


def test_half_the_rate_is_a_ratio_of_one_half() -> None:
    assert row([50], [100], higher_is_better=True).ratio == 0.5


@pytest.mark.parametrize(
    ("goal", "holds"),
    [
        ("none", True),
        ("ratio >= 2", True),
        ("ratio >= 2.1", False),
        ("ours <= 10, failures <= 0", True),
        ("ours <= 9.9, failures <= 0", False),
        ("ratio >= 2, runs >= 200", False),
    ],
)
def test_a_goal_holds_when_every_bound_does(goal: str, holds: bool) -> None:
    assert row([10], [20], goal, facts={"failures": 0, "runs": 199}).holds is holds


def test_a_goal_over_a_figure_that_was_not_measured_is_refused_not_kept() -> None:
    with pytest.raises(ValueError, match="failures"):
        _ = row([1], [1], "failures <= 0").holds


def test_both_sides_are_measured_in_every_round_and_the_warm_up_does_not_count() -> None:
    told: list[str] = []

    def tell(name: str) -> float:
        told.append(name)
        return len(told)

    rounds = side_by_side(lambda: tell("ours"), lambda: tell("theirs"), 2)
    assert told == ["ours", "theirs", "theirs", "ours", "ours", "theirs"]
    assert rounds == Rounds([4, 5], [3, 6])


def test_the_file_has_the_shape_that_programs_rely_on() -> None:
    written = json.loads(json.dumps(row([10], [30.00001], "ratio >= 2").document()))
    assert written == {
        "id": "a.row", "name": "A against B", "ours": 10, "theirs": 30, "unit": "ms", "ratio": 3,
        "goal": "ratio >= 2", "holds": True,
    }  # fmt: skip


def test_the_rows_of_the_interfaces_are_there() -> None:
    promised = {
        "disk.create", "gate.effect", "gate.read", "log.append1", "log.append64", "log.verify",
        "log.verify_parse", "guest.ready",
    }  # fmt: skip
    assert promised <= wanted_ids(SUBJECTS, "", full=False)


def test_an_unknown_row_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(SystemExit, match=r"no row gate\.efect\. There are: .*gate\.effect"):
        wanted_ids(SUBJECTS, "gate.efect", full=False)


def test_a_row_that_cannot_be_measured_is_said_and_not_counted_as_kept() -> None:
    def measure(_setting: Setting, _wanted: frozenset[str]) -> Iterator[Row]:
        yield row([1], [1])
        raise NotMeasured("There is no journalctl here.")

    subject = Subject(("a.row", "b.row"), measure)
    rows, missing = run([subject], frozenset({"a.row", "b.row"}), Console(file=io.StringIO()), full=False)
    assert [each.id for each in rows] == ["a.row"]
    assert missing == {"b.row": "There is no journalctl here."}
    assert "`b.row`: not measured. There is no journalctl here." in markdown(
        rows, "a machine", "today", missing
    )


def test_the_documents_table_is_replaced_and_the_rest_kept(tmp_path: Path) -> None:
    document = tmp_path / "benchmarks.md"
    document.write_text(f"before\n{BEGIN}\nformer table\n{END}\nafter\n", encoding="utf-8")
    write_into(document, markdown([row([10], [20], facts={"runs": 200})], "2 cores", "today", {}))
    text = document.read_text(encoding="utf-8")
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "former table" not in text
    assert "| `a.row` | A against B | 10 | 20 | ms | 2 | 2 to 2 | none | yes |" in text
    assert "runs 200" in text


def test_the_log_that_is_measured_holds_for_the_verifier(tmp_path: Path) -> None:
    make_export(tmp_path / "log", 1003)
    report = verify_export(tmp_path / "log")
    assert report.holds
    assert report.records == 1003
