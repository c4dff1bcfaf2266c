"""What an allow may still demand: a second person, a reason, a fresh second factor.

Cedar knows no obligations. An obligation is a `forbid ... unless { context... }` that carries an
`@obligation` annotation (D1): permits only add, so a condition on a permit would bind nobody. The
annotation is read once, when the bundle is loaded.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum

from policies.errors import BundleInvalid


class Obligation(StrEnum):
    """The obligations that a policy may carry, as written in `@obligation("...")`."""

    DUAL_CONTROL = "dual_control"
    REASON = "reason"
    SECOND_FACTOR = "second_factor"


#: What the request's context says when the obligation is met.
_CONTEXT_ATTRIBUTE: Mapping[Obligation, str] = {
    Obligation.DUAL_CONTROL: "approvals",
    Obligation.REASON: "reason_given",
    Obligation.SECOND_FACTOR: "second_factor",
}


def read_obligation(policy: str, name: str, *, effect: str, conditions: object) -> Obligation:
    """Read a policy's `@obligation` and check that somebody could ever meet it.

    Args:
        policy: the policy's id, for the error's sentence.
        name: the annotation's value.
        effect: `permit` or `forbid`.
        conditions: the policy's conditions in Cedar's JSON form.

    Raises:
        BundleInvalid: an unknown obligation, one on a permit, or one whose condition never looks at
            the attribute of the context that tells whether it is met.
    """
    try:
        obligation = Obligation(name)
    except ValueError:
        known = ", ".join(Obligation)
        raise BundleInvalid(
            f"Policy {policy} carries an unknown obligation.", f"Known obligations: {known}."
        ) from None
    if effect != "forbid":
        raise BundleInvalid(
            f"Policy {policy} is a permit and carries an obligation, which would bind nobody.",
            "Write the obligation as a forbid with an unless.",
        )
    attribute = _CONTEXT_ATTRIBUTE[obligation]
    if not _reads_context(conditions, attribute):
        raise BundleInvalid(
            f"Policy {policy} demands {obligation} but never looks at context.{attribute}, "
            "so nobody could meet it."
        )
    return obligation


def demanded(deciding: Iterable[Obligation | None]) -> tuple[str, ...]:
    """Name what is still demanded when these forbids have decided.

    Args:
        deciding: the obligation of each deciding forbid, None where it carries none.

    Returns:
        The obligations, sorted; empty when one of the forbids is final, since meeting the others
        would then change nothing.
    """
    names: set[str] = set()
    for obligation in deciding:
        if obligation is None:
            return ()
        names.add(obligation.value)
    return tuple(sorted(names))


def _reads_context(node: object, attribute: str) -> bool:
    """Find `context.<attribute>` anywhere in an expression of Cedar's JSON form."""
    if isinstance(node, Mapping):
        if node.get(".") == {"left": {"Var": "context"}, "attr": attribute}:
            return True
        return any(_reads_context(child, attribute) for child in node.values())
    if isinstance(node, list):
        return any(_reads_context(child, attribute) for child in node)
    return False
