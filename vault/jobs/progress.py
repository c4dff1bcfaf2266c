"""How work tells how far it is. Whatever listens may raise to end the work: that is how a job is cancelled."""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

#: Told how far the work is: percent (0 to 100) and a sentence. What it raises ends the work and is passed on.
Progress = Callable[[int, str], None]


@runtime_checkable
class CountingProgress(Protocol):
    """Progress that can show counts as well: so many records of so many."""

    def __call__(self, percent: int, sentence: str) -> None:
        """As `Progress`."""

    def count(self, percent: int, sentence: str, done: int, total: int) -> None:
        """As a call, with counts."""


def no_progress(percent: int, sentence: str) -> None:
    """Ignore progress: for callers that wait anyway."""


def tell_counts(progress: Progress, percent: int, sentence: str, done: int, total: int) -> None:
    """Tell how far the work is, with counts where whoever listens can show them."""
    if isinstance(progress, CountingProgress):
        progress.count(percent, sentence, done, total)
    else:
        progress(percent, sentence)
