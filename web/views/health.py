"""How the site is: key store, gate, log, hypervisor, host; and what to do about what is not well."""

from apiflask import APIBlueprint
from flask import render_template

from vault.operations import health
from web import long_work
from web.guard import caller
from web.site import site
from web.views.refresh import wants_part

routes = APIBlueprint("health", __name__, url_prefix="/health", enable_openapi=False)

_LOOKED_THROUGH = 50


@routes.get("")
def show() -> str:
    """Show the page; when it asks again by itself, only its content."""
    refreshes = wants_part()
    found = health.health(site(), caller(), view="health" if refreshes else None)
    jobs = [long_work.view(job) for job in long_work.latest(_LOOKED_THROUGH) if not long_work.has_ended(job)]
    template = "health_parts.html" if refreshes else "health.html"
    return render_template(template, health=found, jobs=jobs)
