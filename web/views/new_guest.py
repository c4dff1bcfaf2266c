"""The form that makes a guest: each choice explained, and the policy's answer before anything is sent.

What the form checks is said in the sentences of the operation itself, which checks it all again.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from apiflask import APIBlueprint
from flask import Response, make_response, redirect, render_template, request, url_for
from werkzeug.datastructures import MultiDict
from werkzeug.wrappers import Response as AnyResponse

from policies.errors import StrongroomError
from policies.vocabulary import Action, Decision, Verdict
from vault.entities import guest_entity, guest_ref
from vault.errors import ApprovalNeeded, BadInput, PolicyDenied
from vault.gate import Access
from vault.guests.spec import MIN_GUEST_DISK_BYTES, MIN_MEMORY_BYTES, GuestSpec, parse_size
from vault.jobs import no_progress
from vault.operations import guest_create, guest_list, images, keystore
from web import long_work
from web.guard import caller
from web.site import site
from web.views import labels, permitted
from web.views.words import written_size

#: Beside `/guests/`, because there every word may be a guest's name.
routes = APIBlueprint("new_guest", __name__, url_prefix="/new-guest", enable_openapi=False)

_VIEW: Final = "new-guest"
_GIB: Final = 2**30
_MEMORY_BYTES: Final = 768 * 2**20
#: Room beside what the image fills.
_ROOM_BYTES: Final = 2 * _GIB
_SOME_ID: Final = "not-made-yet"


@dataclass(slots=True)
class Typed:
    """What somebody typed so far, and what is wrong with it, by field."""

    name: str
    image: str
    vcpus: str
    memory: str
    disk: str
    labels: list[str]
    more_labels: str
    autostart: bool
    start_order: str
    problems: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, form: MultiDict[str, str]) -> "Typed":
        """Take a form as it was sent."""

        def text(name: str) -> str:
            return form.get(name, "").strip()[:200]

        return cls(
            name=text("name"),
            image=text("image"),
            vcpus=text("vcpus"),
            memory=text("memory"),
            disk=text("disk"),
            labels=form.getlist("labels")[:20],
            more_labels=text("more_labels"),
            autostart=form.get("autostart") == "yes",
            start_order=text("start_order"),
        )

    @classmethod
    def proposed(cls, listed: list[dict[str, Any]]) -> "Typed":
        """Defaults that fit the newest image."""
        image = listed[0] if listed else None
        return cls(
            name="",
            image=image["name"] if image else "",
            vcpus="1",
            memory=written_size(_MEMORY_BYTES),
            disk=written_size(_proposed_disk(image["virtual_size_bytes"]) if image else 4 * _GIB),
            labels=[],
            more_labels="",
            autostart=False,
            start_order="0",
        )

    @property
    def all_labels(self) -> list[str]:
        """Ticked and written labels, each once."""
        return sorted({*self.labels, *self.more_labels.replace(",", " ").split()})


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a form asks for, read; the defaults are good whatever the machine."""

    name: str = "good"
    vcpus: int = 1
    memory_bytes: int = MIN_MEMORY_BYTES
    disk_bytes: int = MIN_GUEST_DISK_BYTES
    labels: tuple[str, ...] = ()


@routes.get("")
def show() -> str:
    """Show the form with defaults."""
    listed = _images()
    return _form(Typed.proposed(listed), listed)


@routes.post("/check")
def check() -> str:
    """Answer what was typed so far; nothing is done and nothing recorded but the lists that it reads."""
    typed = Typed.read(request.form)
    listed = _images()
    _examine(typed, listed)
    if not typed.name:
        typed.problems.pop("name", None)  # nobody has come that far yet
    return render_template("new_guest_answer.html", typed=typed, **_answer(typed))


@routes.post("")
def create() -> AnyResponse:
    """Make the guest as a job; or show the form again, with everything that was typed and what is wrong."""
    typed = Typed.read(request.form)
    listed = _images()
    new = _examine(typed, listed)
    if new is None:
        return _again(typed, listed, 400)
    here, who = site(), caller()
    if _foresee(typed).verdict is not Verdict.ALLOW:
        try:
            # Through the gate all the same: a refusal is an access too, and is recorded there.
            guest_create.create_guest(here, who, new, no_progress)
        except (PolicyDenied, ApprovalNeeded) as refusal:
            return _again(typed, listed, 403, refusal)
        return redirect(url_for("pages.guests.show", name=new.name), 303)
    job = long_work.start(Action.GUEST_CREATE, new.name, asdict(new))
    return redirect(url_for("pages.jobs.show", job_id=job.id), 303)


