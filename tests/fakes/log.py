"""A log in memory that can be told to fail, as a real object."""

from collections.abc import Callable
from datetime import UTC, datetime

from audit.errors import LogUnavailable
from audit.log.drafting import Prepared, Stamp, format_time
from audit.log.record import NO_PREV, Draft, Kind, Record


class LogInMemory:
    """Keeps records; `fail_on` says which appends fail.

    `persist_failed` whether they are kept all the same.
    """

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.fail_on: Callable[[Draft], bool] = lambda _draft: False
        self.persist_failed = False

    def append(self, draft: Draft, timeout_s: float = 5.0) -> Record:  # noqa: ARG002 - the port's shape
        failing = self.fail_on(draft)
        if failing and not self.persist_failed:
            raise LogUnavailable("The log cannot be written.")
        prev = self.records[-1].leaf_hash.hex() if self.records else NO_PREV
        stamp = Stamp(format_time(datetime.now(UTC)), 0, "00000000-0000-4000-8000-000000000000")
        record = Prepared(draft).place(len(self.records), prev, stamp)
        self.records.append(record)
        if failing:
            raise LogUnavailable("The log did not answer in time.")
        return record

    def kinds(self) -> list[Kind]:
        """The kinds of the records so far."""
        return [record.kind for record in self.records]

    def codes(self) -> list[object]:
        """The result codes of the records so far, None for intents."""
        return [record.result["code"] if record.result else None for record in self.records]
