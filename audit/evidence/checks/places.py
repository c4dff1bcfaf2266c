"""Checks of where keys lie: apart from the data, opened by no log-in, and in use only in memory."""

from audit.evidence.check import Check, CheckResult, Sample, Snapshot, Support, Table, judged, not_evaluated
from audit.evidence.checks.disks import scoped_disks
from audit.evidence.checks.keys import present_keys
from audit.evidence.framework import Framework
from audit.evidence.verdict import Verdict

#: Places keys may lie in: the store, and a second for its backup (our number).
_MAX_PLACES = 2
_COLUMNS = ("what", "value")


def _kept_apart(snapshot: Snapshot) -> CheckResult:
    store = snapshot.facts.key_store
    keys = present_keys(snapshot)
    places = sorted({key.location for key in keys})
    query = "place of every key not destroyed; device of the key store and of every disk"
    rows = [
        ("key store", store.path),
        ("device of the key store", store.device),
        ("on a disk's device", _yes_no(store.same_device_as_disks)),
        *((f"place {number}", place) for number, place in enumerate(places, start=1)),
    ]
    table = Table.of(_COLUMNS, rows)
    if store.same_device_as_disks is None:
        return not_evaluated(
            "Whether the key store shares a device with the disks could not be told.",
            unit="key places",
            query=query,
            table=table,
        )
    together = int(store.same_device_as_disks)
    many = max(len(places) - _MAX_PLACES, 0)
    return judged(
        population=len(places),
        violations=together + many,
        unit="key places",
        query=query,
        holds=f"No key lies on a device that holds disks. Places in which keys lie: {len(places)}.",
        fails=(
            "The key store lies on the same device as the disks: whoever takes that device has both, and "
            "only the seal stands between them. Set `key_store_dir` to another device."
            if together
            else f"Places in which keys lie: {len(places)}, more than the {_MAX_PLACES} we allow."
        ),
        empty="The key store holds no key.",
        table=table,
    )


def _unlocking_independent(snapshot: Snapshot) -> CheckResult:
    keys = {key.id: key for key in snapshot.facts.keys}
    disks = [(g, d) for g, d in scoped_disks(snapshot) if d.encrypted]
    rows: list[tuple[object, ...]] = []
    wrong = 0
    for guest, disk in disks:
        key = keys.get(disk.key_id or "")
        holds = key is not None and key.wrapped_by is not None and key.owner == guest.id
        wrong += not holds
        rows.append(
            (guest.name, disk.path, disk.key_id, key.owner if key else None, "yes" if holds else "no")
        )
    return judged(
        population=len(disks),
        violations=wrong,
        unit="disks",
        query="key of each scoped disk: whether it belongs to the guest and opens only through the key store",
        holds=(
            f"Every disk in scope ({len(disks)}) opens with a random key from the key store that belongs to its "
            "guest; no log-in to the host or the platform opens it."
        ),
        fails=f"Disks that do not open through a key of their own in the key store: {wrong} of {len(disks)}.",
        empty=f"No encrypted disk is labelled {snapshot.framework.scope_label}.",
        table=Table.of(("guest", "file", "key", "key belongs to", "holds"), rows),
    )


def _breach_places(snapshot: Snapshot) -> CheckResult:
    store = snapshot.facts.key_store
    keys = {key.id: key for key in snapshot.facts.keys}
    disks = scoped_disks(snapshot)
    rows = [
        (
            guest.name,
            disk.path,
            disk.device,
            keys[disk.key_id].location if disk.key_id in keys else None,
            store.device,
            _yes_no(disk.device == store.device if disk.device and store.device else None),
        )
        for guest, disk in disks
    ]
    together = sum(row[-1] == "yes" for row in rows)
    unknown = sum(row[-1] == "unknown" for row in rows)
    if not disks:
        verdict = Verdict.NO_POPULATION
        reason = (
            f"No guest is labelled {snapshot.framework.scope_label}, so no disk's loss could be a breach."
        )
    else:
        verdict = Verdict.PARTIAL
        reason = (
            f"For {together} of {len(disks)} disks the key lies on the disk's own device, for {unknown} "
            "that is not known: where both are lost together, encryption does not take the loss out of the "
            "breach rule. Dossiers of suspected breaches are workflow records, which are not kept yet."
        )
    return CheckResult(
        verdict=verdict,
        reason=reason,
        population=len(disks),
        unit="disks",
        query="device of each scoped disk and of the key store that holds its key",
        sample=Sample(len(disks)),
        violations=0,
        table=Table.of(("guest", "disk", "disk's device", "key in", "key store's device", "together"), rows),
    )


def _memory_protected(snapshot: Snapshot) -> CheckResult:
    memory, store = snapshot.facts.memory, snapshot.facts.key_store
    query = "file system below libvirt's per-domain folders and our own memory folder; swap; core dumps"
    rows = [
        ("libvirt's per-domain folders lie on", memory.libvirt_filesystem),
        ("our memory folder lies on", memory.private_filesystem),
        ("swap", {True: "active", False: "off", None: "unknown"}[memory.swap_active]),
        ("core dumps off", _yes_no(memory.core_limit_zero)),
        ("key process may be dumped or traced", _yes_no(store.process_dumpable)),
    ]
    table = Table.of(_COLUMNS, rows)
    if None in (memory.libvirt_filesystem, memory.private_filesystem, memory.swap_active):
        return not_evaluated(
            "The host's memory protection could not be measured.", unit="places", query=query, table=table
        )
    exposed = [
        place
        for place in (memory.libvirt_filesystem, memory.private_filesystem)
        if place != "ramfs" and (place != "tmpfs" or memory.swap_active)
    ]
    dumpable = int(store.process_dumpable is True)
    return judged(
        population=2 + int(store.process_dumpable is not None),
        violations=len(exposed) + dumpable,
        unit="places",
        query=query,
        holds=(
            "What libvirt and the daemon keep of a key lies only in memory that is never written to a disk."
        ),
        fails=f"Places that could put key material on a disk: {len(exposed) + dumpable}; see the rows.",
        empty="",
        table=table,
    )


def _yes_no(value: bool | None) -> str:  # noqa: FBT001 - it is what is written
    return {True: "yes", False: "no", None: "unknown"}[value]


CHECKS = (
    Check(
        id="key.kept_apart",
        version=1,
        title="Keys lie in few places, apart from the data",
        supports={Framework.PCI: (Support("3.6.1"), Support("3.6.1.4"))},
        evaluate=_kept_apart,
    ),
    Check(
        id="disk.unlocking_independent",
        version=1,
        title="No log-in opens a disk",
        supports={
            Framework.PCI: (
                Support("3.5.1.3", "where people keep the seal's passphrase or shares is not visible"),
            ),
        },
        evaluate=_unlocking_independent,
    ),
    Check(
        id="key.breach_places",
        version=1,
        title="Where the key of each disk lies, should the disk be lost",
        supports={Framework.HIPAA: (Support("164.402"),)},
        evaluate=_breach_places,
    ),
    Check(
        id="host.memory_protected",
        version=1,
        title="Key material in use lies in memory that is never written to a disk",
        supports={
            Framework.HIPAA: (Support("164.312(a)(2)(iv)"),),
            Framework.PCI: (
                Support("3.6.1.2", "the key store is a process, not a certified secure cryptographic device"),
            ),
        },
        evaluate=_memory_protected,
    ),
)
