"""Evidence reports: ask for one, see those that were made, take their files."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from apiflask import APIBlueprint
from flask import make_response, redirect, render_template, request, send_file, url_for
from werkzeug.wrappers import Response

from policies.vocabulary import Action, EntityRef, EntityType
from vault.errors import BadInput
from vault.operations import reports
from web import long_work
from web.guard import caller
from web.site import site
from web.views import known_names, periods, permitted

routes = APIBlueprint("reports", __name__, url_prefix="/reports", enable_openapi=False)

#: How each framework is called; what there is, `vault.operations.reports` says.
FRAMEWORK_NAMES: Final = {"hipaa": "HIPAA Security Rule", "pci": "PCI DSS 4.0.1"}
_FIRST_CHOICE: Final = {"framework": "hipaa", "period": "last-month", "from": "", "to": ""}


@routes.get("")
def show_all() -> str:
    """Show the form and the history."""
    return _page(dict(_FIRST_CHOICE), None)


@routes.post("")
def create() -> Response:
    """Begin a report, then show how far it is."""
    typed = {name: request.form.get(name, "").strip() for name in _FIRST_CHOICE}
    try:
        if typed["framework"] not in reports.FRAMEWORKS:
            raise BadInput("Choose which framework the report is on.")
        period = periods.chosen(typed["period"], typed["from"], typed["to"], datetime.now(UTC))
    except BadInput as error:
        return make_response(_page(typed, error), 400)
    asked = {
        "framework": typed["framework"],
        "since": period.since.isoformat(),
        "until": period.until.isoformat(),
    }
    job = long_work.start(Action.REPORT_CREATE, typed["framework"], asked)
    return redirect(url_for("pages.jobs.show", job_id=job.id), 303)


@routes.get("/<report_id>/files/<file_name>")
def download(report_id: str, file_name: str) -> Response:
    """Give out one file of a report."""
    path = reports.report_file(site(), caller(), report_id, file_name)
    return send_file(path, as_attachment=True, download_name=file_name)


def _page(typed: dict[str, str], problem: BadInput | None) -> str:
    now = datetime.now(UTC)
    items: list[dict[str, Any]] = reports.list_reports(site(), caller())["items"]
    return render_template(
        "reports.html",
        reports=[report | {"last_day": _last_day(report["to"])} for report in items],
        names=known_names.everything(),
        account_ref=known_names.of_account,
        frameworks=[(key, FRAMEWORK_NAMES.get(key, key)) for key in reports.FRAMEWORKS],
        framework_names=FRAMEWORK_NAMES,
        presets=periods.presets(now),
        typed=typed,
        problem=problem,
        may_create=permitted.may(Action.REPORT_CREATE),
        may_download={
            report["id"]: permitted.may(Action.REPORT_DOWNLOAD, EntityRef(EntityType.REPORT, report["id"]))
            for report in items
        },
    )


def _last_day(until: str) -> str:
    """The last day of a period whose end is excluded."""
    return (datetime.fromisoformat(until) - timedelta(microseconds=1)).strftime("%Y-%m-%d")
