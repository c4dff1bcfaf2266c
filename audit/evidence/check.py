"""What a check is: a pure function over a snapshot that ends in a verdict with its grounds.

A check of facts is a function. A check that reads the log is a generator: it is sent the records one after another
and then None, so that one pass over a long log serves all of them and memory stays flat.

Invariant: the same snapshot gives the same result, byte for byte. So a check reads only its snapshot, never
the clock or the host, and everything it lists is in a fixed order.
"""

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from audit.evidence.facts import Facts
from audit.evidence.framework import Framework
from audit.evidence.instant import Period
from audit.evidence.log_range import Event, LogRange, SeqSpan
from audit.evidence.verdict import Verdict

#: Rows kept of one result; the total is always stated beside them.
MAX_ROWS = 5000


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All a check may look at."""

    facts: Facts
    log: LogRange
    period: Period
    framework: Framework


@dataclass(frozen=True, slots=True)
class Support:
    """A control that a check gives evidence for.

    Attributes:
        control: the control's id in its catalogue.
        gap: the part of the control this check cannot see, as a clause; a pass is then PARTIAL and says so.
    """

    control: str
    gap: str = ""


@dataclass(frozen=True, slots=True)
class Sample:
    """Which items of the population were looked at; seed is None when nothing was drawn."""

    size: int
    method: str = "every item"
    seed: str | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """Rows that show the grounds. `total` counts what there was, also where fewer rows are kept."""

    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    total: int = 0

    @classmethod
    def of(cls, columns: Iterable[str], rows: Iterable[Iterable[object]]) -> "Table":
        """Build a table, keeping `MAX_ROWS` rows and counting all; None is written as a dash."""
        kept: list[tuple[str, ...]] = []
        total = 0
        for row in rows:
            total += 1
            if total <= MAX_ROWS:
                kept.append(tuple("—" if cell is None or cell == "" else str(cell) for cell in row))
        return cls(tuple(columns), tuple(kept), total)


@dataclass(frozen=True, slots=True)
class CheckResult:
    """How a check ended, and on what grounds.

    Attributes:
        reason: one or two sentences that say why.
        population: how many items there were to test.
        unit: what an item is, in the plural ("disks", "accesses").
        violations: how many items do not hold.
        query: how the population was selected, in words a person can repeat.
        seqs: the records relied on.
        table: the items, or only those that do not hold (the query says which).
    """

    verdict: Verdict
    reason: str
    population: int
    unit: str
    query: str
    sample: Sample
    violations: int = 0
    seqs: tuple[SeqSpan, ...] = ()
    table: Table = field(default_factory=Table)


#: A check that is sent records, then None, and returns its result.
Reading = Generator[None, Event | None, CheckResult]


def kept(wanted: Callable[[Event], bool]) -> Generator[None, Event | None, list[Event]]:
    """Keep the records that are wanted, until there are no more; for use with `yield from`."""
    found: list[Event] = []
    while (event := (yield)) is not None:
        if wanted(event):
            found.append(event)
    return found


def no_listener(_event: Event) -> None:
    """Hear a record and do nothing."""


def run_checks(
    checks: Sequence["Check"], snapshot: Snapshot, listener: Callable[[Event], None] = no_listener
) -> list[CheckResult]:
    """Run checks over one snapshot, with one pass over the log for all that read it.

    Args:
        listener: told each record of the period in that same pass; nothing of a log that does not verify.

    Returns:
        The results, in the order of the checks.
    """
    results: dict[str, CheckResult] = {}
    readings: list[tuple[Check, Reading]] = []
    for check in checks:
        if check.evaluate is not None:
            results[check.id] = check.evaluate(snapshot)
        elif check.read is not None and snapshot.log.proof.holds:
            reading = check.read(snapshot)
            next(reading)
            readings.append((check, reading))
        else:
            results[check.id] = not_evaluated(
                "The log does not verify, so nothing that is read from it counts as evidence.",
                unit="records",
                query="none: see the check of the log itself",
            )
    if readings:
        _send(readings, snapshot, listener)
    for check, reading in readings:
        try:
            reading.send(None)
        except StopIteration as end:
            results[check.id] = end.value
    return [results[check.id] for check in checks]


def _send(
    readings: Sequence[tuple["Check", Reading]], snapshot: Snapshot, listener: Callable[[Event], None]
) -> None:
    whole = [reading.send for check, reading in readings if check.whole_log]
    every = [*(reading.send for _, reading in readings), listener]
    events = snapshot.log.all_events() if whole else snapshot.log.events()
    for event in events:
        for send in every if snapshot.log.holds(event.seq) else whole:
            send(event)


@dataclass(frozen=True, slots=True)
class Check:
    """A check with its identity. A change in what it demands raises its version.

    Attributes:
        evaluate: the check, when it rests on facts alone.
        read: the check, when it rests on the log; it is not run over a log that does not verify.
        whole_log: whether `read` is sent every covered record, not only the period's.
    """

    id: str
    version: int
    title: str
    supports: Mapping[Framework, tuple[Support, ...]]
    evaluate: Callable[[Snapshot], CheckResult] | None = None
    read: Callable[[Snapshot], Reading] | None = None
    whole_log: bool = False


def judged(
    *,
    population: int,
    violations: int,
    unit: str,
    query: str,
    holds: str,
    fails: str,
    empty: str,
    seqs: tuple[SeqSpan, ...] = (),
    table: Table | None = None,
) -> CheckResult:
    """End a check that tested every item: none is NO-POPULATION, one that fails is NOT-SATISFIED.

    `holds`, `fails` and `empty` are the reasons for the three ends; the rest goes into the result as it is.
    """
    if population == 0:
        verdict, reason = Verdict.NO_POPULATION, empty
    elif violations:
        verdict, reason = Verdict.NOT_SATISFIED, fails
    else:
        verdict, reason = Verdict.SATISFIED, holds
    return CheckResult(
        verdict=verdict,
        reason=reason,
        population=population,
        unit=unit,
        query=query,
        sample=Sample(population),
        violations=violations,
        seqs=seqs,
        table=table or Table(),
    )


def not_evaluated(reason: str, *, unit: str, query: str, table: Table | None = None) -> CheckResult:
    """End a check for which data is missing; missing data is never a pass."""
    return CheckResult(
        verdict=Verdict.NOT_EVALUATED,
        reason=reason,
        population=0,
        unit=unit,
        query=query,
        sample=Sample(0, "none"),
        table=table or Table(),
    )
