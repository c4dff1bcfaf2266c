"""Findings: what a person must look at."""

from typing import Any

from apiflask import APIBlueprint

from vault.operations import findings
from web.api.inputs import ViewQuery
from web.guard import caller
from web.site import site

routes = APIBlueprint("findings", __name__, url_prefix="/api/v1/findings")


@routes.get("")
@routes.input(ViewQuery, location="query", arg_name="_asked")
def list_findings(_asked: ViewQuery) -> dict[str, Any]:
    """List the open findings."""
    return findings.list_findings(site(), caller())
