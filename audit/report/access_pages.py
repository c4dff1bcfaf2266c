"""Access in the period: who asked for what, day by day, and what the answer was."""

from collections import Counter
from datetime import date, timedelta

from audit.evidence.check import Snapshot
from audit.report.activity import Activity
from audit.report.model import Block, Column, Columns, Text
from audit.report.register import Register

#: Days drawn as one column each; a longer period is drawn by month.
_MAX_DAYS = 62
_SERIES = (
    ("allowed", "allowed"),
    ("failed though allowed", "failed"),
    ("denied", "denied"),
    ("waiting for approval", "waiting"),
)
_FIGURES = (
    Column("Allowed", 14, "number"),
    Column("Of these failed", 14, "number"),
    Column("Denied", 14, "number"),
    Column("Waiting", 14, "number"),
)
_EMPTY = "There was no decision in the period, or the log does not verify."


def access_blocks(snapshot: Snapshot, activity: Activity) -> tuple[Block, ...]:
    """Chart and tables."""
    actions, principals = access_registers(activity)[:2]
    lead = Text(
        f"Decisions of the gate in the period: {_total(activity):,}, from {activity.rows:,} records. Each of these "
        "records is a row of the attached records.csv, with its number, time, principal, action, resource, decision "
        "and the policies that decided."
    )
    return (
        lead,
        *_chart(snapshot, activity),
        Text("By action:"),
        actions.grid(),
        Text("By principal (the ids of the register of accounts; os: is a user of the host):"),
        principals.grid(),
    )


def access_registers(activity: Activity) -> tuple[Register, ...]:
    """Decisions by action, by principal and by day."""
    return (
        _register("access-by-action", "Decisions by action", "Action", activity.by_action),
        _register("access-by-principal", "Decisions by principal", "Principal", activity.by_principal),
        _register("access-by-day", "Decisions by day", "Day (UTC)", activity.by_day),
    )


def _register(name: str, title: str, first: str, counts: dict[str, Counter[str]]) -> Register:
    rows = [
        (key, count["allowed"], count["failed"], count["denied"], count["waiting"])
        for key, count in sorted(counts.items())
    ]
    return Register(name, title, (Column(first, 44, "code"), *_FIGURES), rows, _EMPTY)


def _total(activity: Activity) -> int:
    return sum(c["allowed"] + c["denied"] + c["waiting"] for c in activity.by_day.values())


def _chart(snapshot: Snapshot, activity: Activity) -> tuple[Block, ...]:
    if not activity.by_day:
        return ()
    first = date.fromisoformat(snapshot.period.first[:10])
    last = (snapshot.period.end - timedelta(microseconds=1)).date()
    days = (last - first).days + 1
    by_day = days <= _MAX_DAYS
    counts: dict[str, Counter[str]] = {}
    if by_day:
        counts = {(first + timedelta(days=n)).isoformat(): Counter() for n in range(days)}
    for day, count in sorted(activity.by_day.items()):
        counts.setdefault(day if by_day else day[:7], Counter()).update(count)
    columns = tuple(
        (
            label[5:] if by_day else label,
            # Each decision once: what failed though it was allowed stands apart from what was done.
            (max(c["allowed"] - c["failed"], 0), c["failed"], c["denied"], c["waiting"]),
        )
        for label, c in counts.items()
    )
    unit = "day" if by_day else "month"
    words = tuple(word for word, _ in _SERIES)
    return (Columns(f"Decisions by {unit}", words, columns, over="Day (UTC)" if by_day else "Month"),)
