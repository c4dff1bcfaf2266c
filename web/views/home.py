"""The first page: how the site stands."""

from typing import Any

from apiflask import APIBlueprint
from flask import render_template

from vault.operations import findings, guest_list, keystore
from web import long_work
from web.guard import caller
from web.site import site
from web.views import permitted

routes = APIBlueprint("home", __name__, enable_openapi=False)

_LATEST_JOBS = 5


@routes.get("/")
def show() -> str:
    """Show key store, guests, log, findings and the latest jobs."""
    here = site()
    may_see = permitted.pages()
    listed: list[dict[str, Any]] | None = None
    if may_see["guests"]:
        listed = guest_list.list_guests(here, caller(), view="home")["items"]
    return render_template(
        "home.html",
        status=keystore.status(here),
        guests=listed,
        findings=findings.list_findings(here, caller())["items"] if may_see["findings"] else None,
        jobs=[long_work.view(job) for job in long_work.latest(_LATEST_JOBS)],
    )
