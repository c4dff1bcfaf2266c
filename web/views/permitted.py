"""What the policy would answer, so that pages offer nothing that would be refused.

This is advice for drawing a page, not an access: nothing is done, handed out or recorded. The gate asks again when
somebody really does it.
"""

from flask import current_app, g

from policies.engine import PolicyEngine
from policies.vocabulary import Action, Decision, EntityRef, Request, Verdict
from vault.entities import HOST, KEY_STORE, LOG, SITE, EntityBuilder, guest_entity, guest_ref
from vault.gate import Access
from web.guard import caller
from web.site import site

_ENGINE = "strongroom.foresight"

#: What each part of the site needs: an action, and on what.
_PARTS: dict[str, tuple[Action, EntityRef]] = {
    "guests": (Action.GUEST_LIST, SITE),
    "log": (Action.LOG_LIST, LOG),
    "reports": (Action.REPORT_LIST, SITE),
    "findings": (Action.FINDING_LIST, SITE),
    "keys": (Action.KEY_LIST, SITE),
    "policy": (Action.POLICY_LIST, SITE),
    "accounts": (Action.ACCOUNT_LIST, SITE),
    "health": (Action.HOST_INSPECT, HOST),
}


def may(action: Action, resource: EntityRef = SITE) -> bool:
    """Say whether the policy would let the caller do `action` now."""
    return foresee(Access(caller(), action, resource)).verdict is Verdict.ALLOW


def foresee(access: Access) -> Decision:
    """What the policy would answer to an access now."""
    context: dict[str, bool | int | str | list[str]] = {
        "channel": access.caller.channel,
        "approvals": 0,
        "reason_given": False,
        "second_factor": access.caller.second_factor,
    }
    entities = EntityBuilder(site().database).entities_for(access)
    asked = Request(access.caller.principal, access.action, access.resource, context, entities)
    return _engine().decide(asked)


def on_guest(guest_id: str) -> dict[str, bool]:
    """Which of the buttons of a guest the caller may press."""
    guest = guest_ref(guest_id)
    return {
        "start": may(Action.GUEST_START, guest),
        "stop": may(Action.GUEST_STOP, guest),
        "delete": may(Action.GUEST_DELETE, guest),
    }


def may_create_guest() -> bool:
    """Whether the caller may make a guest, as long as it has no labels."""
    who, made_up = caller(), "not-made-yet"
    entity = guest_entity(made_up, [], who.principal.id)
    asked = Access(who, Action.GUEST_CREATE, guest_ref(made_up), entities=(entity,))
    return foresee(asked).verdict is Verdict.ALLOW


def pages() -> dict[str, bool]:
    """Which parts of the site the caller may see; asked once a request."""
    if "pages" not in g:
        g.pages = {part: may(action, resource) for part, (action, resource) in _PARTS.items()}
        # Who may unseal need not be one who may see the list of keys.
        g.pages["keys"] = g.pages["keys"] or may(Action.KEYSTORE_UNSEAL, KEY_STORE)
    found: dict[str, bool] = g.pages
    return found


def _engine() -> PolicyEngine:
    bundle = site().bundle
    engine: PolicyEngine | None = current_app.extensions.get(_ENGINE)
    if engine is None or engine.bundle_digest != bundle.digest:
        engine = PolicyEngine(bundle)
        current_app.extensions[_ENGINE] = engine
    return engine
