"""One line of the table: two figures, their ratio, and whether the goal holds."""

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

#: The goal of a row that is printed for comparison and promises nothing.
NO_GOAL = "none"

_BOUND = re.compile(r"(?P<name>[a-z][a-z0-9_]*) (?P<sign>>=|<=) (?P<limit>\d+(?:\.\d+)?)")
_SIGNS: Mapping[str, Callable[[float, float], bool]] = {">=": operator.ge, "<=": operator.le}


@dataclass(frozen=True, slots=True)
class Rounds:
    """What was measured, one figure for each round: ours and theirs of a round stood next to each other."""

    ours: Sequence[float]
    theirs: Sequence[float]


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table.

    Attributes:
        id: stable name, as in INTERFACES.
        name: what is compared with what, for people.
        rounds: the figures.
        unit: of both.
        goal: bounds such as `ratio >= 40, failures <= 0`, over `ours`, `theirs`, `ratio` and the facts.
        higher_is_better: whether the unit counts work done (records/s) rather than time.
        facts: further figures, by name, printed with the row.
    """

    id: str
    name: str
    rounds: Rounds
    unit: str
    goal: str = NO_GOAL
    higher_is_better: bool = False
    facts: Mapping[str, float] = field(default_factory=dict)

    @property
    def ours(self) -> float:
        """Median of the rounds."""
        return median(self.rounds.ours)

    @property
    def theirs(self) -> float:
        """Median of the rounds."""
        return median(self.rounds.theirs)

    @property
    def ratio(self) -> float:
        """How many times better ours is; above 1 is better."""
        return self._better(self.ours, self.theirs)

    @property
    def spread(self) -> tuple[float, float]:
        """Smallest and largest ratio of a single round: how much the machine's noise moved the ratio."""
        ratios = [
            self._better(ours, theirs)
            for ours, theirs in zip(self.rounds.ours, self.rounds.theirs, strict=False)
        ]
        return min(ratios), max(ratios)

    @property
    def holds(self) -> bool:
        """Whether every bound of the goal is kept."""
        if self.goal == NO_GOAL:
            return True
        figures = {"ours": self.ours, "theirs": self.theirs, "ratio": self.ratio, **self.facts}
        return all(_is_kept(bound, figures) for bound in self.goal.split(", "))

    def document(self) -> dict[str, object]:
        """The row as `build/bench.json` holds it."""
        return {
            "id": self.id,
            "name": self.name,
            "ours": _rounded(self.ours),
            "theirs": _rounded(self.theirs),
            "unit": self.unit,
            "ratio": _rounded(self.ratio),
            "goal": self.goal,
            "holds": self.holds,
        }

    def _better(self, ours: float, theirs: float) -> float:
        return ours / theirs if self.higher_is_better else theirs / ours


def _is_kept(bound: str, figures: Mapping[str, float]) -> bool:
    found = _BOUND.fullmatch(bound)
    if found is None or found["name"] not in figures:
        raise ValueError(f"{bound!r} is no bound over {', '.join(figures)}.")
    return _SIGNS[found["sign"]](figures[found["name"]], float(found["limit"]))


def _rounded(figure: float) -> float:
    """Four digits are more than any of this is exact to."""
    return float(f"{figure:.4g}")
