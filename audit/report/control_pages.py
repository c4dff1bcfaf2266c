"""The controls of a report: exceptions, the index of all, and a section for each."""

from audit.evidence.evaluate import ControlEvaluation, Evaluation
from audit.evidence.verdict import Verdict, status_in_framework
from audit.report.attachment import Attachment
from audit.report.csv_table import csv_table
from audit.report.evidence_pages import evidence_anchor, sample_words
from audit.report.model import (
    MAX_VALUE,
    Block,
    Cell,
    Column,
    Grid,
    Pairs,
    Section,
    Text,
    cells,
    clipped,
    prose,
)
from audit.report.wording import cited, grade, group_of


def control_anchor(control_id: str) -> str:
    """Anchor of a control's section."""
    return f"control-{control_id}"


def exceptions(evaluation: Evaluation) -> Section:
    """What does not hold, what was waived, and what could not be looked at for want of events."""
    broken = [e for e in evaluation.controls if e.verdict is Verdict.NOT_SATISFIED]
    waived = [e for e in evaluation.controls if e.verdict is Verdict.WAIVED]
    empty = [e for e in evaluation.controls if e.verdict is Verdict.NO_POPULATION]
    return Section(
        anchor="exceptions",
        title="Exceptions and waivers",
        blocks=(
            Text(
                f"Controls found not to hold: {len(broken)} of {evaluation.tested()} tested. Each is listed with "
                "its reason and the evidence item that shows it."
            ),
            _reasons(evaluation, broken, "No control was found not to hold."),
        ),
        sections=(
            Section(
                "exceptions-waivers",
                "Waivers",
                (_reasons(evaluation, waived, "No waiver is recorded. None was used in this report."),),
            ),
            Section(
                "exceptions-empty",
                "Controls with nothing to test",
                (_reasons(evaluation, empty, "Every check had something to test."),),
            ),
        ),
    )


def _reasons(evaluation: Evaluation, found: list[ControlEvaluation], empty: str) -> Grid:
    rows = tuple(
        (
            Cell(
                cited(evaluation.framework, evaluated.control.id), link=control_anchor(evaluated.control.id)
            ),
            *cells(evaluated.control.title),
            Cell(clipped(prose(evaluated.reason), MAX_VALUE)),
            *_evidence_cell(evaluated),
        )
        for evaluated in found
    )
    columns = (Column("Control", 16), Column("About", 20), Column("Reason", 50), Column("Evidence", 14))
    return Grid(columns, rows, len(rows), empty=empty)


def _evidence_cell(evaluated: ControlEvaluation) -> tuple[Cell, ...]:
    numbers = [grounds.number for grounds in evaluated.grounds if grounds.verdict is evaluated.verdict]
    link = evidence_anchor(numbers[0]) if numbers else None
    return (Cell(", ".join(numbers) or "—", link=link),)


def table(evaluation: Evaluation) -> Attachment:
    """Every control with its verdict and reason."""
    return csv_table(
        "controls.csv",
        "Every control with its verdict",
        ("control", "title", "grade", "verdict", "PCI DSS", "reason", "evidence"),
        (
            (
                evaluated.control.id,
                evaluated.control.title,
                grade(evaluated.control),
                evaluated.verdict.value,
                evaluated.status,
                evaluated.reason,
                " ".join(grounds.number for grounds in evaluated.grounds),
            )
            for evaluated in evaluation.controls
        ),
    )


def index(evaluation: Evaluation) -> Section:
    """Every control of the catalogue on one list; nothing is left out."""
    rows = []
    has_status = bool(status_in_framework(evaluation.framework, Verdict.PARTIAL))
    for evaluated in evaluation.controls:
        numbers = ", ".join(grounds.number.removeprefix("EV-") for grounds in evaluated.grounds)
        rows.append(
            (
                Cell(
                    cited(evaluation.framework, evaluated.control.id),
                    link=control_anchor(evaluated.control.id),
                ),
                *cells(evaluated.control.title, grade(evaluated.control), evaluated.verdict),
                *(cells(evaluated.status) if has_status else ()),
                *cells(numbers),
            )
        )
    return Section(
        anchor="index",
        title="Control index",
        new_page=True,
        blocks=(
            Text(
                f"All {len(rows)} controls of the catalogue, also those that were not evaluated. EV numbers "
                "name the evidence items."
            ),
            Grid(
                (
                    Column("Control", 12 if has_status else 18),
                    Column("About", 33),
                    Column("Grade", 12),
                    Column("Verdict", 16),
                    *((Column("PCI DSS", 18),) if has_status else ()),
                    Column("EV", 13),
                ),
                tuple(rows),
                len(rows),
            ),
        ),
    )


def control_sections(evaluation: Evaluation) -> Section:
    """A section for each control, by group."""
    groups: dict[tuple[str, str], list[Section]] = {}
    for evaluated in evaluation.controls:
        group = group_of(evaluation.framework, evaluated.control.id)
        groups.setdefault(group, []).append(_control(evaluation, evaluated))
    return Section(
        anchor="controls",
        title="Controls",
        new_page=True,
        blocks=(
            Text(
                "For each control: what it asks in our words, what the evidence has to show, which tests ran "
                "over which population, and what they found. The rows are under the evidence items. No test "
                "of this version draws a sample: each looks at every item of its population, so there is no seed."
            ),
        ),
        sections=tuple(
            Section(f"group-{anchor}", title, sections=tuple(sections))
            for (anchor, title), sections in groups.items()
        ),
    )


def _control(evaluation: Evaluation, evaluated: ControlEvaluation) -> Section:
    control = evaluated.control
    sources = ", ".join(_SOURCES[code.value] for code in control.evidence)
    graded = grade(control)
    about = [
        ("Asks", prose(control.paraphrase)),
        ("Must be shown", prose(control.test)),
        ("Rests on", f"{sources} ({graded.lower()})" if graded else sources),
    ]
    if control.note:
        about.append(("Note", prose(control.note)))
    about.append(("Result", prose(evaluated.reason)))
    blocks: list[Block] = [Pairs(tuple(about))]
    if evaluated.grounds:
        rows = []
        for grounds in evaluated.grounds:
            item = evaluation.item(grounds.number)
            rows.append(
                (
                    Cell(item.number, link=evidence_anchor(item.number)),
                    Cell(
                        clipped(
                            f"{item.title} ({item.check} version {item.version}). Query: "
                            f"{prose(item.result.query)}.",
                            MAX_VALUE,
                        )
                    ),
                    *cells(
                        f"{item.result.unit}: {item.result.population:,}",
                        sample_words(item),
                        item.result.violations,
                        grounds.verdict,
                    ),
                )
            )
        columns = (
            Column("Evidence", 12),
            Column("Test, its version and its query", 43),
            Column("Population", 13),
            Column("Sample", 9),
            Column("Failing", 8, "number"),
            Column("Result", 17),
        )
        blocks.append(Grid(columns, tuple(rows), len(rows)))
    return Section(
        anchor=control_anchor(control.id),
        title=f"{cited(evaluation.framework, control.id)} {control.title}",
        blocks=tuple(blocks),
        verdict=evaluated.verdict,
        status=evaluated.status,
    )


_SOURCES = {
    "L": "audit log",
    "C": "configuration",
    "I": "inventory",
    "K": "key store",
    "W": "a person's signed act",
}
