"""Bundles and requests for the policy tests: the shipped schema with a few policies of the test's own."""

from collections.abc import Mapping

from policies.bundle import SCHEMA_FILE, PolicyBundle, shipped
from policies.engine import PolicyEngine
from policies.vocabulary import Action, Entity, EntityRef, EntityType, Request, Value

SCHEMA = shipped().files[SCHEMA_FILE]

ACCOUNT = EntityRef(EntityType.ACCOUNT, "5d41402abc4b2a76b9719d911017c592")
GUEST = EntityRef(EntityType.GUEST, "7d793037a0760186574b0282f2f435e7")
CIRCUMSTANCES: Mapping[str, Value] = {
    "channel": "cli",
    "approvals": 0,
    "reason_given": False,
    "second_factor": False,
}


def bundle_of(text: str) -> PolicyBundle:
    return PolicyBundle({SCHEMA_FILE: SCHEMA, "site.cedar": text.encode()})


def engine_of(text: str) -> PolicyEngine:
    return PolicyEngine(bundle_of(text))


def account(*roles: str, active: bool = True) -> Entity:
    return Entity(ACCOUNT, {"active": active}, tuple(EntityRef(EntityType.ROLE, role) for role in roles))


def guest(*labels: str) -> Entity:
    return Entity(GUEST, {"labels": list(labels), "owner": ACCOUNT.id})


def start_request(*roles: str, context: Mapping[str, Value] | None = None) -> Request:
    """An active account with these roles asks to start an unlabelled guest."""
    return Request(
        principal=ACCOUNT,
        action=Action.GUEST_START,
        resource=GUEST,
        context={**CIRCUMSTANCES, **(context or {})},
        entities=(account(*roles), guest()),
    )
