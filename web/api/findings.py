"""Findings: what a person must look at, that somebody knows of it, and that it is over."""

from typing import Any

from apiflask import APIBlueprint

from vault.findings import FindingState
from vault.operations import findings
from web.api.inputs import Acknowledgement, Closing, FindingQuery
from web.guard import caller
from web.site import site

routes = APIBlueprint("findings", __name__, url_prefix="/api/v1/findings")


@routes.get("")
@routes.input(FindingQuery, location="query", arg_name="asked")
def list_findings(asked: FindingQuery) -> dict[str, Any]:
    """List findings, newest first; those that are not closed unless `state` says otherwise."""
    states = {None: findings.NOT_CLOSED, "all": tuple(FindingState)}.get(asked.state)
    return findings.list_findings(
        site(),
        caller(),
        states or (FindingState(str(asked.state)),),
        () if asked.severity is None else (asked.severity,),
        asked.limit,
    )


@routes.get("/<finding_id>")
def show_finding(finding_id: str) -> dict[str, Any]:
    """Show a finding, whatever its state."""
    return findings.show_finding(site(), caller(), finding_id)


@routes.post("/<finding_id>/acknowledge")
@routes.input(Acknowledgement, arg_name="asked")
def acknowledge_finding(finding_id: str, asked: Acknowledgement) -> dict[str, Any]:
    """Say that one knows of a finding, and what is done about it. The note stays out of the log."""
    return findings.acknowledge_finding(site(), caller(), finding_id, asked.note)


@routes.post("/<finding_id>/close")
@routes.input(Closing, arg_name="asked")
def close_finding(finding_id: str, asked: Closing) -> dict[str, Any]:
    """Close a finding for a reason. When its cause still stands it is opened again."""
    return findings.close_finding(site(), caller(), finding_id, asked.reason)
