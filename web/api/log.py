"""The audit log: read, verify, sign, export."""

from typing import Any

from apiflask import APIBlueprint
from flask import Response, send_file

from policies.vocabulary import Action
from vault.operations import log, log_proofs
from web import long_work
from web.api.inputs import ExportRequest, KeptCheckpoint, LogQuery, TimeSpan
from web.guard import caller
from web.site import site

routes = APIBlueprint("log", __name__, url_prefix="/api/v1/log")


@routes.get("/records")
@routes.input(LogQuery, location="query", arg_name="asked")
def list_records(asked: LogQuery) -> dict[str, Any]:
    """List records, newest first, filtered and in pages."""
    filters = asked.model_dump(exclude={"limit", "next", "view"}, exclude_none=True)
    # What is looked at is part of the view: another filter is another access.
    view = f"{asked.view} {asked.limit} {asked.next} {sorted(filters.items())}" if asked.view else None
    return log.list_records(site(), caller(), filters, asked.limit, asked.next, view)


@routes.get("/records/<seq_or_id>")
def show_record(seq_or_id: str) -> dict[str, Any]:
    """Show a record with the policies that decided, what they were given, and how it ended."""
    return log.show_record(site(), caller(), seq_or_id)


@routes.get("/records/<seq_or_id>/proof")
def prove_record(seq_or_id: str) -> dict[str, Any]:
    """Prove that a record is in the log: a C2SP tlog-proof."""
    return log_proofs.prove_record(site(), caller(), seq_or_id)


@routes.post("/growth-proofs")
@routes.input(KeptCheckpoint, arg_name="kept")
def prove_growth(kept: KeptCheckpoint) -> dict[str, Any]:
    """Prove that the log only grew since a checkpoint."""
    return log_proofs.prove_growth(site(), caller(), kept.checkpoint)


@routes.post("/replay")
@routes.input(TimeSpan, arg_name="asked")
def replay_log(asked: TimeSpan) -> tuple[dict[str, Any], int]:
    """Make the recorded decisions of a time again: a job."""
    span = {"since": asked.since.isoformat(), "until": asked.until.isoformat()}
    return long_work.view(long_work.start(Action.LOG_REPLAY, "log", span)), 202


@routes.post("/verify")
def verify_log() -> tuple[dict[str, Any], int]:
    """Verify the whole log: a job."""
    return long_work.view(long_work.start(Action.LOG_VERIFY, "log", {})), 202


@routes.post("/checkpoint")
def checkpoint() -> dict[str, Any]:
    """Sign the present head of the log."""
    return log.checkpoint(site(), caller())


@routes.post("/exports")
@routes.input(ExportRequest, arg_name="asked")
def export_log(asked: ExportRequest) -> tuple[dict[str, Any], int]:
    """Export the log for verification elsewhere: a job."""
    return long_work.view(long_work.start(Action.LOG_EXPORT, "log", {"tiles": asked.tiles})), 202


@routes.get("/exports/<export_id>")
def download_export(export_id: str) -> Response:
    """Download an export, a tar."""
    path = log.export_file(site(), caller(), export_id)
    return send_file(path, mimetype="application/x-tar", as_attachment=True, download_name=path.name)
