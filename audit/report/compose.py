"""Puts a report together from an evaluation and its snapshot, in the order that auditors expect (CONTROLS).

cover, scope, summary, exceptions, control index, controls, registers, what is resident beside labelled guests,
evidence items, provenance, how to verify, sign-offs. Nothing is judged here: every verdict and figure comes from
the evaluation, every count from the same pass over the log.
"""

from dataclasses import replace

from audit.evidence.check import Snapshot
from audit.evidence.document import to_bytes
from audit.evidence.evaluate import Evaluation
from audit.evidence.instant import format_instant
from audit.report import control_pages, evidence_pages, front, provenance, registers
from audit.report.activity import Activity
from audit.report.attachment import Attachment
from audit.report.co_residents import co_residents, guests_register, people_register
from audit.report.model import ReportModel, clipped
from audit.verify.pdf_report import EVALUATION, MANIFEST, SNAPSHOT


def compose(
    evaluation: Evaluation, snapshot: Snapshot, activity: Activity
) -> tuple[ReportModel, tuple[Attachment, ...]]:
    """Make the model that every form of the report is rendered from, and its attachments."""
    facts = snapshot.facts
    carried = _carried(evaluation, snapshot, activity)
    sections = (
        front.scope(evaluation, snapshot),
        front.summary(evaluation),
        control_pages.exceptions(evaluation),
        control_pages.index(evaluation),
        control_pages.control_sections(evaluation),
        registers.registers(snapshot, activity),
        co_residents(snapshot, activity),
        evidence_pages.evidence_sections(evaluation),
        provenance.provenance(evaluation, snapshot, carried),
        provenance.verification(evaluation, snapshot),
        provenance.sign_offs(),
    )
    period = f"{evaluation.period.first[:10]} to {evaluation.period.last_excluded[:10]}"
    site = clipped(facts.system.name, 60)
    report = ReportModel(
        title=f"{evaluation.framework.short} evidence report, {site}, {period}",
        running_title=f"{evaluation.framework.short} evidence report",
        running_foot=f"{site} · {period}",
        made_at=format_instant(facts.system.extracted_at),
        cover=front.cover(evaluation, snapshot),
        sections=tuple(
            replace(section, title=f"{number}  {section.title}")
            for number, section in enumerate(sections, start=1)
        ),
    )
    manifest = Attachment.of(
        MANIFEST, "Every other attached file with its digest", _manifest(evaluation, carried)
    )
    return report, (*carried, manifest)


def _carried(evaluation: Evaluation, snapshot: Snapshot, activity: Activity) -> tuple[Attachment, ...]:
    """Enough, with the log, to make the report again; and every table whole."""
    return (
        Attachment.of(EVALUATION, "Every verdict with its grounds", evaluation.to_bytes()),
        Attachment.of(SNAPSHOT, "The facts the evaluation was made from", snapshot.facts.to_bytes()),
        control_pages.table(evaluation),
        *(register.table() for register in registers.all_registers(snapshot, activity)),
        guests_register(snapshot).table(),
        people_register(snapshot, activity).table(),
        *evidence_pages.tables(evaluation),
        activity.table(),
    )


def _manifest(evaluation: Evaluation, carried: tuple[Attachment, ...]) -> bytes:
    return to_bytes(
        {
            "v": 1,
            "framework": evaluation.framework.value,
            "period": {"from": evaluation.period.first, "to": evaluation.period.last_excluded},
            "files": [
                {
                    "name": each.name,
                    "description": each.description,
                    "sha256": each.sha256,
                    "size_bytes": each.size_bytes,
                }
                for each in carried
            ],
        }
    )
