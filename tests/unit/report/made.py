"""Reports made in memory, for tests that look at what came out."""

from functools import cache

from audit.evidence.check import Snapshot
from audit.evidence.evaluate import Evaluation, evaluate
from audit.evidence.framework import Framework
from audit.report.activity import Activity
from audit.report.attachment import Attachment
from audit.report.compose import compose
from audit.report.model import ReportModel
from audit.report.pdf import render_pdf
from tests.unit.evidence.examples import snapshot
from tests.unit.report.hostile import hostile_snapshot


def model_of(over: Snapshot) -> tuple[ReportModel, Evaluation]:
    """The report model of a snapshot, and the evaluation it was made from."""
    report, _, evaluation = composed(over)
    return report, evaluation


def composed(over: Snapshot) -> tuple[ReportModel, tuple[Attachment, ...], Evaluation]:
    """Model, attachments and evaluation of a snapshot."""
    activity = Activity()
    evaluation = evaluate(over, over.framework.catalogue, listener=activity.note)
    return *compose(evaluation, over, activity), evaluation


def pdf_of(over: Snapshot) -> bytes:
    """A whole PDF with its attachments."""
    report, attachments, _ = composed(over)
    return render_pdf(report, attachments)


@cache
def usual_pdf(framework: Framework) -> bytes:
    """The PDF of the healthy site, made once for all tests that only look at it."""
    return pdf_of(snapshot(framework))


@cache
def hostile_pdf(framework: Framework) -> bytes:
    """The PDF of the site whose names attack it."""
    return pdf_of(hostile_snapshot(framework))
