"""Checks of policy and inventory: an empty policy set denies; what runs beside what; ciphers."""

from audit.evidence.check import Check, CheckResult, Sample, Snapshot, Support, Table, judged
from audit.evidence.checks.disks import DELETED, cipher_of
from audit.evidence.checks.keys import present_keys
from audit.evidence.facts import GuestFacts
from audit.evidence.framework import Framework
from audit.evidence.verdict import Verdict


def _deny_all(snapshot: Snapshot) -> CheckResult:
    canary = sorted(snapshot.facts.policy.canary, key=lambda c: (c.action, c.principal_type, c.resource_type))
    wrong = [c for c in canary if c.decision != "deny"]
    return judged(
        population=len(canary),
        violations=len(wrong),
        unit="sample requests",
        query="sample requests put to the running policy engine with an empty policy set",
        holds=(
            f"With no policy at all the engine denied every sample request ({len(canary)}): nothing is "
            "open by default."
        ),
        fails=f"Sample requests that an empty policy set did not deny: {len(wrong)} of {len(canary)}.",
        empty="The canary did not run.",
        table=Table.of(
            ("principal", "action", "resource", "answer"),
            ((c.principal_type, c.action, c.resource_type, c.decision) for c in canary),
        ),
    )


def _present(snapshot: Snapshot) -> list[GuestFacts]:
    return sorted((g for g in snapshot.facts.guests if g.state != DELETED), key=lambda guest: guest.id)


def _kept_apart(snapshot: Snapshot) -> CheckResult:
    guests = _present(snapshot)
    running = [g for g in guests if g.uid is not None]
    uids = [g.uid for g in running]
    shared = [g for g in running if uids.count(g.uid) > 1 or g.uid == 0]
    levels = sorted({", ".join(sorted(g.labels)) or "no label" for g in guests})
    return judged(
        population=len(running),
        violations=len(shared),
        unit="running guests",
        query="guests on this host, their labels, and the host user their process runs as",
        holds=(
            f"Guests on this host: {len(guests)}, with {len(levels)} different sets of labels. Each that runs "
            f"({len(running)}) does so as a host user of its own."
        ),
        fails=f"Guests that share a host user, or run as root: {len(shared)} of {len(running)}.",
        empty="No guest has a process of its own on this host.",
        table=Table.of(
            ("guest", "labels", "state", "host user"),
            ((g.name, ", ".join(sorted(g.labels)), g.state, g.uid) for g in guests),
        ),
    )


def _cipher_inventory(snapshot: Snapshot) -> CheckResult:
    days = snapshot.facts.settings.cryptoperiod_days
    period = f"{days} days" if days is not None else "not set"
    transport = snapshot.facts.transport
    rows: list[tuple[object, ...]] = [
        ("guest disk", f"{guest.name}: {disk.path}", cipher_of(disk), period)
        for guest in _present(snapshot)
        for disk in sorted(guest.disks, key=lambda d: d.path)
    ]
    rows += [
        (f"key ({key.purpose})", key.id, f"{key.algorithm}, {key.bits or 'unknown'} bits", period)
        for key in present_keys(snapshot)
    ]
    rows.append(
        ("transport", "daemon's listener", f"{transport.min_version} or later, {transport.cipher}", "—")
    )
    rows.append(("log", snapshot.facts.log.origin, "SHA-256 (RFC 6962), Ed25519", "—"))
    return CheckResult(
        verdict=Verdict.PARTIAL,
        reason=(
            f"The inventory ({len(rows)} uses of cryptography) was made from measurements. That a person "
            "reviewed it within a year, and the plan for algorithms that weaken, are workflow records, "
            "which are not kept yet."
        ),
        population=len(rows),
        unit="uses of cryptography",
        query="every disk, key, listener and signature of the platform",
        sample=Sample(len(rows)),
        table=Table.of(("used for", "where", "algorithm and strength", "cryptoperiod"), rows),
    )


def _component_inventory(snapshot: Snapshot) -> CheckResult:
    guests = _present(snapshot)
    rows = [
        (g.name, g.id, ", ".join(sorted(g.labels)), g.state, len(g.disks), sum(d.size_bytes for d in g.disks))
        for g in guests
    ]
    return CheckResult(
        verdict=Verdict.PARTIAL if guests else Verdict.NO_POPULATION,
        reason=(
            f"The inventory lists every guest on this host ({len(guests)}) with its function by label. "
            "Components outside this platform are not visible, and its review is a workflow record, which "
            "is not kept yet."
            if guests
            else "There is no guest."
        ),
        population=len(guests),
        unit="guests",
        query="every guest that is not deleted",
        sample=Sample(len(guests)),
        table=Table.of(("guest", "id", "labels", "state", "disks", "bytes"), rows),
    )


CHECKS = (
    Check(
        id="policy.deny_all",
        version=1,
        title="An empty policy set denies everything",
        supports={
            Framework.HIPAA: (Support("164.308(a)(4)(ii)(B)"),),
            Framework.PCI: (Support("7.3.3"),),
        },
        evaluate=_deny_all,
    ),
    Check(
        id="guest.kept_apart",
        version=1,
        title="Guests on one host run as different host users",
        supports={
            Framework.PCI: (
                Support("2.2.3", "isolation by network and hypervisor is not measured in this version"),
            ),
        },
        evaluate=_kept_apart,
    ),
    Check(
        id="crypto.inventory",
        version=1,
        title="Inventory of ciphers and keys",
        supports={Framework.PCI: (Support("3.6.1.1"), Support("12.3.3"))},
        evaluate=_cipher_inventory,
    ),
    Check(
        id="inventory.components",
        version=1,
        title="Inventory of guests",
        supports={Framework.PCI: (Support("12.5.1"),)},
        evaluate=_component_inventory,
    ),
)
