"""The front of a report: cover, scope and limits, summary with its denominators."""

from collections import Counter

from audit.evidence.check import Snapshot
from audit.evidence.evaluate import Evaluation
from audit.evidence.instant import format_instant
from audit.evidence.verdict import VERDICT_MEANING, VERDICT_ORDER, Verdict, status_in_framework
from audit.report.control_pages import control_anchor
from audit.report.model import (
    Bullets,
    Callout,
    Cell,
    Column,
    Cover,
    Grid,
    Section,
    StackedRows,
    Text,
    Tone,
    VerdictBar,
    cells,
    clipped,
)
from audit.report.wording import (
    EVIDENCE_ONLY,
    RESPONSIBILITIES,
    cited,
    cover_warnings,
    group_of,
    limits,
)

#: Controls that do not hold, listed on the cover.
_HIGHLIGHTS = 7
_ORDER_WORDS = "NOT-SATISFIED, WAIVED, PARTIAL, NOT-EVALUATED, NO-POPULATION, SATISFIED"


def to_the_minute(instant: str) -> str:
    """An instant of a record as people read it: `2026-03-01 00:00 UTC`."""
    return f"{instant[:10]} {instant[11:16]} UTC"


def period_words(evaluation: Evaluation) -> str:
    """The period as people read it; the end is not part of it."""
    period = evaluation.period
    return f"{to_the_minute(period.first)} to {to_the_minute(period.last_excluded)} (end excluded)"


def verdict_bar(evaluation: Evaluation, title: str) -> VerdictBar:
    """How all controls ended, as a bar."""
    return VerdictBar(title, tuple(evaluation.counts().items()))


def cover(evaluation: Evaluation, snapshot: Snapshot) -> Cover:
    """The first page."""
    facts, counts = snapshot.facts, evaluation.counts()
    total = len(evaluation.controls)
    proof = snapshot.log.proof
    log_words = (
        f"verified, {proof.checked:,} records"
        if proof.holds
        else f"DOES NOT VERIFY: {proof.detail} Nothing that is read from it counts as evidence."
    )
    warnings = cover_warnings(evaluation.framework)
    if not proof.holds:
        warnings = (Callout(Tone.WARNING, "The log does not verify", proof.detail), *warnings)
    return Cover(
        eyebrow="EVIDENCE REPORT",
        title=evaluation.framework.full_title,
        subtitle=f"What {clipped(facts.system.name, 60)} recorded and measured, control by control",
        figures=(
            (f"{evaluation.tested()} of {total}", "controls tested"),
            (str(counts[Verdict.SATISFIED]), "evidence supports"),
            (str(counts[Verdict.PARTIAL]), "supported in part"),
            (str(counts[Verdict.NOT_SATISFIED]), "not satisfied"),
        ),
        highlights=_highlights(evaluation),
        bar=verdict_bar(evaluation, f"All {total} controls of the catalogue"),
        pairs=(
            ("Period", period_words(evaluation)),
            ("Facts taken", format_instant(facts.system.extracted_at)),
            (
                "System",
                clipped(f"{facts.system.name}, instance {facts.system.instance}, host {facts.system.host}"),
            ),
            ("Software", f"Strongroom {facts.system.software_version}"),
            ("Requested by", facts.system.generated_by),
            ("Log", log_words),
        ),
        callouts=(*warnings, Callout(Tone.NOTE, "What this report is", EVIDENCE_ONLY)),
    )


def _highlights(evaluation: Evaluation) -> Grid:
    """What does not hold, as far as it fits on a cover; the section of exceptions has all of it."""
    broken = [e for e in evaluation.controls if e.verdict is Verdict.NOT_SATISFIED]
    rows = tuple(
        (
            Cell(cited(evaluation.framework, e.control.id), link=control_anchor(e.control.id)),
            *cells(e.control.title),
        )
        for e in broken[:_HIGHLIGHTS]
    )
    return Grid(
        (Column("Not satisfied", 22), Column("About", 78)),
        rows,
        len(broken),
        empty="No control that was tested was found not to hold.",
        rest="the section of exceptions lists all of them",
    )


def scope(evaluation: Evaluation, snapshot: Snapshot) -> Section:
    """What was looked at, what stands beside it, what cannot be seen, and who answers for what."""
    framework, guests = evaluation.framework, snapshot.facts.guests
    label = framework.scope_label
    present = sorted((g for g in guests if g.state != "deleted"), key=lambda guest: guest.name)
    scoped = [guest for guest in present if label in guest.labels]
    rows = tuple(
        cells(
            guest.name,
            ", ".join(sorted(guest.labels)) or "no label",
            "in scope" if label in guest.labels else "beside it",
            guest.state,
            len(guest.disks),
            f"{sum(disk.size_bytes for disk in guest.disks) // 2**20:,}",
        )
        for guest in present
    )
    return Section(
        anchor="scope",
        title="Scope, limits and responsibilities",
        new_page=True,
        blocks=(
            Text(
                f"In scope is what is labelled '{label}' ({framework.scope_words}): {len(scoped)} of "
                f"{len(present)} guests on host {snapshot.facts.system.host}. Everything that shares the "
                "host is listed, because it shares its administrators, its network and its fate.",
                size="lead",
            ),
        ),
        sections=(
            Section(
                "scope-guests",
                "Guests on this host",
                (
                    Grid(
                        (
                            Column("Guest", 24),
                            Column("Labels", 20),
                            Column("Scope", 16),
                            Column("State", 16),
                            Column("Disks", 10, "number"),
                            Column("MiB", 14, "number"),
                        ),
                        rows,
                        len(rows),
                        empty="There is no guest on this host.",
                    ),
                ),
            ),
            Section("scope-limits", "What this report cannot show", (Bullets(limits(framework)),)),
            Section(
                "scope-responsibilities",
                "Who is responsible for what",
                (
                    Grid(
                        (Column("Subject", 14), Column("This platform", 43), Column("Your organisation", 43)),
                        tuple(cells(*row) for row in RESPONSIBILITIES),
                        len(RESPONSIBILITIES),
                    ),
                ),
            ),
        ),
    )


