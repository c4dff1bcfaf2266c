"""Checks of keys over time: a fitting state, one for each disk, young enough, destroyed with their guest."""

from datetime import timedelta

from audit.evidence.check import (
    Check,
    CheckResult,
    Reading,
    Snapshot,
    Support,
    Table,
    judged,
    kept,
    not_evaluated,
)
from audit.evidence.checks.disks import DELETED
from audit.evidence.checks.keys import DESTROYED, present_keys
from audit.evidence.framework import Framework
from audit.evidence.instant import format_instant
from audit.evidence.log_range import spans

#: NIST SP 800-57 part 1 rev. 5, section 7.
_STATES = frozenset({"pre-activation", "active", "suspended", "deactivated", "compromised", "destroyed"})
#: States in which a key may protect a disk that is in use; a suspended one may open it again later.
_USABLE = frozenset({"active", "suspended"})
_HEADERS = "that the header was wiped, here and in copies elsewhere, is not measured yet"


def _state_fits(snapshot: Snapshot) -> CheckResult:
    states = {key.id: key.state for key in snapshot.facts.keys}
    rows: list[tuple[object, ...]] = []
    wrong = 0
    for key in sorted(snapshot.facts.keys, key=lambda k: (k.purpose, k.id)):
        if key.state not in _STATES:
            wrong += 1
            rows.append((key.id, key.purpose, key.state, "no state of NIST SP 800-57"))
    disks = [
        (guest, disk)
        for guest in sorted(snapshot.facts.guests, key=lambda g: g.id)
        if guest.state != DELETED
        for disk in sorted(guest.disks, key=lambda d: d.path)
    ]
    for guest, disk in disks:
        state = states.get(disk.key_id or "", "unknown to the key store")
        fits = state in _USABLE
        wrong += not fits
        rows.append(
            (disk.key_id, f"disk of {guest.name}", state, "fits" if fits else "may not protect a disk")
        )
    return judged(
        population=len(snapshot.facts.keys) + len(disks),
        violations=wrong,
        unit="keys and disks",
        query=(
            "state of every key; state of the key of every disk present; rows list disks and keys out of "
            "order"
        ),
        holds=(
            f"Every key ({len(snapshot.facts.keys)}) has a known state; every disk ({len(disks)}) has a "
            "key that may be used."
        ),
        fails=f"Keys or disks out of order: {wrong}; see the rows.",
        empty="There is neither a key nor a disk.",
        table=Table.of(("key", "protects", "state", "finding"), rows),
    )


def _one_key_each(snapshot: Snapshot) -> CheckResult:
    owners = {key.id: key.owner for key in snapshot.facts.keys}
    users: dict[str | None, int] = {}
    disks = [
        (guest, disk)
        for guest in sorted(snapshot.facts.guests, key=lambda g: g.id)
        if guest.state != DELETED
        for disk in sorted(guest.disks, key=lambda d: d.path)
        if disk.encrypted
    ]
    for _, disk in disks:
        users[disk.key_id] = users.get(disk.key_id, 0) + 1
    rows: list[tuple[object, ...]] = []
    for guest, disk in disks:
        if disk.key_id not in owners:
            rows.append((guest.name, disk.path, disk.key_id, "the key store does not know its key"))
        elif users[disk.key_id] > 1:
            rows.append((guest.name, disk.path, disk.key_id, "another disk has the same key"))
        elif owners[disk.key_id or ""] != guest.id:
            rows.append((guest.name, disk.path, disk.key_id, "the key was made for something else"))
    return judged(
        population=len(disks),
        violations=len(rows),
        unit="encrypted disks",
        query="key of every encrypted disk, and whom it was made for; rows list only what does not hold",
        holds=f"Every encrypted disk ({len(disks)}) has a key of its own that was made for its guest.",
        fails=f"Encrypted disks without a key of their own: {len(rows)} of {len(disks)}.",
        empty="There is no encrypted disk.",
        table=Table.of(("guest", "file", "key", "what is wrong"), rows),
    )


