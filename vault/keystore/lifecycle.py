"""The states a key may be in, and the ways between them (NIST SP 800-57 Part 1 Rev. 5, section 7).

Destroyed is final: what is kept of a destroyed key is that it existed, never its bytes.
"""

from collections.abc import Mapping
from enum import StrEnum

from vault.errors import Conflict


class KeyState(StrEnum):
    """State of a key, or of a KEK version. Strongroom makes keys active at once."""

    PRE_ACTIVATION = "pre-activation"
    ACTIVE = "active"
    SUSPENDED = "suspended"
    DEACTIVATED = "deactivated"
    COMPROMISED = "compromised"
    DESTROYED = "destroyed"


_TRANSITIONS: Mapping[KeyState, frozenset[KeyState]] = {
    KeyState.PRE_ACTIVATION: frozenset({KeyState.ACTIVE, KeyState.COMPROMISED, KeyState.DESTROYED}),
    KeyState.ACTIVE: frozenset(
        {KeyState.SUSPENDED, KeyState.DEACTIVATED, KeyState.COMPROMISED, KeyState.DESTROYED}
    ),
    KeyState.SUSPENDED: frozenset(
        {KeyState.ACTIVE, KeyState.DEACTIVATED, KeyState.COMPROMISED, KeyState.DESTROYED}
    ),
    KeyState.DEACTIVATED: frozenset({KeyState.COMPROMISED, KeyState.DESTROYED}),
    KeyState.COMPROMISED: frozenset({KeyState.DESTROYED}),
    KeyState.DESTROYED: frozenset(),
}


def require_transition(present: KeyState, wanted: KeyState) -> None:
    """Check that a key in state `present` may become `wanted`.

    Raises:
        Conflict: it may not.
    """
    if wanted not in _TRANSITIONS[present]:
        raise Conflict(f"A key that is {present} cannot become {wanted}.")