def summary(evaluation: Evaluation) -> Section:
    """The figures, each with what it is a share of."""
    counts, total, tested = evaluation.counts(), len(evaluation.controls), evaluation.tested()
    supported = counts[Verdict.SATISFIED]
    lead = (
        f"The catalogue has {total} controls. {tested} of {total} were tested. Of these {tested}, the "
        f"evidence supports {supported}; {counts[Verdict.PARTIAL]} hold as far as they were tested, with a "
        f"named part that was not; {counts[Verdict.NOT_SATISFIED]} do not hold. {total - tested} of {total} "
        "were not tested, and none of those is a pass."
    )
    meaning = tuple(
        (
            *cells(verdict, counts[verdict], f"{counts[verdict] * 100 / total:.0f} %"),
            *_status_cell(evaluation, verdict),
            *cells(VERDICT_MEANING[verdict]),
        )
        for verdict in VERDICT_ORDER
    )
    status_column = (
        (Column("PCI DSS", 13),) if status_in_framework(evaluation.framework, Verdict.PARTIAL) else ()
    )
    return Section(
        anchor="summary",
        title="Summary",
        new_page=True,
        blocks=(Text(lead, size="lead"), verdict_bar(evaluation, f"{total} controls by verdict")),
        sections=(
            Section(
                "summary-verdicts",
                "Verdicts and what they mean",
                (
                    Grid(
                        (
                            Column("Verdict", 17),
                            Column("Controls", 10, "number"),
                            Column(f"Of {total}", 8, "number"),
                            *status_column,
                            Column("Meaning", 52),
                        ),
                        meaning,
                        len(meaning),
                    ),
                    Text(
                        "Where several checks serve a control the worst verdict wins, in this order: "
                        f"{_ORDER_WORDS}. A check that passes but does not see the whole of a control makes "
                        f"it PARTIAL and names the part. {len(evaluation.items)} checks were run; each "
                        "looked at every item of its population, none at a sample.",
                        size="small",
                    ),
                ),
            ),
            Section(
                "summary-groups",
                "By section of the framework",
                (_group_bars(evaluation), _groups(evaluation)),
                new_page=True,
            ),
        ),
    )


def _status_cell(evaluation: Evaluation, verdict: Verdict) -> tuple[Cell, ...]:
    status = status_in_framework(evaluation.framework, verdict)
    return cells(status) if status else ()


def _by_group(evaluation: Evaluation) -> dict[str, Counter[Verdict]]:
    by_group: dict[str, Counter[Verdict]] = {}
    for evaluated in evaluation.controls:
        _, title = group_of(evaluation.framework, evaluated.control.id)
        by_group.setdefault(title, Counter())[evaluated.verdict] += 1
    return by_group


def _group_bars(evaluation: Evaluation) -> StackedRows:
    return StackedRows(
        f"{len(evaluation.controls)} controls by section and verdict",
        tuple(
            (title, tuple((verdict.value, found[verdict]) for verdict in VERDICT_ORDER))
            for title, found in _by_group(evaluation).items()
        ),
    )


def _groups(evaluation: Evaluation) -> Grid:
    by_group = _by_group(evaluation)
    rows = tuple(
        cells(
            title,
            sum(found.values()),
            found[Verdict.SATISFIED],
            found[Verdict.PARTIAL],
            found[Verdict.NOT_SATISFIED],
            found[Verdict.NO_POPULATION],
            found[Verdict.NOT_EVALUATED],
            found[Verdict.NOT_APPLICABLE] + found[Verdict.WAIVED],
        )
        for title, found in by_group.items()
    )
    total = cells(
        "All",
        *(
            sum(int(row[place].text) for row in rows)
            for place in range(1, 8)  # the seven columns of figures
        ),
    )
    return Grid(
        (
            Column("Section", 37),
            Column("Controls", 9, "number"),
            Column("Satisfied", 9, "number"),
            Column("Partial", 8, "number"),
            Column("Not satisfied", 9, "number"),
            Column("No population", 10, "number"),
            Column("Not evaluated", 9, "number"),
            Column("N/A or waived", 9, "number"),
        ),
        (*rows, total),
        len(rows) + 1,
    )