def _young_enough(snapshot: Snapshot) -> CheckResult:
    keys = [key for key in present_keys(snapshot) if key.state == "active"]
    days = snapshot.facts.settings.cryptoperiod_days
    query = "age of every active key at extraction, against the cryptoperiod in force"
    if days is None:
        return not_evaluated("No cryptoperiod is set, so age cannot be judged.", unit="keys", query=query)
    now = snapshot.facts.system.extracted_at
    old = [key for key in keys if now - key.created_at > timedelta(days=days)]
    return judged(
        population=len(keys),
        violations=len(old),
        unit="active keys",
        query=query,
        holds=f"Every active key ({len(keys)}) is younger than the cryptoperiod of {days} days.",
        fails=f"Active keys older than the cryptoperiod of {days} days: {len(old)} of {len(keys)}.",
        empty="There is no active key.",
        table=Table.of(
            ("key", "purpose", "created (UTC)", "age (days)"),
            ((k.id, k.purpose, format_instant(k.created_at), (now - k.created_at).days) for k in keys),
        ),
    )


def _destroyed_with_guest(snapshot: Snapshot) -> Reading:
    period = snapshot.period
    outcomes = yield from kept(
        lambda event: event.action == "guest.delete" and event.kind == "outcome" and event.code == "ok"
    )
    deleted = {event.resource.removeprefix("guest:"): event for event in outcomes}
    rows: list[tuple[object, ...]] = []
    wrong = 0
    for guest_id, event in sorted(deleted.items()):
        keys = sorted((k for k in snapshot.facts.keys if k.owner == guest_id), key=lambda k: k.id)
        left = [k for k in keys if k.state != DESTROYED]
        finding = (
            "destroyed" if keys and not left else f"{len(left)} keys left" if left else "no key on record"
        )
        wrong += finding != "destroyed"
        destroyed = max((format_instant(k.destroyed_at) for k in keys if k.destroyed_at), default=None)
        rows.append((event.seq, event.at, guest_id, ", ".join(k.id for k in keys), destroyed, finding))
    return judged(
        population=len(deleted),
        violations=wrong,
        unit="deleted guests",
        query=(
            "successful outcomes of guest.delete in the period; state of every key that belonged to the guest"
        ),
        holds=f"The keys of every deleted guest ({len(deleted)}) are destroyed in the key store.",
        fails=f"Deleted guests whose keys are not shown to be destroyed: {wrong} of {len(deleted)}.",
        empty=f"No guest was deleted from {period.first[:10]} to {period.last_excluded[:10]}.",
        seqs=spans(event.seq for event in deleted.values()),
        table=Table.of(("record", "deleted (UTC)", "guest", "keys", "destroyed (UTC)", "finding"), rows),
    )


CHECKS = (
    Check(
        id="key.state_fits",
        version=1,
        title="Every key is in a state that fits what it does",
        supports={
            Framework.HIPAA: (Support("164.312(a)(2)(iv)"),),
            Framework.PCI: (
                Support(
                    "3.7.5",
                    "that a custodian's leaving led to new keys is a workflow record, which is not kept",
                ),
            ),
        },
        evaluate=_state_fits,
    ),
    Check(
        id="key.one_each",
        version=1,
        title="No disk re-uses another disk's key",
        supports={
            Framework.HIPAA: (
                Support(
                    "164.310(d)(2)(ii)", "media that leave the platform for another use are not visible here"
                ),
            ),
        },
        evaluate=_one_key_each,
    ),
    Check(
        id="key.young_enough",
        version=1,
        title="No active key is older than its cryptoperiod",
        supports={Framework.PCI: (Support("3.7.4"),)},
        evaluate=_young_enough,
    ),
    Check(
        id="key.destroyed_with_guest",
        version=1,
        title="A deleted guest's keys are destroyed",
        supports={
            Framework.HIPAA: (Support("164.310(d)(2)(i)", _HEADERS),),
            Framework.PCI: (Support("9.4.7", _HEADERS),),
        },
        read=_destroyed_with_guest,
    ),
)
