"""A caller waiting for the writer: who decides how the wait ends, and that only one side does.

Either the writer answers, or the caller gives up; whoever takes the claim first has decided. So a caller
whose time ran out is never answered later, and the writer knows whom it did not reach.
"""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from audit.errors import AuditError, LogTimeout
from audit.log.drafting import Prepared
from audit.log.record import Record
from audit.log.sequencer import Sequencer

_T = TypeVar("_T")


class Request(Generic[_T]):
    """Something asked of the writer's thread."""

    __slots__ = ("_claim", "_latch", "_outcome")

    def __init__(self) -> None:
        self._claim = threading.Lock()
        self._latch = threading.Lock()
        self._latch.acquire()
        self._outcome: _T | AuditError

    @property
    def given_up(self) -> bool:
        """Whether the caller waits no more."""
        return self._claim.locked()

    def answer(self, outcome: _T | AuditError) -> bool:
        """Answer the caller; tells whether the caller was still there to hear it."""
        if not self._claim.acquire(blocking=False):
            return False
        self._outcome = outcome
        self._latch.release()
        return True

    def wait(self, timeout_s: float) -> _T:
        """Wait for the answer.

        Raises:
            LogTimeout: there was none in time; there will be none.
            AuditError: the answer was an error.
        """
        if not self._latch.acquire(timeout=timeout_s):
            if self._claim.acquire(blocking=False):
                raise LogTimeout(
                    "The log did not answer in time; nothing was done.", "Look at the log's disk."
                )
            self._latch.acquire()  # the answer is being given at this moment
        if isinstance(self._outcome, AuditError):
            raise self._outcome
        return self._outcome


class Append(Request[list[Record]]):
    """Drafts to append next to each other, all or none."""

    __slots__ = ("group",)

    def __init__(self, group: list[Prepared]) -> None:
        super().__init__()
        self.group = group


class Errand(Request[_T]):
    """Anything else that only the writer's thread may do."""

    __slots__ = ("_work",)

    def __init__(self, work: Callable[[Sequencer], _T]) -> None:
        super().__init__()
        self._work = work

    def run(self, sequencer: Sequencer) -> None:
        """Do it and answer."""
        try:
            self.answer(self._work(sequencer))
        except AuditError as error:
            self.answer(error)
