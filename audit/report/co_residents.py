"""What shares the machine with labelled guests: host, network, administrators, and guests that lie dormant.

A labelled guest shares their fate: whoever holds one of them stands beside the data.
"""

from audit.evidence.check import Snapshot
from audit.evidence.facts import GuestFacts
from audit.evidence.instant import format_instant
from audit.report.activity import Activity
from audit.report.model import Column, Pairs, Section, Text
from audit.report.register import Register

_HOST_USER = "os:"
#: Roles that change what the platform does or protects, and so stand beside every guest.
_ADMINISTERING = ("administrator", "operator", "custodian")


def co_residents(snapshot: Snapshot, activity: Activity) -> Section:
    """Everything that is resident with a guest in scope."""
    facts, label = snapshot.facts, snapshot.framework.scope_label
    scoped = [g for g in facts.guests if label in g.labels and g.state != "deleted"]
    lead = (
        f"Guests on this host labelled '{label}': {len(scoped)}. What follows shares host, network or "
        "administrators with them."
        if scoped
        else f"No guest is labelled '{label}', so nothing is resident beside one. The host is listed all the same."
    )
    return Section(
        anchor="co-residents",
        title="What is resident beside labelled guests",
        new_page=True,
        blocks=(Text(lead, size="lead"),),
        sections=(
            Section("co-residents-host", "Host and network", (_host(snapshot),)),
            Section("co-residents-guests", "Guests", (guests_register(snapshot).grid(),)),
            Section(
                "co-residents-people",
                "Who administers",
                (
                    Text(
                        "Accounts whose roles act on guests, keys or the platform, and users of the host that acted "
                        "in the period. Root on the host stands beside all of them, also where it did not act here."
                    ),
                    people_register(snapshot, activity).grid(),
                ),
            ),
            Section(
                "co-residents-copies",
                "Backups and snapshots",
                (
                    Text(
                        "None is recorded: this version makes no backups and no snapshots of guests. Copies of disks "
                        "that somebody makes on the host by other means are not visible here."
                    ),
                ),
            ),
        ),
    )


def _host(snapshot: Snapshot) -> Pairs:
    facts = snapshot.facts
    network = facts.network
    return Pairs(
        (
            ("Host", f"{facts.system.host}, kernel {facts.system.kernel}"),
            ("Hypervisor", f"libvirt {facts.system.libvirt_version}, QEMU {facts.system.qemu_version}"),
            (
                "Network",
                (
                    f"{network.name} on bridge {network.bridge}, shared by all guests of this host; ports are "
                    "isolated and a fence keeps guests from the host and from each other (set, not tested here)"
                    if network
                    else "not measured"
                ),
            ),
            (
                "Disks lie on",
                ", ".join(sorted({d.device or "?" for g in facts.guests for d in g.disks})) or "—",
            ),
            ("Key store on", f"{facts.key_store.path}, device {facts.key_store.device or 'unknown'}"),
        )
    )


def guests_register(snapshot: Snapshot) -> Register:
    """Every guest that is not deleted, those in scope first, with what says whether it lies dormant."""
    label = snapshot.framework.scope_label
    present = [g for g in snapshot.facts.guests if g.state != "deleted"]
    present.sort(key=lambda guest: (label not in guest.labels, guest.name, guest.id))
    return Register(
        "guests",
        "Guests on this host",
        (
            Column("Guest", 16),
            Column("Labels", 14),
            Column("Scope", 11),
            Column("State", 10),
            Column("Last start", 12),
            Column("Dormant", 16),
            Column("Host user", 9, "number"),
            Column("Disks", 8, "number"),
            Column("MiB", 10, "number"),
        ),
        [
            (
                guest.name,
                ", ".join(sorted(guest.labels)) or "no label",
                "in scope" if label in guest.labels else "beside it",
                guest.state,
                format_instant(guest.started_at)[:10] if guest.started_at else "not known",
                _dormant(snapshot, guest),
                guest.uid,
                len(guest.disks),
                sum(disk.size_bytes for disk in guest.disks) // 2**20,
            )
            for guest in present
        ],
        "There is no guest on this host.",
    )


def _dormant(snapshot: Snapshot, guest: GuestFacts) -> str:
    if guest.state == "running":
        return "no"
    since = guest.started_at or guest.created_at
    if since is None:
        return "yes"
    return f"yes, for {(snapshot.facts.system.extracted_at - since).days} days or less"


def people_register(snapshot: Snapshot, activity: Activity) -> Register:
    """Who administers: accounts by role, and users of the host by what they did."""
    rows: list[tuple[object, ...]] = [
        (
            f"account:{account.id}",
            ", ".join(role for role in sorted(account.roles) if role in _ADMINISTERING),
            "service account" if account.service else "person",
            _decisions(activity, f"account:{account.id}"),
        )
        for account in sorted(snapshot.facts.accounts, key=lambda account: account.id)
        if account.active and set(account.roles) & set(_ADMINISTERING)
    ]
    rows += [
        (principal, "none here", "user of the host, or the daemon", _decisions(activity, principal))
        for principal in sorted(activity.by_principal)
        if principal.startswith(_HOST_USER)
    ]
    return Register(
        "administrators",
        "Who administers",
        (
            Column("Principal", 40, "code"),
            Column("Administering roles", 26),
            Column("Kind", 20),
            Column("Decisions in the period", 14, "number"),
        ),
        rows,
        "Nobody administers.",
    )


def _decisions(activity: Activity, principal: str) -> int:
    found = activity.by_principal.get(principal)
    return found["allowed"] + found["denied"] + found["waiting"] if found else 0
