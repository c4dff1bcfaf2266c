"""Guests: the list, one guest with everything about it, and the buttons that start, stop and delete it."""

from typing import Any, Final

from apiflask import APIBlueprint
from flask import flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from policies.vocabulary import Action
from vault.entities import guest_ref
from vault.operations import findings, guest_delete, guest_list, images, keys, keystore, log
from web import long_work
from web.guard import caller
from web.site import site
from web.views import people, permitted
from web.views.refresh import wants_part

routes = APIBlueprint("guests", __name__, url_prefix="/guests", enable_openapi=False)

#: How long a guest may take to shut down before the button gives up (it never forces on its own).
_STOP_S: Final = 120.0
_LATEST_ACCESSES: Final = 10
_LATEST_JOBS: Final = 5
_JOBS_LOOKED_AT: Final = 200
_STATES: Final = ("running", "stopped", "creating", "deleting")


@routes.get("")
def show_all() -> str:
    """Show the list; its filter lives in the address."""
    wanted = {name: request.args.get(name, "").strip()[:40] for name in ("state", "label", "name")}
    used: dict[str, Any] = {name: value for name, value in wanted.items() if value}
    view = " ".join(["guests", *(f"{name}={value}" for name, value in used.items())])
    everyone: list[dict[str, Any]] = guest_list.list_guests(site(), caller(), view=view)["items"]
    shown = [guest for guest in everyone if _fits(guest, wanted)]
    return render_template(
        "guest_rows.html" if wants_part() else "guests.html",
        guests=shown,
        hidden=len(everyone) - len(shown),
        filters=wanted,
        address=url_for("pages.guests.show_all", **used),
        states=_STATES,
        labels=sorted({label for guest in everyone for label in guest["labels"]}),
        buttons={guest["name"]: permitted.on_guest(guest["id"]) for guest in shown},
        sealed=keystore.status(site())["sealed"],
        may_create=permitted.may_create_guest(),
    )


@routes.get("/<name>")
def show(name: str) -> str:
    """Show one guest."""
    return _page(name)


@routes.post("/<name>/start")
def start(name: str) -> Response:
    """Start a guest, then show how far that is."""
    job = long_work.start(Action.GUEST_START, name, {"name": name})
    return redirect(url_for("pages.jobs.show", job_id=job.id), 303)


@routes.post("/<name>/stop")
def stop(name: str) -> Response:
    """Stop a guest, then show how far that is."""
    force = request.form.get("force") == "yes"
    # By force means at once: whoever presses that button has waited already.
    patience_s = 0.0 if force else _STOP_S
    job = long_work.start(Action.GUEST_STOP, name, {"name": name, "force": force, "timeout_s": patience_s})
    return redirect(url_for("pages.jobs.show", job_id=job.id), 303)


@routes.post("/<name>/delete")
def delete(name: str) -> Response | tuple[str, int]:
    """Delete a guest, once its name was typed."""
    if request.form.get("typed", "").strip() != name:
        return _page(name, f"What was typed is not {name!r}, so nothing was deleted."), 400
    guest_delete.delete_guest(site(), caller(), name)
    flash(f"The guest {name} and the keys to its disks were deleted.")
    return redirect(url_for("pages.guests.show_all"), 303)


def _page(name: str, problem: str | None = None) -> str:
    here, who, may_see = site(), caller(), permitted.pages()
    guest: dict[str, Any] = guest_list.show_guest(here, who, name, view=f"guest {name}"[:80])
    view, resource = f"guest {guest['id']}", str(guest_ref(guest["id"]))
    buttons = permitted.on_guest(guest["id"])
    sealed = keystore.status(here)["sealed"]
    if wants_part():
        return render_template("guest_live.html", guest=guest, buttons=buttons, sealed=sealed)
    accesses = known = None
    if may_see["log"]:
        accesses = log.list_records(here, who, {"resource": resource}, _LATEST_ACCESSES, view=view)["items"]
    if may_see["keys"]:
        listed: list[dict[str, Any]] = keys.list_keys(here, who, view=view)["items"]
        known = {key["id"]: key for key in listed if key["owner"] == resource}
    open_findings = findings.list_findings(here, who)["items"] if may_see["findings"] else []
    all_jobs = (long_work.view(job) for job in long_work.latest(_JOBS_LOOKED_AT))
    return render_template(
        "guest.html",
        guest=guest,
        buttons=buttons,
        sealed=sealed,
        keys=known,
        accesses=accesses,
        resource=resource,
        people=people.names(),
        findings=[finding for finding in open_findings if finding["resource"] == resource],
        jobs=[job for job in all_jobs if job["subject"] == name and job["action"].startswith("guest.")][
            :_LATEST_JOBS
        ],
        image=_image(guest["image"]),
        problem=problem,
    )


def _image(image_id: str) -> dict[str, Any] | None:
    if not permitted.may(Action.IMAGE_LIST):
        return None
    listed: list[dict[str, Any]] = images.list_images(site(), caller(), view="guest")["items"]
    return next((image for image in listed if image["id"] == image_id), None)


def _fits(guest: dict[str, Any], wanted: dict[str, str]) -> bool:
    return (
        (not wanted["state"] or guest["state"] == wanted["state"])
        and (not wanted["label"] or wanted["label"] in guest["labels"])
        and (not wanted["name"] or wanted["name"].lower() in guest["name"])
    )
