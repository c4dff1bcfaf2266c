"""Every check there is, in the order that evidence items are numbered in.

A new check is added to the CHECKS of its subject's module; a new subject is added here, at the end, so that
the EV numbers of earlier reports stay comparable.
"""

from audit.evidence.check import Check
from audit.evidence.checks import (
    accesses,
    accounts,
    changes,
    disks,
    followed_up,
    identities,
    integrity,
    inventory,
    key_lifecycle,
    keys,
    log_integrity,
    logins,
    places,
    records,
    replayed,
    seals,
    settings,
)
from audit.evidence.framework import Framework

ALL_CHECKS: tuple[Check, ...] = (
    *log_integrity.CHECKS,
    *accesses.CHECKS,
    *records.CHECKS,
    *identities.CHECKS,
    *logins.CHECKS,
    *settings.CHECKS,
    *accounts.CHECKS,
    *disks.CHECKS,
    *keys.CHECKS,
    *key_lifecycle.CHECKS,
    *seals.CHECKS,
    *places.CHECKS,
    *inventory.CHECKS,
    *followed_up.CHECKS,
    *changes.CHECKS,
    *integrity.CHECKS,
    *replayed.CHECKS,
)


def checks_for(framework: Framework) -> tuple[Check, ...]:
    """The checks that give evidence for at least one control of this framework, in numbering order."""
    return tuple(check for check in ALL_CHECKS if check.supports.get(framework))
