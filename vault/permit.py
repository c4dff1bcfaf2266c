"""The permit: proof, checked at run time, that the gate let one access through.

Every function with an effect on a guest, disk, key, account or policy takes a `Permit` as its
first argument and calls `permit.require(...)` before anything else. Only `vault.gate` makes
one (the sealing token below is private to the two modules; tests/architecture checks it), and
the gate closes it when the outcome is recorded, so a permit cannot be kept for later.
"""

from audit.errors import RecordInvalid
from audit.log import canonical
from policies.vocabulary import Action, EntityRef
from vault.errors import PermitRefused

_GATE_TOKEN = object()
#: Facts are ids, digests and sizes; more than this is data, which has no place in a record.
_MAX_FACTS_BYTES = 64 * 1024


class Permit:
    """A right to act once: one action on one resource, under one durable intent."""

    __slots__ = ("_open", "action", "facts", "intent", "principal", "resource")

    def __init__(
        self, token: object, *, principal: EntityRef, action: Action, resource: EntityRef, intent: str
    ) -> None:
        if token is not _GATE_TOKEN:
            raise PermitRefused("Only the gate makes permits.")
        self.principal = principal
        self.action = action
        self.resource = resource
        #: Id of the intent record; the key process looks it up in the log by itself.
        self.intent = intent
        #: What the outcome record will say beside its code: ids, digests, sizes; never names or secrets.
        self.facts: dict[str, object] = {}
        self._open = True

    def __repr__(self) -> str:
        return f"Permit({self.action} on {self.resource}, {'open' if self._open else 'closed'})"

    def require(self, resource: EntityRef, *actions: Action) -> None:
        """Check that this permit covers one of `actions` on `resource` and is still open.

        Raises:
            PermitRefused: it does not, or the gate has closed it.
        """
        if not self._open:
            raise PermitRefused(f"The permit for {self.action} was used after its access had ended.")
        if self.action not in actions or self.resource != resource:
            wanted = " or ".join(actions)
            raise PermitRefused(
                f"A permit for {self.action} on {self.resource} does not cover {wanted} on {resource}."
            )

    def note(self, **facts: object) -> None:
        """Add facts to the outcome record, also when the act fails later.

        Raises:
            RecordInvalid: no record could hold them. Told here, because an outcome that cannot be recorded
                stops the gate.
        """
        noted = {**self.facts, **facts}
        if len(canonical.encode(noted)) > _MAX_FACTS_BYTES:
            raise RecordInvalid("The facts of a record are too large.", "Record a digest of them instead.")
        self.facts = noted

    def _close(self) -> None:
        self._open = False
