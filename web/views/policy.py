"""The policies in force: what each says, which controls it serves, and how often it decided lately."""

from apiflask import APIBlueprint
from flask import render_template

from policies.vocabulary import Action
from vault.entities import LOG
from vault.operations import log_history, policy
from web.guard import caller
from web.site import site
from web.views import permitted

routes = APIBlueprint("policy", __name__, url_prefix="/policy", enable_openapi=False)


@routes.get("")
def show_all() -> str:
    """Show the active bundle."""
    listed = policy.list_policies(site(), caller())
    decided = (
        log_history.decisions_of_policies(site(), caller()) if permitted.may(Action.LOG_LIST, LOG) else None
    )
    return render_template(
        "policy.html",
        policies=listed["items"],
        bundle=listed["bundle"],
        decided=decided,
        recent=log_history.RECENT_RECORDS,
    )
