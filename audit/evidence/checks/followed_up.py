"""Checks that people look at what is recorded and found: the log each day, bursts of failures, findings."""

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta

from audit.evidence.check import (
    Check,
    CheckResult,
    Reading,
    Snapshot,
    Support,
    Table,
    judged,
    kept,
    not_evaluated,
)
from audit.evidence.facts import FindingFacts
from audit.evidence.framework import Framework
from audit.evidence.instant import format_instant
from audit.evidence.log_range import Event, spans

#: Roles that review; who acts and who looks are to be different people.
_REVIEWING = frozenset({"officer", "auditor"})
_LOOKING = frozenset({"log.list", "log.show", "log.verify", "log.export", "report.create", "report.download"})
_ASKING = frozenset({"intent", "access", "denied", "pending"})
#: A day must have been looked at by the end of the next one (our number; PCI DSS 10.4.1 says daily).
_DAYS_TO_LOOK = 1
#: Severities that nobody may leave open.
_GRAVE = frozenset({"high", "critical"})


def looks(snapshot: Snapshot, events: Iterable[Event]) -> list[Event]:
    """Those of the events in which somebody who reviews looked at the log or made a report of it."""
    reviewers = {f"account:{a.id}" for a in snapshot.facts.accounts if _REVIEWING & set(a.roles)}
    return [
        event
        for event in events
        if event.principal in reviewers and event.action in _LOOKING and event.kind in {"intent", "access"}
    ]


def _looked_at_daily(snapshot: Snapshot) -> Reading:
    active: dict[str, int] = {}
    seen: dict[str, int] = {}
    while (event := (yield)) is not None:
        if event.kind not in _ASKING:
            continue
        if looks(snapshot, (event,)):
            seen.setdefault(event.at[:10], event.seq)
        if snapshot.log.holds(event.seq):
            active.setdefault(event.at[:10], event.seq)
    now = snapshot.facts.system.extracted_at
    rows: list[tuple[object, ...]] = []
    wrong, due, relied = 0, 0, list[int]()
    for day in sorted(active):
        until = date.fromisoformat(day) + timedelta(days=_DAYS_TO_LOOK + 1)
        days = [(date.fromisoformat(day) + timedelta(days=n)).isoformat() for n in range(_DAYS_TO_LOOK + 1)]
        look = next((seen[each] for each in days if each in seen), None)
        is_due = datetime(until.year, until.month, until.day, tzinfo=UTC) <= now
        due += is_due
        if look is not None:
            relied.append(look)
        elif is_due:
            wrong += 1
        if is_due:
            rows.append((day, active[day], look, "yes" if look is not None else "no"))
    return judged(
        population=due,
        violations=wrong,
        unit="days with activity",
        query=(
            "days (UTC) of the period with a decision, whose following day is over; whether an officer or auditor "
            "looked at the log or made a report on that day or the next"
        ),
        holds=f"On each of the {due} days with activity, or the next, an officer or auditor looked at the log.",
        fails=f"Days with activity after which no officer or auditor looked at the log: {wrong} of {due}.",
        empty="No day with activity is over long enough to have been looked at.",
        seqs=spans(relied),
        table=Table.of(("day (UTC)", "first record", "look at record", "looked at"), rows),
    )


def _disposed(finding: FindingFacts) -> bool:
    """A person closed it with a reason; or it ended by itself, and a person had said that they knew."""
    by_person = finding.closed_by is not None and finding.disposition is not None
    return finding.closed_at is not None and (by_person or finding.acknowledged_by is not None)


def _findings_disposed(snapshot: Snapshot) -> CheckResult:
    findings = snapshot.facts.findings
    query = (
        "findings of severity high or critical that were open at some time of the period; whether a person closed "
        "each with a reason, or acknowledged it before it ended by itself"
    )
    if findings is None:
        return not_evaluated("Findings were not asked for.", unit="findings", query=query)
    period = snapshot.period
    grave = [
        finding
        for finding in sorted(findings, key=lambda each: (each.created_at, each.id))
        if finding.severity in _GRAVE
        and finding.created_at < period.end
        and (finding.closed_at is None or finding.closed_at >= period.start)
    ]
    wrong = [finding for finding in grave if not _disposed(finding)]
    return judged(
        population=len(grave),
        violations=len(wrong),
        unit="findings",
        query=query,
        holds=f"A person dealt with every grave finding ({len(grave)} of {len(grave)}).",
        fails=f"Grave findings that no person dealt with, or that are still open: {len(wrong)} of {len(grave)}.",
        empty="No finding of high or critical severity was open in the period.",
        table=Table.of(
            ("finding", "id", "severity", "opened (UTC)", "closed (UTC)", "closed by", "dealt with"),
            (
                (
                    f.code,
                    f.id,
                    f.severity,
                    format_instant(f.created_at),
                    format_instant(f.closed_at) if f.closed_at else None,
                    f.closed_by,
                    "yes" if _disposed(f) else "no",
                )
                for f in grave
            ),
        ),
    )


