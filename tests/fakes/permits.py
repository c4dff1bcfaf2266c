"""Permits for tests of what lies below the gate, which alone makes them otherwise."""

from policies.vocabulary import Action, EntityRef, EntityType
from vault.permit import _GATE_TOKEN, Permit

OPERATOR = EntityRef(EntityType.ACCOUNT, "5f7d1c52-6f0e-4f5e-9a54-0c7f3d1f0b11")
NO_INTENT = "0" * 32


def permit_for(action: Action, resource: EntityRef, intent: str = NO_INTENT) -> Permit:
    """An open permit as the gate would make it."""
    return Permit(_GATE_TOKEN, principal=OPERATOR, action=action, resource=resource, intent=intent)


def closed(permit: Permit) -> Permit:
    """The permit after its access has ended."""
    permit._close()
    return permit