def _form(typed: Typed, listed: list[dict[str, Any]], refusal: StrongroomError | None = None) -> str:
    return render_template(
        "new_guest.html",
        typed=typed,
        images=listed,
        labels=labels.known(site()),
        sealed=keystore.status(site())["sealed"],
        refusal=refusal,
        **_answer(typed),
    )


def _again(
    typed: Typed, listed: list[dict[str, Any]], status: int, refusal: StrongroomError | None = None
) -> Response:
    return make_response(_form(typed, listed, refusal), status)


def _images() -> list[dict[str, Any]]:
    """Images by name, the newest of each: what a name in the form would mean."""
    listed: list[dict[str, Any]] = images.list_images(site(), caller(), view=_VIEW)["items"]
    newest: dict[str, dict[str, Any]] = {}
    for image in sorted(listed, key=lambda image: str(image["created_at"]), reverse=True):
        newest.setdefault(image["name"], image)
    return list(newest.values())


def _answer(typed: Typed) -> Mapping[str, Any]:
    """The policy's answer to the creation, and to what comes after it with these labels."""
    return {
        "decision": _foresee(typed),
        "afterwards": [(text, _foresee(typed, action)) for action, text in labels.DEEDS],
        "controls": {policy.id: policy.controls for policy in site().bundle.policies},
    }


def _foresee(typed: Typed, action: Action = Action.GUEST_CREATE) -> Decision:
    who = caller()
    entity = guest_entity(_SOME_ID, typed.all_labels, who.principal.id)
    return permitted.foresee(Access(who, action, guest_ref(_SOME_ID), entities=(entity,)))


def _examine(typed: Typed, listed: list[dict[str, Any]]) -> guest_create.NewGuest | None:
    """Note what is wrong, by field; the guest that can be asked for, or None."""
    vcpus = _number(typed, "vcpus", typed.vcpus)
    start_order = _number(typed, "start_order", typed.start_order or "0")
    memory_bytes = _size(typed, "memory", typed.memory)
    disk_bytes = _size(typed, "disk", typed.disk)
    asked = _Asked(typed.name, vcpus, memory_bytes, disk_bytes, tuple(typed.all_labels))
    for name in ("name", "vcpus", "memory", "disk", "labels"):
        if name not in typed.problems:
            _try(typed, name, asked)
    _fit_image(typed, listed, disk_bytes)
    if "name" not in typed.problems and permitted.may(Action.GUEST_LIST):
        there = guest_list.list_guests(site(), caller(), view=_VIEW)["items"]
        if typed.name in {guest["name"] for guest in there}:
            _note(typed, "name", guest_create.name_taken(typed.name))
    if typed.problems:
        return None
    return guest_create.NewGuest(
        name=typed.name,
        image=typed.image,
        vcpus=vcpus,
        memory_bytes=memory_bytes,
        disk_bytes=disk_bytes,
        labels=typed.all_labels,
        autostart=typed.autostart,
        start_order=start_order,
    )


def _try(typed: Typed, name: str, asked: _Asked) -> None:
    """Check one field by the specification itself, the others being good."""
    good = _Asked()
    try:
        GuestSpec(
            id=_SOME_ID,
            name=(asked if name == "name" else good).name,
            vcpus=(asked if name == "vcpus" else good).vcpus,
            memory_bytes=(asked if name == "memory" else good).memory_bytes,
            disk_bytes=(asked if name == "disk" else good).disk_bytes,
            labels=(asked if name == "labels" else good).labels,
        )
    except BadInput as error:
        _note(typed, name, error)


def _fit_image(typed: Typed, listed: list[dict[str, Any]], disk_bytes: int) -> None:
    image = next((image for image in listed if image["name"] == typed.image), None)
    if image is None:
        typed.problems["image"] = "Choose one of the images." if listed else "There is no image yet."
    elif "disk" not in typed.problems:
        try:
            guest_create.require_room(disk_bytes, image["virtual_size_bytes"])
        except BadInput as error:
            _note(typed, "disk", error)


def _number(typed: Typed, name: str, written: str) -> int:
    if written.isascii() and written.isdigit() and len(written) <= 6:
        return int(written)
    typed.problems[name] = f"{written!r} is not a whole number." if written else "Write a whole number."
    return 0


def _size(typed: Typed, name: str, written: str) -> int:
    try:
        return parse_size(written)
    except BadInput as error:
        _note(typed, name, error)
        return 0


def _note(typed: Typed, name: str, error: StrongroomError) -> None:
    typed.problems[name] = f"{error.message} {error.hint}".strip()


def _proposed_disk(image_bytes: int) -> int:
    """The image and some room, in whole GiB; a small image gets a disk of its own size."""
    if image_bytes < _GIB:
        return max(image_bytes, MIN_GUEST_DISK_BYTES)
    return -(-(image_bytes + _ROOM_BYTES) // _GIB) * _GIB
