"""The log: a list with its filters in the address, and one record with everything that decided it."""

from typing import Any, Final

from apiflask import APIBlueprint
from flask import render_template, request, url_for

from audit.log.shape import Kind
from policies.vocabulary import Action, Verdict
from vault.operations import log
from web.guard import caller
from web.instants import parse_instant
from web.site import site

routes = APIBlueprint("log", __name__, url_prefix="/log", enable_openapi=False)

PAGE_RECORDS: Final = 50
FILTERS: Final = ("since", "until", "kind", "principal", "action", "resource", "decision")


@routes.get("")
def show_all() -> str:
    """Show a page of the list."""
    filters: dict[str, Any] = {
        name: value for name in FILTERS if (value := request.args.get(name, "").strip())
    }
    asked = filters | {
        name: parse_instant(filters[name], end_of_day=name == "until")
        for name in ("since", "until")
        if name in filters
    }
    found: dict[str, Any] = log.list_records(
        site(), caller(), asked, PAGE_RECORDS, request.args.get("next") or None
    )
    older = url_for("pages.log.show_all", **filters, next=found["next"]) if found["next"] else None
    return render_template(
        "log.html",
        records=found["items"],
        filters=filters,
        older=older,
        first=url_for("pages.log.show_all", **filters) if request.args.get("next") else None,
        kinds=[kind.value for kind in Kind],
        actions=[action.value for action in Action],
        decisions=[verdict.value for verdict in Verdict],
    )


@routes.get("/<seq_or_id>")
def show(seq_or_id: str) -> str:
    """Show one record."""
    return render_template("record.html", record=log.show_record(site(), caller(), seq_or_id))
