"""The picture of activity above the log: bars of records by time and decision, as plain numbers for a template."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

#: The picture's own units; the template scales it to the width there is.
WIDTH: Final = 1000.0
HEIGHT: Final = 100.0
_HOUR = timedelta(hours=1)
_DAY = timedelta(days=1)
#: Up to so much time a bar is an hour; up to the second, a day; beyond, a week.
_HOURS_UP_TO = timedelta(days=3)
_DAYS_UP_TO = timedelta(days=120)
_BARS: Final = ("allow", "refused", "other")
_OF_DECISION: Final[Mapping[str | None, str]] = {"allow": "allow", "deny": "refused", "unmet": "refused"}
_GAP: Final = 0.15
_LEAST_BARS: Final = 24


@dataclass(slots=True)
class Bar:
    """One stretch of time: where it stands, what it counts, and its parts from the bottom up."""

    begins: datetime
    ends: datetime
    x: float
    width: float
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_BARS, 0))
    parts: list[tuple[str, float, float]] = field(default_factory=list)

    @property
    def records(self) -> int:
        """How many records the stretch holds."""
        return sum(self.counts.values())


@dataclass(frozen=True, slots=True)
class Activity:
    """The whole picture. `whole` is false where only the newest records were counted."""

    bars: Sequence[Bar]
    counts: Mapping[str, int]
    records: int
    whole: bool
    unit: str


def draw(counted: Mapping[str, Any]) -> Activity | None:
    """Draw what `list_records` counted; None where there is too little to be worth a picture."""
    items: list[dict[str, Any]] = counted["items"]
    if not items:
        return None
    first, last = items[0]["hour"], items[-1]["hour"] + _HOUR
    step, unit = _step(last - first)
    begin = first if step is _HOUR else first.replace(hour=0)
    number = int((last - begin - timedelta(microseconds=1)) / step) + 1
    if number < _LEAST_BARS:
        # A young log is drawn with the empty time before it: one bar as wide as the page says nothing.
        begin -= (_LEAST_BARS - number) * step
        number = _LEAST_BARS
    wide = WIDTH / number
    bars = [
        Bar(begin + nth * step, begin + (nth + 1) * step, nth * wide + wide * _GAP / 2, wide * (1 - _GAP))
        for nth in range(number)
    ]
    for item in items:
        bar = bars[int((item["hour"] - begin) / step)]
        bar.counts[_OF_DECISION.get(item["decision"], "other")] += item["records"]
    highest = max(bar.records for bar in bars)
    for bar in bars:
        top = HEIGHT
        for name in _BARS:
            if bar.counts[name]:
                # A single refusal among thousands stays visible.
                height = max(1.5, bar.counts[name] / highest * (HEIGHT - 5))
                top -= height
                bar.parts.append((name, max(0.0, top), height))
    totals = {name: sum(bar.counts[name] for bar in bars) for name in _BARS}
    return Activity(bars, totals, counted["records"], counted["whole"], unit)


def _step(span: timedelta) -> tuple[timedelta, str]:
    if span <= _HOURS_UP_TO:
        return _HOUR, "hour"
    return (_DAY, "day") if span <= _DAYS_UP_TO else (7 * _DAY, "week")
