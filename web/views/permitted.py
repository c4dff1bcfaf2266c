"""What the policy would answer, so that pages offer nothing that would be refused.

This is advice for drawing a page, not an access: nothing is done, handed out or recorded. The gate asks again when
somebody really does it.
"""

from flask import current_app, g

from policies.engine import PolicyEngine
from policies.vocabulary import Action, EntityRef, Request, Verdict
from vault.entities import LOG, SITE, EntityBuilder, guest_ref
from vault.gate import Access
from web.guard import caller
from web.site import site

_ENGINE = "strongroom.foresight"

#: What each page needs; `pages.home.show` is for everybody.
_ON: dict[Action, EntityRef] = {
    Action.GUEST_LIST: SITE,
    Action.LOG_LIST: LOG,
    Action.FINDING_LIST: SITE,
}


def may(action: Action, resource: EntityRef | None = None) -> bool:
    """Say whether the policy would let the caller do `action` now.

    Args:
        resource: on what; may be left out for the few actions that pages are about.
    """
    access = Access(caller(), action, resource or _ON[action])
    context: dict[str, bool | int | str | list[str]] = {
        "channel": access.caller.channel,
        "approvals": 0,
        "reason_given": False,
        "second_factor": access.caller.second_factor,
    }
    entities = EntityBuilder(site().database).entities_for(access)
    asked = Request(access.caller.principal, action, access.resource, context, entities)
    return _engine().decide(asked).verdict is Verdict.ALLOW


def on_guest(guest_id: str) -> dict[str, bool]:
    """Which of the buttons of a guest the caller may press."""
    guest = guest_ref(guest_id)
    return {"start": may(Action.GUEST_START, guest), "stop": may(Action.GUEST_STOP, guest)}


def pages() -> dict[str, bool]:
    """Which parts of the site the caller may see; asked once a request."""
    if "pages" not in g:
        g.pages = {
            "guests": may(Action.GUEST_LIST),
            "log": may(Action.LOG_LIST),
            "findings": may(Action.FINDING_LIST),
        }
    found: dict[str, bool] = g.pages
    return found


def _engine() -> PolicyEngine:
    bundle = site().bundle
    engine: PolicyEngine | None = current_app.extensions.get(_ENGINE)
    if engine is None or engine.bundle_digest != bundle.digest:
        engine = PolicyEngine(bundle)
        current_app.extensions[_ENGINE] = engine
    return engine
