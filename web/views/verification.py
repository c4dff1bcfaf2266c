"""Verifying the log: begin one, see how each ended, note the signed head down, take the log elsewhere."""

from typing import Any

from apiflask import APIBlueprint
from flask import redirect, render_template, send_file, url_for
from werkzeug.wrappers import Response

from policies.vocabulary import Action
from vault.entities import LOG
from vault.operations import log, log_history
from web import long_work
from web.guard import caller
from web.site import site
from web.views import known_names, permitted

routes = APIBlueprint("verification", __name__, url_prefix="/verification", enable_openapi=False)

_LOOKED_THROUGH = 100


@routes.get("")
def show() -> str:
    """Show how the log stands and what was verified and exported."""
    history = log_history.verifications(site(), caller())
    return render_template(
        "verification.html",
        history=history,
        latest=_latest_result(),
        running=_running(),
        names=known_names.everything(),
        may={action.value: permitted.may(action, LOG) for action in _ACTIONS},
    )


@routes.post("/verify")
def verify() -> Response:
    """Begin a verification, then show how far it is."""
    job = long_work.start(Action.LOG_VERIFY, "log", {})
    return redirect(url_for("pages.jobs.show", job_id=job.id), 303)


@routes.post("/checkpoint")
def checkpoint() -> Response:
    """Sign the log's present head, then show it."""
    log.checkpoint(site(), caller())
    return redirect(url_for("pages.verification.show", _anchor="head"), 303)


@routes.post("/exports")
def export() -> Response:
    """Begin an export, then show how far it is."""
    job = long_work.start(Action.LOG_EXPORT, "log", {})
    return redirect(url_for("pages.jobs.show", job_id=job.id), 303)


@routes.get("/exports/<export_id>")
def download(export_id: str) -> Response:
    """Give out an export, a tar."""
    path = log.export_file(site(), caller(), export_id)
    return send_file(path, mimetype="application/x-tar", as_attachment=True, download_name=path.name)


_ACTIONS = (Action.LOG_VERIFY, Action.LOG_CHECKPOINT, Action.LOG_EXPORT)


def _jobs() -> list[dict[str, Any]]:
    return [
        long_work.view(job) for job in long_work.latest(_LOOKED_THROUGH) if job.action == Action.LOG_VERIFY
    ]


def _latest_result() -> dict[str, Any] | None:
    """What the newest verification that ended well said of each check; one that did not hold is in the history."""
    return next((job for job in _jobs() if job["state"] == "done"), None)


def _running() -> dict[str, Any] | None:
    return next((job for job in _jobs() if job["ended_at"] is None), None)
