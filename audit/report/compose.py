"""Puts a report together from an evaluation and its snapshot, in the order that auditors expect (CONTROLS).

cover, scope, summary, exceptions, control index, controls, registers, evidence items, provenance, how to
verify, sign-offs. Nothing is judged here: every verdict and figure comes from the evaluation.
"""

from dataclasses import replace
from hashlib import sha256

from audit.evidence.check import Snapshot
from audit.evidence.evaluate import Evaluation
from audit.evidence.instant import format_instant
from audit.report import control_pages, evidence_pages, front, provenance, registers
from audit.report.model import Attachment, ReportModel, clipped


def compose(evaluation: Evaluation, snapshot: Snapshot) -> ReportModel:
    """Make the model that every form of the report is rendered from."""
    facts = snapshot.facts
    evaluation_sha256 = sha256(evaluation.to_bytes()).hexdigest()
    sections = (
        front.scope(evaluation, snapshot),
        front.summary(evaluation),
        control_pages.exceptions(evaluation),
        control_pages.index(evaluation),
        control_pages.control_sections(evaluation),
        registers.registers(snapshot),
        evidence_pages.evidence_sections(evaluation),
        provenance.provenance(evaluation, snapshot, evaluation_sha256),
        provenance.verification(evaluation),
        provenance.sign_offs(),
    )
    period = f"{evaluation.period.first[:10]} to {evaluation.period.last_excluded[:10]}"
    site = clipped(facts.system.name, 60)
    return ReportModel(
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


def attachments(evaluation: Evaluation, snapshot: Snapshot) -> tuple[Attachment, ...]:
    """The files that the PDF carries: enough, with the log, to make the report again."""
    return (
        Attachment("evaluation.json", "Every verdict with its grounds", evaluation.to_bytes()),
        Attachment("snapshot.json", "The facts the evaluation was made from", snapshot.facts.to_bytes()),
    )
