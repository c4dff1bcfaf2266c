"""Findings: what a person must look at, since when, which record shows it, and what to do about it."""

from typing import Any, Final

from apiflask import APIBlueprint
from flask import render_template, request

from vault.operations import findings
from web.guard import caller
from web.site import site
from web.views import known_names

routes = APIBlueprint("findings", __name__, url_prefix="/findings", enable_openapi=False)

#: From what must be looked at first.
SEVERITIES: Final = ("critical", "high", "medium", "low")


@routes.get("")
def show_all() -> str:
    """Show the list, the worst first; the address may hold a severity."""
    items: list[dict[str, Any]] = findings.list_findings(site(), caller())["items"]
    severity = request.args.get("severity", "")
    shown = [item for item in items if severity in {"", item["severity"]}]
    return render_template(
        "findings.html",
        findings=sorted(shown, key=lambda item: _rank(item["severity"])),
        total=len(items),
        severity=severity,
        severities=[
            (one, count) for one in SEVERITIES if (count := sum(item["severity"] == one for item in items))
        ],
        names=known_names.everything(),
    )


def _rank(severity: str) -> int:
    return SEVERITIES.index(severity) if severity in SEVERITIES else len(SEVERITIES)
