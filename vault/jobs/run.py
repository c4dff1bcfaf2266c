"""One job while it runs: how far it is, whether it is to end, and under whom it acts."""

import time
from typing import Any

from policies.vocabulary import EntityRef
from vault.gate import Caller
from vault.jobs.kind import Cancelled, Interrupted, Kind
from vault.jobs.table import JobTable
from vault.model import Job

#: Counts change with every record; they are written so often.
_COUNT_EVERY_S = 0.25


class Run:
    """One job while it runs: its progress, and whether it is to end."""

    def __init__(self, job: Job, kind: Kind, table: JobTable) -> None:
        self.kind = kind
        #: Whether the gate has let it through: from then on there may be effects.
        self.acting = False
        self.stop: type[Cancelled | Interrupted] | None = None
        self._job_id = job.id
        self._table = table
        self._percent = job.percent
        self._sentence = ""
        self._counted_at = 0.0

    def __call__(self, percent: int, sentence: str) -> None:
        """Tell how far it is; the percentage never goes back."""
        self.heed()
        percent = max(self._percent, min(99, percent))
        if (percent, sentence) != (self._percent, self._sentence):
            self._tell(percent, sentence, None, None)

    def count(self, percent: int, sentence: str, done: int, total: int) -> None:
        """Tell how far it is, with counts."""
        self.heed()
        percent = max(self._percent, min(99, percent))
        now = time.monotonic()
        if percent != self._percent or done == total or now - self._counted_at > _COUNT_EVERY_S:
            self._counted_at = now
            self._tell(percent, sentence, done, total)

    def heed(self) -> None:
        """Raise when it is to end."""
        if self.stop is Cancelled:
            raise Cancelled("The job was cancelled.")
        if self.stop is Interrupted:
            raise Interrupted("The daemon is stopping.")

    def may_be_cancelled(self) -> bool:
        """Whether ending it now leaves everything whole."""
        return self.kind.cancellable or not self.acting

    def _tell(self, percent: int, sentence: str, done: int | None, total: int | None) -> None:
        self._percent, self._sentence = percent, sentence
        self._table.change(
            self._job_id, percent=percent, sentence=sentence, done_count=done, total_count=total
        )


def caller_document(caller: Caller) -> dict[str, Any]:
    """Who asked for a job, as its row keeps it; the address is sealed already."""
    return {
        "principal": str(caller.principal),
        "channel": caller.channel,
        "session": caller.session,
        "sealed_address": caller.sealed_address,
        "second_factor": caller.second_factor,
    }


def caller_of(job: Job) -> Caller:
    """Under whom a job acts: who asked for it, by the way they asked."""
    told = dict(job.caller or {})
    return Caller(**{**told, "principal": EntityRef.parse(told["principal"])}, job=job.id)
