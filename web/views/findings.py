"""Findings: what a person must look at, since when, which record shows it, what to do, and what was done about it."""

from collections.abc import Sequence
from typing import Any, Final

from apiflask import APIBlueprint
from flask import flash, make_response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from policies.errors import StrongroomError
from policies.vocabulary import Action
from vault.errors import BadInput, Conflict
from vault.finding_codes import Severity
from vault.findings import FindingState, finding_ref
from vault.operations import findings
from web.guard import caller
from web.site import site
from web.views import known_names, permitted

routes = APIBlueprint("findings", __name__, url_prefix="/findings", enable_openapi=False)

#: What the word for a state in the address stands for; without one, all that is not closed.
_STATES: Final[dict[str, Sequence[FindingState]]] = {
    "": findings.NOT_CLOSED,
    "open": (FindingState.OPEN,),
    "acknowledged": (FindingState.ACKNOWLEDGED,),
    "closed": (FindingState.CLOSED,),
    "all": tuple(FindingState),
}
_MOST: Final = 200
#: From what must be looked at first.
_SEVERITIES: Final = tuple(Severity)


@routes.get("")
def show_all() -> str:
    """Show the list, the worst first; state and severity live in the address."""
    state, severity = request.args.get("state", ""), request.args.get("severity", "")
    if state not in _STATES:
        raise BadInput(
            f"There is no state {state!r} of a finding.", f"States: {', '.join(FindingState)}, all."
        )
    if severity not in {"", *_SEVERITIES}:
        raise BadInput(f"There is no severity {severity!r}.", f"Severities: {', '.join(_SEVERITIES)}.")
    items: list[dict[str, Any]] = findings.list_findings(site(), caller(), _STATES[state], limit=_MOST)[
        "items"
    ]
    return render_template(
        "findings.html",
        findings=sorted(
            (item for item in items if severity in {"", item["severity"]}),
            key=lambda item: _SEVERITIES.index(item["severity"]),
        ),
        total=len(items),
        most=_MOST,
        state=state,
        states=[("", "Not closed"), *((word, word.capitalize()) for word in _STATES if word)],
        severity=severity,
        severities=[
            (one, count) for one in _SEVERITIES if (count := sum(item["severity"] == one for item in items))
        ],
        names=known_names.everything(),
        account_ref=known_names.of_account,
    )


@routes.get("/<finding_id>")
def show(finding_id: str) -> str:
    """Show one finding, with what its reader may do about it."""
    return _page(finding_id)


@routes.post("/<finding_id>/acknowledge")
def acknowledge(finding_id: str) -> Response:
    """Say that one knows of it."""
    note = request.form.get("note", "")
    try:
        findings.acknowledge_finding(site(), caller(), finding_id, note)
    except (BadInput, Conflict) as error:
        return make_response(_page(finding_id, note=note, problem=error), 400)
    flash("Noted: you know of this finding. It stays open until what it tells of is over.")
    return redirect(url_for("pages.findings.show", finding_id=finding_id), 303)


@routes.post("/<finding_id>/close")
def close(finding_id: str) -> Response:
    """Close it for a reason."""
    reason = request.form.get("reason", "")
    try:
        findings.close_finding(site(), caller(), finding_id, reason)
    except (BadInput, Conflict) as error:
        return make_response(_page(finding_id, reason=reason, problem=error), 400)
    flash("The finding is closed. Should its cause still stand, its check opens it again.")
    return redirect(url_for("pages.findings.show_all"), 303)


def _page(finding_id: str, note: str = "", reason: str = "", problem: StrongroomError | None = None) -> str:
    finding = findings.show_finding(site(), caller(), finding_id)
    ref = finding_ref(finding_id)
    return render_template(
        "finding.html",
        finding=finding,
        names=known_names.everything(),
        account_ref=known_names.of_account,
        note=note,
        reason=reason,
        problem=problem,
        may_acknowledge=finding["state"] == FindingState.OPEN
        and permitted.may(Action.FINDING_ACKNOWLEDGE, ref),
        may_close=finding["closable"] and permitted.may(Action.FINDING_CLOSE, ref),
    )
