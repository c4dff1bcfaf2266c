"""The registers of a report: access, accounts, media, keys and findings as they were, and who reviewed them."""

from collections.abc import Iterable
from datetime import datetime

from audit.evidence.check import Snapshot
from audit.evidence.checks.disks import cipher_of
from audit.evidence.checks.keys import present_keys
from audit.evidence.instant import format_instant
from audit.report.access_pages import access_blocks, access_registers
from audit.report.activity import Activity
from audit.report.model import Block, Column, Columns, Section, Text
from audit.report.register import Register

#: Ages of keys that are counted together, in days: up to but not including each.
_AGES = ((30, "under 30"), (90, "30 to 89"), (180, "90 to 179"), (365, "180 to 364"))
_OLDEST = "365 or more"


def all_registers(snapshot: Snapshot, activity: Activity) -> tuple[Register, ...]:
    """Every register, in the order of the report."""
    return (
        *access_registers(activity),
        _accounts(snapshot),
        _media(snapshot),
        _images(snapshot),
        _keys(snapshot),
        _findings(snapshot),
        _reports(snapshot),
    )


def registers(snapshot: Snapshot, activity: Activity) -> Section:
    """Who did and could do what, with which keys, on which media, and who looked at it."""
    return Section(
        anchor="registers",
        title="Access, keys, media and reviews",
        new_page=True,
        sections=(
            Section("registers-access", "Access in the period", access_blocks(snapshot, activity)),
            _section("accounts", _accounts(snapshot)),
            _section("keys", _keys(snapshot), before=_key_ages(snapshot)),
            _section("media", _media(snapshot)),
            _section("images", _images(snapshot)),
            _section("findings", _findings(snapshot)),
            Section(
                "registers-reviews",
                "Reviews",
                (
                    Text(
                        "No signed review of the log, of access or of policy is recorded: this version keeps no "
                        "such records. Attach yours to this report. Whether anybody looked at the log each day is "
                        "an evidence item of its own."
                    ),
                    _reports(snapshot).grid(),
                ),
            ),
        ),
    )


def _section(anchor: str, register: Register, before: Iterable[Block] = ()) -> Section:
    return Section(f"registers-{anchor}", register.title, (*before, register.grid()))


def _day(at: datetime | None, otherwise: str | None = None) -> str | None:
    return format_instant(at)[:10] if at else otherwise


def _accounts(snapshot: Snapshot) -> Register:
    return Register(
        "accounts",
        "Accounts",
        (
            Column("Account", 30, "code"),
            Column("Roles", 21),
            Column("Kind", 9),
            Column("State", 10),
            Column("Second factor", 9),
            Column("Created", 11),
            Column("Last log-in", 11),
        ),
        [
            (
                account.id,
                ", ".join(sorted(account.roles)),
                "service" if account.service else "person",
                "active" if account.active else "disabled",
                "yes" if account.second_factor else "no",
                _day(account.created_at),
                _day(account.last_login_at, "never"),
            )
            for account in sorted(snapshot.facts.accounts, key=lambda account: account.id)
        ],
        "There is no account.",
    )


def _media(snapshot: Snapshot) -> Register:
    return Register(
        "media",
        "Media",
        (
            Column("Guest", 14),
            Column("File", 32, "code"),
            Column("MiB", 8, "number"),
            Column("Measured on the file", 23),
            Column("Key slots", 7, "number"),
            Column("Guest's state", 10),
        ),
        [
            (
                guest.name,
                disk.path,
                disk.size_bytes // 2**20,
                cipher_of(disk),
                len(disk.active_keyslots),
                guest.state,
            )
            for guest in sorted(snapshot.facts.guests, key=lambda guest: (guest.name, guest.id))
            for disk in sorted(guest.disks, key=lambda disk: disk.path)
        ],
        "There is no disk.",
    )


def _images(snapshot: Snapshot) -> Register:
    images = snapshot.facts.images
    return Register(
        "images",
        "Images that guests are made from",
        (
            Column("Image", 18),
            Column("Id", 27, "code"),
            Column("Source", 10),
            Column("Made", 11),
            Column("SHA-256 of its description", 34, "code"),
        ),
        [
            (image.name, image.id, image.source, _day(image.created_at), image.sha256)
            for image in sorted(images or (), key=lambda image: (image.name, image.id))
        ],
        "Images were not asked for." if images is None else "There is no image.",
    )


def _key_ages(snapshot: Snapshot) -> tuple[Block, ...]:
    now = snapshot.facts.system.extracted_at
    ages = [(now - key.created_at).days for key in present_keys(snapshot)]
    words = [next((word for below, word in _AGES if age < below), _OLDEST) for age in ages]
    if not ages:
        return ()
    order = [word for _, word in _AGES] + [_OLDEST]
    return (
        Columns(
            f"Keys not destroyed ({len(ages)}) by age in days, when the facts were taken",
            ("keys",),
            tuple((word, (words.count(word),)) for word in order),
            over="Age in days",
        ),
    )


def _keys(snapshot: Snapshot) -> Register:
    return Register(
        "keys",
        "Keys",
        (
            Column("Key", 29, "code"),
            Column("Purpose", 9),
            Column("State", 11),
            Column("Wrapped with", 20),
            Column("By", 9),
            Column("Created", 11),
            Column("Destroyed", 11),
        ),
        [
            (
                key.id,
                key.purpose,
                key.state,
                f"{key.algorithm}, {key.bits or 'unknown'} bits",
                key.wrapped_by,
                _day(key.created_at),
                _day(key.destroyed_at),
            )
            for key in sorted(snapshot.facts.keys, key=lambda key: (key.purpose, key.id))
        ],
        "The key store holds no key.",
    )


def _findings(snapshot: Snapshot) -> Register:
    findings = snapshot.facts.findings
    return Register(
        "findings",
        "Findings",
        (
            Column("Opened", 11),
            Column("Severity", 9),
            Column("Finding", 22, "code"),
            Column("About", 26, "code"),
            Column("Acknowledged", 12),
            Column("Closed", 11),
            Column("Closed as", 13),
        ),
        [
            (
                _day(finding.created_at),
                finding.severity,
                finding.code,
                finding.resource,
                _day(finding.acknowledged_at),
                _day(finding.closed_at),
                finding.disposition or ("ended by itself" if finding.closed_at else None),
            )
            for finding in sorted(findings or (), key=lambda finding: (finding.created_at, finding.id))
        ],
        "Findings were not asked for." if findings is None else "No finding was ever opened.",
    )


def _reports(snapshot: Snapshot) -> Register:
    reports = snapshot.facts.reports
    return Register(
        "earlier-reports",
        "Reports made before this one",
        (
            Column("Made (UTC)", 22),
            Column("Framework", 14),
            Column("Report", 32, "code"),
            Column("Requested by", 32, "code"),
        ),
        [
            (format_instant(report.created_at)[:19], report.framework, report.id, report.created_by)
            for report in sorted(reports or (), key=lambda report: (report.created_at, report.id))
        ],
        "Earlier reports were not asked for." if reports is None else "No report was made before this one.",
    )
