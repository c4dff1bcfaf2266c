"""The warrant: what the log must say before the key process uses or changes a key (decision D8).

The process believes nobody's word, not the daemon's either: it reads the log by itself and wants a durable
intent, allowed by policy, still open, fresh, for the right action on the right owner. Every rule about that
is in this file, which does no input or output; the client checks permits by the same table.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from policies.vocabulary import Action, EntityRef, EntityType
from vault.errors import IntentRefused

#: How long an intent covers the use of a key. The longest honest use is making a guest from a large image.
MAX_INTENT_AGE_NS = 15 * 60 * 10**9
_INTENT_ID = re.compile(r"[0-9a-f]{32}")
_SITE = EntityRef(EntityType.SITE, "site")
_LOG = EntityRef(EntityType.LOG, "log")
#: The one key store of a site, as records name it.
KEY_STORE = EntityRef(EntityType.KEY_STORE, "keystore")


class Command(StrEnum):
    """What can be asked of the key process that uses or changes a key."""

    UNSEAL = "unseal"
    CREATE_KEY = "create_key"
    UNWRAP_KEY = "unwrap_key"
    DESTROY_KEY = "destroy_key"
    WRAP_PERSON_KEY = "wrap_person_key"
    UNWRAP_PERSON_KEY = "unwrap_person_key"


#: The actions whose intent covers a command. What is not here is refused.
ALLOWED_ACTIONS: Mapping[Command, frozenset[Action]] = {
    Command.UNSEAL: frozenset({Action.KEYSTORE_UNSEAL, Action.SYSTEM_INIT}),
    Command.CREATE_KEY: frozenset({Action.GUEST_CREATE}),
    Command.UNWRAP_KEY: frozenset({Action.GUEST_CREATE, Action.GUEST_START}),
    Command.DESTROY_KEY: frozenset({Action.GUEST_DELETE, Action.GUEST_CREATE, Action.SYSTEM_RECOVER}),
    Command.WRAP_PERSON_KEY: frozenset({Action.ACCOUNT_CREATE, Action.KEYSTORE_UNSEAL, Action.SYSTEM_INIT}),
    Command.UNWRAP_PERSON_KEY: frozenset({Action.LOG_SHOW, Action.REPORT_CREATE}),
}
#: Actions that undo a creation: they destroy only what a creation left unfinished made.
ROLLBACKS = frozenset({Action.GUEST_CREATE, Action.SYSTEM_RECOVER})
#: Destroying gives nothing away, and recovery settles an intent of before a crash or a reboot under that very
#: intent (`Gate.settle`); so here an open intent counts whatever its age.
_AGELESS = frozenset({Command.DESTROY_KEY})


class IntentRecord(Protocol):
    """What a warrant needs of a record of the log; `audit.log.record.Record` fits."""

    @property
    def id(self) -> str:
        """32 hex digits."""

    @property
    def kind(self) -> str:
        """`intent`, or something else."""

    @property
    def action(self) -> str:
        """Such as `guest.start`."""

    @property
    def resource(self) -> str:
        """Such as `guest:…`."""

    @property
    def decision(self) -> str | None:
        """`allow`, or something else."""

    @property
    def boot(self) -> str:
        """Id of the boot in which it was written."""

    @property
    def mono_ns(self) -> int:
        """Monotonic clock when it was written, nanoseconds."""


class IntentState(Protocol):
    """A record and whether an outcome closed it; `audit.log.query.IntentState` fits."""

    @property
    def record(self) -> IntentRecord:
        """The record."""

    @property
    def settled(self) -> bool:
        """Whether an outcome or a recovery record names it."""


class IntentSource(Protocol):
    """Reads the log: only what is durable."""

    def intent_state(self, intent_id: str) -> IntentState | None:
        """The record with this id, None where there is none; raises StrongroomError if unreadable."""


class BootClock(Protocol):
    """The clock that the log's records are written by."""

    def mono_ns(self) -> int:
        """Monotonic time, nanoseconds."""

    def boot_id(self) -> str:
        """Id of this boot."""


@dataclass(frozen=True, slots=True)
class Warrants:
    """Checks commands against the log."""

    intents: IntentSource
    clock: BootClock

    def require(self, command: Command, intent_id: object, owner: EntityRef) -> IntentRecord:
        """Check that an intent covers `command` on a key of `owner`.

        Args:
            command: what is to be done.
            intent_id: untrusted; 32 hex digits.
            owner: guest or account that owns the key; the key store itself for an unseal.

        Returns:
            the intent's record.

        Raises:
            IntentRefused: it does not; the sentence says why.
        """
        # 1. It names a durable record.
        state = self._state(intent_id)
        if state is None:
            raise _refused("the log holds no such intent")
        record = state.record
        # 2. The record is an allowed intent ...
        if record.kind != "intent" or record.decision != "allow" or record.id != intent_id:
            raise _refused("what it names in the log is no allowed intent")
        # 3. ... that nothing has closed yet ...
        if state.settled:
            raise _refused("the intent already has its outcome")
        # 4. ... for an action that covers the command, on this owner ...
        action = _action(record.action)
        if action is None or action not in ALLOWED_ACTIONS[command]:
            raise _refused(f"an intent to {record.action} does not cover it")
        if record.resource != str(resource_of(action, owner)):
            raise _refused("the intent is for something else")
        # 5. ... written in this boot, a short while ago.
        if command not in _AGELESS:
            self._require_fresh(record)
        return record

    def require_rollback_only(self, intent: IntentRecord, created_under: str) -> None:
        """Check that a rollback destroys only a key that an unfinished creation made.

        Args:
            intent: the intent the destruction was asked under, already checked.
            created_under: id of the intent under which the key was made.

        Raises:
            IntentRefused: the creation was finished, or nothing is known of it.
        """
        if intent.action not in ROLLBACKS or intent.id == created_under:
            return
        state = self._state(created_under)
        if state is None or state.settled:
            raise _refused("a rollback destroys no key whose creation was finished")

    def _state(self, intent_id: object) -> IntentState | None:
        if not isinstance(intent_id, str) or not _INTENT_ID.fullmatch(intent_id):
            raise _refused("it names no intent")
        return self.intents.intent_state(intent_id)

    def _require_fresh(self, record: IntentRecord) -> None:
        if record.boot != self.clock.boot_id():
            raise _refused("the intent is from before the last boot")
        if not 0 <= self.clock.mono_ns() - record.mono_ns <= MAX_INTENT_AGE_NS:
            raise _refused("the intent is too old")


def resource_of(action: Action, owner: EntityRef) -> EntityRef:
    """What the intent of `action` must name for it to cover a key of `owner`.

    What is done to a guest or an account names it; what is done to the key store, the log or the site as a whole
    names that.
    """
    subject = action.partition(".")[0]
    if subject == "keystore":
        return KEY_STORE
    if subject == "log":
        return _LOG
    if subject in {"report", "system"}:
        return _SITE
    return owner


def _action(written: str) -> Action | None:
    try:
        return Action(written)
    except ValueError:
        return None


def _refused(why: str) -> IntentRefused:
    return IntentRefused(
        f"The key process did not touch the key: {why}.",
        "Ask again through the daemon; each request gets its own intent in the log.",
    )
