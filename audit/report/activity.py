"""What happened in the period, counted while the checks read the log: one pass serves them and the registers."""

from collections import Counter
from dataclasses import dataclass, field

from audit.evidence.log_range import Event
from audit.report.attachment import Attachment
from audit.report.csv_table import CsvTable

_DECIDED = {"intent": "allowed", "access": "allowed", "denied": "denied", "pending": "waiting"}
_COLUMNS = (
    "record",
    "id",
    "time (UTC)",
    "kind",
    "principal",
    "action",
    "resource",
    "decision",
    "decided by",
    "result",
    "channel",
    "session",
    "intent",
)
#: Principals counted apart; a site has far fewer, and what is beyond is counted as one.
_MAX_PRINCIPALS = 10_000
OTHERS = "all others"


@dataclass(slots=True)
class Activity:
    """Counts of the period's decisions, and every record of it as a table.

    Attributes:
        by_action: for each action how often it was allowed, denied, left waiting, and failed though allowed.
        by_day: the same for each day (UTC).
        by_principal: the same for each principal.
    """

    by_action: dict[str, Counter[str]] = field(default_factory=dict)
    by_day: dict[str, Counter[str]] = field(default_factory=dict)
    by_principal: dict[str, Counter[str]] = field(default_factory=dict)
    _records: CsvTable = field(
        default_factory=lambda: CsvTable("records.csv", "Every record of the period", _COLUMNS)
    )

    def note(self, event: Event) -> None:
        """Count one record of the period."""
        word = _DECIDED.get(event.kind)
        if word is not None:
            self._count(event, word)
        if event.kind in {"outcome", "access"} and event.code != "ok":
            self._count(event, "failed")
        self._records.add(
            (
                event.seq,
                event.id,
                event.at,
                event.kind,
                event.principal,
                event.action,
                event.resource,
                event.decision,
                " ".join(event.policies),
                event.code,
                event.channel,
                event.session,
                event.intent,
            )
        )

    @property
    def rows(self) -> int:
        """Records written to the table so far."""
        return self._records.rows

    def table(self) -> Attachment:
        """Every record of the period; ends the table."""
        return self._records.attachment()

    def _count(self, event: Event, word: str) -> None:
        principal = event.principal
        if principal not in self.by_principal and len(self.by_principal) >= _MAX_PRINCIPALS:
            principal = OTHERS
        for counts, key in (
            (self.by_action, event.action),
            (self.by_day, event.at[:10]),
            (self.by_principal, principal),
        ):
            counts.setdefault(key, Counter())[word] += 1
