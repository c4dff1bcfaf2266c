"""The log: a list with its filters in the address, and one record with everything that decided it."""

import hashlib
from typing import Any, Final

from apiflask import APIBlueprint
from flask import make_response, render_template, request, url_for
from werkzeug.wrappers import Response

from audit.log.shape import Kind
from policies.vocabulary import Action, Verdict
from vault.errors import BadInput
from vault.operations import log, log_proofs
from web.guard import caller
from web.instants import parse_instant
from web.site import site
from web.views import activity, known_names, told_records
from web.views.refresh import wants_part

routes = APIBlueprint("log", __name__, url_prefix="/log", enable_openapi=False)

PAGE_RECORDS: Final = 50
FILTERS: Final = ("since", "until", "kind", "principal", "action", "resource", "decision")
_REFERENCES: Final = ("principal", "resource")


@routes.get("")
def show_all() -> Response:
    """Show a page of the list; when the page asks again by itself, only its rows."""
    filters: dict[str, Any] = {
        name: value for name in FILTERS if (value := request.args.get(name, "").strip())
    }
    follows = request.args.get("follow") == "yes" and not request.args.get("next")
    refreshes = follows and wants_part()
    try:
        found = _search(filters, refreshes=refreshes)
    except BadInput as error:
        page = render_template("log.html", sentence=error, **_choices(filters, follows=False))
        return make_response(page, 400)
    shown = {"records": found["items"], "names": known_names.everything(), "follows": follows}
    if refreshes:
        return make_response(render_template("log_rows.html", **shown))
    later = bool(request.args.get("next"))
    page = render_template(
        "log.html",
        **shown | _choices(filters, follows=follows),
        older=url_for("pages.log.show_all", **filters, next=found["next"]) if found["next"] else None,
        newest=url_for("pages.log.show_all", **filters) if later else None,
        activity=None if later else activity.draw(found["activity"]),
    )
    return make_response(page)


@routes.get("/<seq_or_id>/proof")
def prove(seq_or_id: str) -> Response:
    """Give out a file that proves that the record is in the log."""
    made = log_proofs.prove_record(site(), caller(), seq_or_id)
    return Response(
        made["proof"],
        mimetype="application/octet-stream",
        headers={"Content-Disposition": f'attachment; filename="record-{made["seq"]}.tlog-proof"'},
    )


@routes.get("/<seq_or_id>")
def show(seq_or_id: str) -> str:
    """Show one record."""
    record = log.show_record(site(), caller(), seq_or_id)
    names = known_names.everything()
    return render_template(
        "record.html", record=record, names=names, sentence=told_records.sentence(record, names)
    )


def _search(filters: dict[str, Any], *, refreshes: bool) -> dict[str, Any]:
    asked: dict[str, Any] = dict(filters)
    for name in ("since", "until"):
        if name in asked:
            asked[name] = parse_instant(asked[name], end_of_day=name == "until")
    for name in _REFERENCES:
        if name in asked:
            asked[name] = known_names.reference(asked[name])
    return log.list_records(
        site(),
        caller(),
        asked,
        PAGE_RECORDS,
        request.args.get("next") or None,
        # What a page asks by itself is recorded once in five minutes for each view and filter.
        view=f"log-{_digest(asked)}" if refreshes else None,
        with_activity=not refreshes,
    )


def _digest(filters: dict[str, Any]) -> str:
    return hashlib.sha256(repr(sorted(filters.items())).encode()).hexdigest()[:32]


def _choices(filters: dict[str, Any], *, follows: bool) -> dict[str, Any]:
    who = known_names.accounts() | known_names.fixed_principals()
    chosen = filters.get("principal")
    if chosen and chosen not in who:
        who = {chosen: chosen} | who
    following: dict[str, Any] = {"follow": "yes"} if not follows else {}
    return {
        "filters": filters,
        "kinds": [kind.value for kind in Kind],
        "actions": sorted(action.value for action in Action),
        "decisions": [verdict.value for verdict in Verdict],
        "who": sorted(who.items(), key=lambda one: one[1]),
        "what": sorted(set(known_names.guests().values()) | set(known_names.accounts().values())),
        "follows": follows,
        "follow": url_for("pages.log.show_all", **filters | following),
        "refresh": url_for("pages.log.show_all", **filters, follow="yes"),
    }
