"""Settling what was interrupted: every intent without outcome gets one, before any new intent is taken.

What really happened only the layer above can find out, from libvirt and the disks: it gives a function.
"""

from collections.abc import Callable, Mapping

from audit.log.drafting import outcome_of
from audit.log.record import Draft, Kind, Record
from audit.log.store import LogStore
from audit.log.writer import LogWriter

#: Finds out how an interrupted access ended, and cleans up after it: intent -> the outcome's code and facts.
#: Called again for the same intent when a recovery is itself interrupted.
Settle = Callable[[Record], tuple[str, Mapping[str, object]]]


def open_intents(store: LogStore) -> list[Record]:
    """The intents without outcome in a store, oldest first.

    Raises:
        LogUnavailable: the store cannot be read.
        LogDamaged: an intent's bytes are not what was hashed.
    """
    return store.open_intents()


def settle_open_intents(
    writer: LogWriter, settle: Settle, *, principal: str, resource: str, timeout_s: float = 5.0
) -> list[Record]:
    """Give every open intent its outcome, then let the writer take intents.

    When something is open, one `recovery` record says how much. Each outcome is durable before the next
    intent is looked at, and has the fact `recovered: true`.

    Args:
        writer: the log's writer, in recovery.
        settle: finds out how an access ended. Whatever it raises ends the recovery: no intent is taken then.
        principal: who recovers, as `os:<uid>`.
        resource: what is recovered, as `site:<id>`.
        timeout_s: how long to wait for each record, in seconds.

    Returns:
        The outcomes, oldest intent first.

    Raises:
        LogUnavailable: a record could not be made durable.
    """
    intents = writer.open_intents(timeout_s)
    if intents:
        found = Draft(
            kind=Kind.RECOVERY,
            principal=principal,
            action="system.recover",
            resource=resource,
            result={"code": "ok", "facts": {"open_intents": len(intents)}},
            source={"address": None, "channel": "daemon"},
        )
        writer.append(found, timeout_s)
    outcomes: list[Record] = []
    for intent in intents:
        code, facts = settle(intent)
        outcomes.append(writer.append(outcome_of(intent, code, {**facts, "recovered": True}), timeout_s))
    writer.declare_recovered(timeout_s)
    return outcomes
