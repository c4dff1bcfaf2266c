"""Measuring two things side by side, so that the noise of a shared machine meets both."""

import time
from collections.abc import Callable

from tests.bench.row import Rounds

#: Measures once, and gives one figure.
Measure = Callable[[], float]


def side_by_side(ours: Measure, theirs: Measure, rounds: int, *, warm_up_rounds: int = 1) -> Rounds:
    """Measure both in turn, after rounds that do not count; who begins changes from round to round."""
    our_figures: list[float] = []
    their_figures: list[float] = []
    for number in range(warm_up_rounds + rounds):
        if number % 2:
            theirs_figure, ours_figure = theirs(), ours()
        else:
            ours_figure, theirs_figure = ours(), theirs()
        if number >= warm_up_rounds:
            our_figures.append(ours_figure)
            their_figures.append(theirs_figure)
    return Rounds(our_figures, their_figures)


def percentile_ms(call: Callable[[], object], count: int, percent: float) -> float:
    """Call so many times; the time in milliseconds below which this percentage of the calls stayed."""
    times_ns: list[int] = []
    for _ in range(count):
        began_ns = time.perf_counter_ns()
        call()
        times_ns.append(time.perf_counter_ns() - began_ns)
    times_ns.sort()
    return times_ns[min(count - 1, int(count * percent / 100))] / 1e6


def per_second(work: Callable[[], int]) -> float:
    """Do the work, which tells how many things it did; how many a second that was."""
    began = time.perf_counter()
    count = work()
    return count / (time.perf_counter() - began)
