"""Evidence reports."""

from typing import Any

from apiflask import APIBlueprint
from flask import Response, send_file

from policies.vocabulary import Action
from vault.operations import reports
from web import long_work
from web.api.inputs import ReportRequest
from web.guard import caller
from web.site import site

routes = APIBlueprint("reports", __name__, url_prefix="/api/v1/reports")


@routes.get("")
def list_reports() -> dict[str, Any]:
    """List the reports that were made."""
    return reports.list_reports(site(), caller())


@routes.post("")
@routes.input(ReportRequest, arg_name="asked")
def create_report(asked: ReportRequest) -> tuple[dict[str, Any], int]:
    """Make a report on a period: a job."""
    job = long_work.start(Action.REPORT_CREATE, asked.framework, asked.model_dump(mode="json"))
    return long_work.view(job), 202


@routes.get("/<report_id>/files/<file_name>")
def download_report(report_id: str, file_name: str) -> Response:
    """Download one of a report's files."""
    path = reports.report_file(site(), caller(), report_id, file_name)
    return send_file(path, as_attachment=True, download_name=path.name)
