"""Charts are well-formed SVG without anything that the content policy forbids, whatever they are given."""

from xml.etree import ElementTree as ET

import pytest

from web.views.charts import Bar, Share, bars, strip

HOSTILE = '"><script>alert(1)</script>'


@pytest.mark.parametrize(
    "shown",
    [
        [],
        [Bar("01-01", 0)],
        [Bar("01-01", 0), Bar("01-02", 3, "bad")],
        [Bar(HOSTILE, 10**9, HOSTILE)],
        [Bar(str(day), day) for day in range(90)],
    ],
)
def test_bars_are_well_formed_and_stay_inside(shown: list[Bar]) -> None:
    drawn = ET.fromstring(bars(HOSTILE, shown))  # noqa: S314 - our own
    assert drawn.get("aria-label") == HOSTILE
    found = drawn.findall("rect")
    assert len(found) == len(shown)
    for bar in found:
        assert 0 <= float(bar.attrib["y"]) <= 150
        assert float(bar.attrib["x"]) + float(bar.attrib["width"]) <= 440.5
        assert "style" not in bar.attrib
    assert all(
        bar.findtext("title") == f"{one.label}: {one.count}" for bar, one in zip(found, shown, strict=True)
    )


@pytest.mark.parametrize(("whole", "amounts"), [(0, [1]), (10, [4, 3]), (10, [40, 3]), (10, [])])
def test_a_strip_never_shows_more_than_the_whole(whole: float, amounts: list[float]) -> None:
    shares = [Share(HOSTILE, amount) for amount in amounts]
    drawn = ET.fromstring(strip("Memory", whole, shares))  # noqa: S314 - our own
    ends = [float(rect.attrib["x"]) + float(rect.attrib["width"]) for rect in drawn.findall("rect")]
    assert max(ends) <= 440.1
