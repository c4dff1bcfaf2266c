"""Guests: the list, one guest, and the buttons that start and stop them."""

from typing import Any

from apiflask import APIBlueprint
from flask import redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from policies.vocabulary import Action
from vault.operations import guest_list, guest_run
from web import long_work
from web.guard import caller
from web.site import site
from web.views import permitted

routes = APIBlueprint("guests", __name__, url_prefix="/guests", enable_openapi=False)

#: How long a guest may take to shut down before the button gives up (it never forces on its own).
_STOP_S = 120.0


@routes.get("")
def show_all() -> str:
    """Show the list."""
    items: list[dict[str, Any]] = guest_list.list_guests(site(), caller())["items"]
    return render_template(
        "guests.html",
        guests=items,
        buttons={guest["name"]: permitted.on_guest(guest["id"]) for guest in items},
    )


@routes.get("/<name>")
def show(name: str) -> str:
    """Show one guest."""
    guest = guest_list.show_guest(site(), caller(), name)
    return render_template("guest.html", guest=guest, buttons=permitted.on_guest(guest["id"]))


@routes.post("/<name>/start")
def start(name: str) -> Response:
    """Start a guest, then show how far that is."""
    here, who = site(), caller()
    job = long_work.start(
        Action.GUEST_START, name, lambda progress: guest_run.start_guest(here, who, name, progress)
    )
    return redirect(url_for("pages.jobs.show", job_id=job.id), 303)


@routes.post("/<name>/stop")
def stop(name: str) -> Response:
    """Stop a guest, then show how far that is."""
    here, who, force = site(), caller(), request.form.get("force") == "yes"
    # By force means at once: whoever presses that button has waited already.
    patience_s = 0.0 if force else _STOP_S
    job = long_work.start(
        Action.GUEST_STOP,
        name,
        lambda progress: guest_run.stop_guest(
            here, who, name, force=force, timeout_s=patience_s, progress=progress
        ),
    )
    return redirect(url_for("pages.jobs.show", job_id=job.id), 303)
