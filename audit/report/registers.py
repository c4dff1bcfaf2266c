"""The registers of a report: decisions, accounts, media and keys as they were, and who reviewed them."""

from collections import Counter

from audit.evidence.check import Snapshot
from audit.evidence.checks.disks import cipher_of
from audit.evidence.instant import format_instant
from audit.report.model import (
    MAX_SHOWN_ROWS,
    Column,
    Grid,
    Section,
    Text,
    cells,
)

_KINDS = ("intent", "access", "denied", "pending")


def registers(snapshot: Snapshot) -> Section:
    """Who could do what, with which keys, on which media, and who looked at it."""
    return Section(
        anchor="registers",
        title="Access, keys, media and reviews",
        new_page=True,
        sections=(
            Section("registers-decisions", "Decisions in the period", (_decisions(snapshot),)),
            Section("registers-accounts", "Accounts", (_accounts(snapshot),)),
            Section("registers-media", "Media", (_media(snapshot),)),
            Section("registers-keys", "Keys", (_keys(snapshot),)),
            Section(
                "registers-reviews",
                "Reviews",
                (
                    Text(
                        "No review of the log, of access or of policy is recorded: this version keeps no "
                        "such records. Attach yours to this report."
                    ),
                ),
            ),
        ),
    )


def _decisions(snapshot: Snapshot) -> Grid:
    tally: dict[str, Counter[str]] = {}
    failed: Counter[str] = Counter()
    if snapshot.log.proof.holds:
        for event in snapshot.log.events():
            if event.kind in _KINDS:
                tally.setdefault(event.action, Counter())[event.kind] += 1
            if event.kind in {"outcome", "access"} and event.code != "ok":
                failed[event.action] += 1
    rows = tuple(
        cells(action, kinds["intent"] + kinds["access"], failed[action], kinds["denied"], kinds["pending"])
        for action, kinds in sorted(tally.items())
    )
    return Grid(
        (
            Column("Action", 40, "code"),
            Column("Allowed", 15, "number"),
            Column("Of these failed", 15, "number"),
            Column("Denied", 15, "number"),
            Column("Waiting", 15, "number"),
        ),
        rows[:MAX_SHOWN_ROWS],
        len(rows),
        empty="There was no decision in the period, or the log does not verify.",
    )


def _accounts(snapshot: Snapshot) -> Grid:
    rows = tuple(
        cells(
            account.id,
            ", ".join(sorted(account.roles)),
            "service" if account.service else "person",
            "active" if account.active else "disabled",
            "yes" if account.second_factor else "no",
            format_instant(account.last_login_at)[:10] if account.last_login_at else "never",
        )
        for account in sorted(snapshot.facts.accounts, key=lambda account: account.id)
    )
    return Grid(
        (
            Column("Account", 34, "code"),
            Column("Roles", 24),
            Column("Kind", 10),
            Column("State", 10),
            Column("Second factor", 10),
            Column("Last log-in", 12),
        ),
        rows[:MAX_SHOWN_ROWS],
        len(rows),
        empty="There is no account.",
    )


def _media(snapshot: Snapshot) -> Grid:
    rows = tuple(
        cells(
            guest.name,
            disk.path,
            f"{disk.size_bytes // 2**20:,}",
            cipher_of(disk),
            len(disk.active_keyslots),
            guest.state,
        )
        for guest in sorted(snapshot.facts.guests, key=lambda guest: guest.name)
        for disk in sorted(guest.disks, key=lambda disk: disk.path)
    )
    return Grid(
        (
            Column("Guest", 14),
            Column("File", 34, "code"),
            Column("MiB", 9, "number"),
            Column("Measured on the file", 24),
            Column("Keyslots", 9, "number"),
            Column("Guest's state", 10),
        ),
        rows[:MAX_SHOWN_ROWS],
        len(rows),
        empty="There is no disk.",
    )


def _keys(snapshot: Snapshot) -> Grid:
    rows = tuple(
        cells(
            key.id,
            key.purpose,
            key.state,
            f"{key.algorithm}, {key.bits or 'unknown'} bits",
            key.wrapped_by,
            format_instant(key.created_at)[:10],
            format_instant(key.destroyed_at)[:10] if key.destroyed_at else None,
        )
        for key in sorted(snapshot.facts.keys, key=lambda key: (key.purpose, key.id))
    )
    return Grid(
        (
            Column("Key", 30, "code"),
            Column("Purpose", 10),
            Column("State", 11),
            Column("Wrapped with", 19),
            Column("By", 9),
            Column("Created", 11),
            Column("Destroyed", 11),
        ),
        rows[:MAX_SHOWN_ROWS],
        len(rows),
        empty="The key store holds no key.",
    )
