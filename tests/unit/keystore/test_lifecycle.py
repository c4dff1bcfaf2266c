import pytest

from vault.errors import Conflict
from vault.keystore.lifecycle import KeyState, require_transition

ALLOWED = {
    ("pre-activation", "active"),
    ("pre-activation", "compromised"),
    ("pre-activation", "destroyed"),
    ("active", "suspended"),
    ("active", "deactivated"),
    ("active", "compromised"),
    ("active", "destroyed"),
    ("suspended", "active"),
    ("suspended", "deactivated"),
    ("suspended", "compromised"),
    ("suspended", "destroyed"),
    ("deactivated", "compromised"),
    ("deactivated", "destroyed"),
    ("compromised", "destroyed"),
}


@pytest.mark.parametrize("present", KeyState)
@pytest.mark.parametrize("wanted", KeyState)
def test_only_the_transitions_of_sp_800_57_are_possible(present: KeyState, wanted: KeyState) -> None:
    if (present, wanted) in ALLOWED:
        require_transition(present, wanted)
    else:
        with pytest.raises(Conflict, match=f"is {present} cannot become {wanted}"):
            require_transition(present, wanted)