_BURST = 5
_BURST_WITHIN = timedelta(hours=1)


def _bursts_looked_at(snapshot: Snapshot) -> Reading:
    def wanted(event: Event) -> bool:
        failed = (
            event.action == "session.login" and event.kind in {"outcome", "denied"} and event.code != "ok"
        )
        return (failed and snapshot.log.holds(event.seq)) or bool(looks(snapshot, (event,)))

    found = yield from kept(wanted)
    seen = looks(snapshot, found)
    failures: dict[str, list[Event]] = {}
    for event in found:
        if event.action == "session.login":
            failures.setdefault(event.principal, []).append(event)
    now = snapshot.facts.system.extracted_at
    rows: list[tuple[object, ...]] = []
    due, wrong = 0, 0
    for principal, own in sorted(failures.items()):
        for burst in _runs(own):
            last = datetime.fromisoformat(burst[-1].at)
            look = next(
                (e for e in seen if last <= datetime.fromisoformat(e.at) <= last + timedelta(days=1)), None
            )
            if last + timedelta(days=1) <= now:
                due += 1
                wrong += look is None
                rows.append((principal, burst[0].seq, burst[-1].seq, len(burst), look.seq if look else None))
    return judged(
        population=due,
        violations=wrong,
        unit="bursts of failed log-ins",
        query=(
            f"{_BURST} or more failed log-ins of one principal in the period, each within an hour of the one before, "
            "that ended more than a day ago; whether an officer or auditor looked at the log within a day"
        ),
        holds=f"After each burst of failed log-ins ({due}) an officer or auditor looked at the log within a day.",
        fails=f"Bursts of failed log-ins that nobody looked into within a day: {wrong} of {due}.",
        empty="No burst of failed log-ins ended in the period and more than a day ago.",
        seqs=spans(e.seq for own in failures.values() for e in own),
        table=Table.of(("principal", "first record", "last record", "failures", "look at record"), rows),
    )


def _runs(failures: list[Event]) -> Iterable[list[Event]]:
    run: list[Event] = []
    for event in failures:
        gap = run and datetime.fromisoformat(event.at) - datetime.fromisoformat(run[-1].at)
        if gap and gap > _BURST_WITHIN:
            if len(run) >= _BURST:
                yield run
            run = []
        run.append(event)
    if len(run) >= _BURST:
        yield run


_NOT_SIGNED = (
    "that a person reviewed and signed, and did not only look, is a workflow record, which is not kept yet"
)

CHECKS = (
    Check(
        id="log.looked_at_daily",
        version=1,
        title="Somebody who does not act looks at the log each day",
        supports={
            Framework.HIPAA: (Support("164.308(a)(1)(ii)(D)", _NOT_SIGNED),),
            Framework.PCI: (Support("10.4.1", _NOT_SIGNED),),
        },
        read=_looked_at_daily,
        whole_log=True,
    ),
    Check(
        id="finding.disposed",
        version=1,
        title="A person dealt with every grave finding",
        supports={
            Framework.HIPAA: (
                Support(
                    "164.308(a)(6)(ii)", "incidents that the platform did not find by itself are not visible"
                ),
            ),
            Framework.PCI: (
                Support("10.4.3", "anomalies in the logs of other systems are not visible here"),
                Support("10.7.3", "failures of controls outside this platform are not visible here"),
            ),
        },
        evaluate=_findings_disposed,
    ),
    Check(
        id="login.bursts_looked_at",
        version=1,
        title="Bursts of failed log-ins are looked into",
        supports={Framework.HIPAA: (Support("164.308(a)(5)(ii)(C)", _NOT_SIGNED),)},
        read=_bursts_looked_at,
        whole_log=True,
    ),
)
