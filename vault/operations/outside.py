"""What happened to guests without the gate becomes a record, and, where it should not happen, a finding.

The gate's own acts cause events too. They are told apart by the guest's lock: while an access holds it, and
for a moment after, lifecycle events of that guest are its own.
"""

import logging
import threading
import time
from pathlib import Path

from sqlmodel import select

from audit.errors import AuditError
from audit.log.record import Draft, Kind
from policies.vocabulary import EntityRef, EntityType
from vault.entities import guest_ref
from vault.guests.ports import DomainEvent, EventKind
from vault.model import Guest, GuestState
from vault.site import Site

logger = logging.getLogger(__name__)

#: libvirt's event arrives in its own thread, perhaps after the access has ended.
_GRACE_S = 5.0
#: Nothing of ours copies a disk while a guest runs or defines it persistently, so no lock excuses these.
_NEVER_OURS = frozenset({EventKind.BLOCK_JOB, EventKind.DEFINED})
#: QEMU tells these about the guest itself; nobody acted from outside.
_GUESTS_OWN = frozenset({"shutdown", "crashed"})
#: libvirt's word for a QEMU that is gone and had said nothing of an end: killed, or fallen over.
_QEMU_DIED = "failed"
_HARMLESS_MONITOR = frozenset(
    {
        "RTC_CHANGE", "POWERDOWN", "SHUTDOWN", "STOP", "RESUME", "RESET", "VSERPORT_CHANGE",
        "NIC_RX_FILTER_CHANGED", "DEVICE_DELETED", "BALLOON_CHANGE", "GUEST_PANICKED", "SPICE_INITIALIZED",
        "BLOCK_IO_ERROR", "JOB_STATUS_CHANGE", "ACPI_DEVICE_OST", "WATCHDOG", "MEMORY_DEVICE_SIZE_CHANGE",
    }
)  # fmt: skip
_OUTSIDE = EntityRef(EntityType.OPERATING_SYSTEM, "outside")


class OutsideWatch:
    """Turns the hypervisor's events into records and findings."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._busy_until: dict[str, float] = {}
        self._guard = threading.Lock()
        site.gate.locks.on_release(self._released)

    def look_around(self) -> None:
        """At start: domains of ours that no row knows were made outside the gate.

        Or by an instance that was replaced.
        """
        with self._site.database.session() as session:
            known = set(session.exec(select(Guest.id).where(Guest.state != GuestState.DELETED)))
        for domain in self._site.host.list_active():
            if domain.guest_id not in known:
                self._find(
                    "guest.unknown_domain",
                    guest_ref(domain.guest_id),
                    "A domain carries this site's mark, but no guest of the site is like it.",
                    None,
                )

    def handle(self, event: DomainEvent) -> None:
        """Look at one event."""
        if event.guest_id is None:
            self._foreign(event)
            return
        resource = guest_ref(event.guest_id)
        if event.kind not in _NEVER_OURS and self._is_the_gates_own(resource):
            return
        match event.kind:
            case EventKind.MONITOR:
                if event.detail not in _HARMLESS_MONITOR:
                    self._outside(resource, event, "Somebody used QEMU's monitor on a running guest.")
            case EventKind.BLOCK_JOB:
                self._outside(resource, event, "A block job copies or changes a running guest's disk.")
            case EventKind.STOPPED | EventKind.CRASHED if event.detail in _GUESTS_OWN:
                self._record(resource, event)
            case EventKind.STOPPED | EventKind.CRASHED if event.detail == _QEMU_DIED:
                self._outside(resource, event, "A guest's QEMU process ended unasked: killed, or it crashed.")
            case EventKind.DEFINED:
                self._outside(resource, event, "A guest was defined persistently in libvirt.")
            case _:
                self._outside(resource, event, f"A guest was {event.kind} outside Strongroom.")

    def _foreign(self, event: DomainEvent) -> None:
        # The paths are what the domain's maker wrote: `//`, `..` and links must not hide where they lead.
        ours = (self._site.settings.data_dir / "disks").resolve()
        led_to = [Path(path).resolve() for path in event.uses_our_disks]
        touched = {path.relative_to(ours).parts[0] for path in led_to if ours in path.parents}
        with self._site.database.session() as session:
            guests = set(session.exec(select(Guest.id)))
        for guest_id in sorted(touched & guests):
            self._outside(guest_ref(guest_id), event, "A domain that is not ours names this guest's disk.")

    def _outside(self, resource: EntityRef, event: DomainEvent, sentence: str) -> None:
        try:
            record = self._record(resource, event)
        except AuditError as error:
            # The finding is opened all the same: what was seen must not be lost with the log.
            logger.warning("What happened outside could not be recorded: %s", error.message)
            record = None
        self._find(
            f"outside.{event.kind}",
            resource,
            sentence,
            record,
        )

    def _record(self, resource: EntityRef, event: DomainEvent) -> str:
        return self._site.gate.record(
            Draft(
                kind=Kind.EXTERNAL,
                principal=str(_OUTSIDE),
                action=f"domain.{event.kind}",
                resource=str(resource),
                result={"code": "ok", "facts": {"detail": event.detail}},
            )
        ).id

    def _find(self, code: str, resource: EntityRef, sentence: str, record: str | None) -> None:
        self._site.findings.open(code, resource=str(resource), sentence=sentence, record=record)

    def _is_the_gates_own(self, resource: EntityRef) -> bool:
        key = str(resource)
        # Only an allowed access counts: one that is refused must not cover up what its caller does outside.
        if self._site.gate.locks.is_acting(key):
            return True
        with self._guard:
            return time.monotonic() < self._busy_until.get(key, 0.0)

    def _released(self, key: str) -> None:
        now = time.monotonic()
        with self._guard:
            self._busy_until = {name: until for name, until in self._busy_until.items() if until > now}
            self._busy_until[key] = now + _GRACE_S
