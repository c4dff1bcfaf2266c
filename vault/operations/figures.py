"""How the site stands, in figures: how many and since when, never who and which.

One snapshot for `strongroom status`, for the pages and for Prometheus, so that they never differ. Reading it is an
access like any other (action `metrics.read`), recorded once in five minutes for each session and view.
"""

import shutil
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlmodel import col, func, select

from audit.errors import AuditError
from audit.log.checkpoint import Checkpoint
from audit.log.note import VerifierKey
from policies.errors import StrongroomError
from policies.vocabulary import Action
from vault.entities import SITE
from vault.errors import HostFailure
from vault.gate import Access, Caller
from vault.model import Finding, Guest, GuestState, Job, JobState, utc_now
from vault.operations.keystore import status
from vault.site import Site
from vault.tls import certificate_expires_at

#: Severities from the worst on; findings of others are counted under their own word.
SEVERITIES: Final = ("critical", "high", "medium", "low")
#: Below this, guests' disks and the log soon have no room.
LEAST_FREE_BYTES: Final = 5 * 2**30
CERTIFICATE_NOTICE: Final = timedelta(days=30)
#: State of every guest while the hypervisor does not answer.
_UNKNOWN: Final = "unknown"
#: A checkpoint is signed a second after a record; a record that waits so much longer says that it cannot be.
_UNSIGNED_FOR: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Figures:
    """The snapshot.

    Attributes:
        standing: what anybody may see (`vault.operations.keystore.status`).
        opened_at: since when the daemon serves.
        signed_at: time of the newest record under a signed checkpoint; None before the first.
        unsigned_records: records after it.
        guests, jobs, findings: how many in which state or of which severity; findings are the open ones.
        disk_free_bytes, disk_total_bytes: of the file system that holds the data folder.
        certificate_expires_at: end of the daemon's TLS certificate; None where it cannot be read.
    """

    standing: Mapping[str, Any]
    opened_at: datetime
    signed_at: datetime | None
    unsigned_records: int
    guests: Mapping[str, int]
    jobs: Mapping[str, int]
    findings: Mapping[str, int]
    disk_free_bytes: int
    disk_total_bytes: int
    certificate_expires_at: datetime | None


def read_figures(site: Site, caller: Caller, view: str | None) -> Figures:
    """The figures as they are now.

    Args:
        view: who reads them again and again (`prometheus`, `status`); recorded once in five minutes.

    Raises:
        PolicyDenied: the caller has no role.
        OutcomeNotRecorded, LogUnavailable: the gate does not act, or the read could not be recorded.
    """
    return site.gate.read(Access(caller, Action.METRICS_READ, SITE), lambda: _collect(site), view=view)


def overview(found: Figures) -> dict[str, Any]:
    """The figures as people and programs see them, and what to do where something is off."""
    return {
        **found.standing,
        "since": found.opened_at.isoformat(),
        "log": {
            **found.standing["log"],
            "signed_at": found.signed_at.isoformat() if found.signed_at else None,
            "unsigned_records": found.unsigned_records,
        },
        "guests": dict(found.guests),
        "jobs": dict(found.jobs),
        "findings": dict(found.findings),
        "disk": {"free_bytes": found.disk_free_bytes, "total_bytes": found.disk_total_bytes},
        "certificate_expires_at": (
            found.certificate_expires_at.isoformat() if found.certificate_expires_at else None
        ),
        "advice": list(_advice(found, utc_now())),
    }


def _collect(site: Site) -> Figures:
    disk = shutil.disk_usage(site.settings.data_dir)
    standing = status(site)
    signed_at, unsigned = _signed(site, int(standing["log"]["size"]))
    return Figures(
        standing=standing,
        opened_at=site.opened_at,
        signed_at=signed_at,
        unsigned_records=unsigned,
        guests=_guests(site),
        jobs=_jobs(site),
        findings=_findings(site),
        disk_free_bytes=disk.free,
        disk_total_bytes=disk.total,
        certificate_expires_at=_certificate_end(site),
    )


def _signed(site: Site, size: int) -> tuple[datetime | None, int]:
    note = site.reader.latest_checkpoint()
    if note is None:
        return None, size
    try:
        signed = Checkpoint.verify(note, [VerifierKey.parse(site.reader.vkey)]).head.size
        at = datetime.fromisoformat(site.reader.by_seq(signed - 1).at) if signed else None
    except AuditError:
        return None, size  # whatever it is, it signs nothing; verification of the log says why
    return at, max(0, size - signed)


def _guests(site: Site) -> dict[str, int]:
    with site.database.session() as session:
        rows = session.exec(select(Guest.id, Guest.state).where(Guest.state != GuestState.DELETED)).all()
    try:
        active = {domain.guest_id for domain in site.host.list_active()}
    except HostFailure:
        return {_UNKNOWN: len(rows)}  # the hypervisor does not answer, which the advice says
    states = Counter(
        ("running" if guest_id in active else "stopped") if state == GuestState.READY else str(state)
        for guest_id, state in rows
    )
    known = ("running", "stopped", str(GuestState.CREATING), str(GuestState.DELETING))
    return {state: states[state] for state in known}


def _jobs(site: Site) -> dict[str, int]:
    with site.database.session() as session:
        rows = session.exec(select(Job.state, func.count()).group_by(Job.state)).all()
    return {str(state): 0 for state in JobState} | {str(state): count for state, count in rows}


def _findings(site: Site) -> dict[str, int]:
    with site.database.session() as session:
        rows = session.exec(
            select(Finding.severity, func.count())
            .where(col(Finding.closed_at).is_(None))
            .group_by(Finding.severity)
        ).all()
    return dict.fromkeys(SEVERITIES, 0) | {str(severity): count for severity, count in rows}


def _certificate_end(site: Site) -> datetime | None:
    try:
        return certificate_expires_at(site.settings.secrets_dir)
    except StrongroomError:
        return None  # `strongroom doctor` says why


def _advice(found: Figures, now: datetime) -> list[dict[str, str]]:
    """What is off, the worst first: a code, the sentence, and what to do."""
    advice: list[dict[str, str]] = []

    def say(code: str, sentence: str, remedy: str) -> None:
        advice.append({"code": code, "sentence": sentence, "remedy": remedy})

    if found.standing["sealed"]:
        say("sealed", "The key store is sealed, so no guest can start.", "Run `strongroom unseal`.")
    if _UNKNOWN in found.guests:
        say("hypervisor", "The hypervisor does not answer.", "Start libvirt; `strongroom doctor` tells more.")
    if found.unsigned_records and found.signed_at and now - found.signed_at > _UNSIGNED_FOR:
        say(
            "log.unsigned",
            f"{found.unsigned_records} records are not under a signed checkpoint.",
            "Look at the daemon's log and at the disk under the log.",
        )
    urgent = sum(count for severity, count in found.findings.items() if severity in {"critical", "high"})
    if urgent:
        say("findings", f"{urgent} findings are critical or high.", "Run `strongroom finding list`.")
    if found.disk_free_bytes < LEAST_FREE_BYTES:
        say(
            "space",
            f"Only {found.disk_free_bytes // 2**20} MiB are free in the data folder.",
            "Make room, or the log cannot be written and nothing is done any more.",
        )
    end = found.certificate_expires_at
    if end is not None and end - now < CERTIFICATE_NOTICE:
        what = "has expired" if end <= now else f"expires on {end.astimezone(UTC):%Y-%m-%d}"
        say("certificate", f"The daemon's certificate {what}.", "Run `strongroom doctor --fix` as root.")
    return advice
