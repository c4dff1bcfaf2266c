"""Watches libvirt: what happens to domains, block jobs, and who used QEMU's monitor.

Events arrive in libvirt's own thread, which also keeps the connection alive and must not wait for libvirt:
they are queued, and a thread of ours looks at the domain and reports.
"""

import logging
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import libvirt
import libvirt_qemu

from vault.guests.live_domain import disk_paths, read_mark
from vault.guests.ports import DomainEvent, EventKind

logger = logging.getLogger(__name__)

_LIFECYCLE = {
    libvirt.VIR_DOMAIN_EVENT_DEFINED: EventKind.DEFINED,
    libvirt.VIR_DOMAIN_EVENT_STARTED: EventKind.STARTED,
    libvirt.VIR_DOMAIN_EVENT_SUSPENDED: EventKind.PAUSED,
    libvirt.VIR_DOMAIN_EVENT_RESUMED: EventKind.RESUMED,
    libvirt.VIR_DOMAIN_EVENT_STOPPED: EventKind.STOPPED,
    libvirt.VIR_DOMAIN_EVENT_CRASHED: EventKind.CRASHED,
}
_STOPPED_BY = {
    libvirt.VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN: "shutdown",
    libvirt.VIR_DOMAIN_EVENT_STOPPED_DESTROYED: "destroyed",
    libvirt.VIR_DOMAIN_EVENT_STOPPED_CRASHED: "crashed",
    libvirt.VIR_DOMAIN_EVENT_STOPPED_FAILED: "failed",
    libvirt.VIR_DOMAIN_EVENT_STOPPED_SAVED: "saved",
    libvirt.VIR_DOMAIN_EVENT_STOPPED_MIGRATED: "migrated",
}
_PAUSED_BY = {
    libvirt.VIR_DOMAIN_EVENT_SUSPENDED_PAUSED: "paused",
    libvirt.VIR_DOMAIN_EVENT_SUSPENDED_IOERROR: "io_error",
    libvirt.VIR_DOMAIN_EVENT_SUSPENDED_WATCHDOG: "watchdog",
    libvirt.VIR_DOMAIN_EVENT_SUSPENDED_MIGRATED: "migrated",
}
#: Detail of a stop that nobody was connected to see.
UNSEEN = "unseen"
_AGENT_STATES = {
    libvirt.VIR_CONNECT_DOMAIN_EVENT_AGENT_LIFECYCLE_STATE_CONNECTED: EventKind.AGENT_CONNECTED,
    libvirt.VIR_CONNECT_DOMAIN_EVENT_AGENT_LIFECYCLE_STATE_DISCONNECTED: EventKind.AGENT_DISCONNECTED,
}
#: A guest can cause monitor events at will; what waits beyond this is dropped and said.
_QUEUE_LIMIT = 10_000
_CLOSE_TIMEOUT_S = 5


@dataclass(frozen=True, slots=True)
class _Told:
    """An event as libvirt told it."""

    domain: "libvirt.virDomain"
    kind: EventKind
    detail: str


@dataclass(frozen=True, slots=True)
class _Present:
    """The domains that were there when a connection was made."""

    domains: tuple["libvirt.virDomain", ...]


class EventWatch:
    """Registers with each new connection and hands events on, in order.

    What happened while nobody was connected is lost but for this: a guest that is gone is told as stopped,
    `unseen`.
    """

    def __init__(
        self, instance: str, handler: Callable[[DomainEvent], None], *, agents: bool = False
    ) -> None:
        """Report to `handler`, in a thread of its own, what happens to all domains of the host.

        Args:
            instance: whose domains are ours.
            handler: takes the events.
            agents: also tell when a guest's agent begins and ceases to answer.
        """
        self._instance = instance
        self._agents = agents
        self._handler = handler
        self._queue: queue.Queue[_Told | _Present | None] = queue.Queue(_QUEUE_LIMIT)
        #: Name and our guest's id by domain UUID: a stopped transient domain has no XML any more.
        self._known: dict[str, tuple[str, str | None]] = {}
        self._thread = threading.Thread(target=self._report, name="guest-events", daemon=True)
        self._thread.start()

    def register(self, connection: "libvirt.virConnect") -> None:
        """Ask a connection for events of every domain."""
        register = connection.domainEventRegisterAny
        register(None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, self._on_lifecycle, None)
        register(None, libvirt.VIR_DOMAIN_EVENT_ID_BLOCK_JOB_2, self._on_block_job, None)
        if self._agents:
            register(None, libvirt.VIR_DOMAIN_EVENT_ID_AGENT_LIFECYCLE, self._on_agent, None)
        # QEMU's own events: a session of a foreign monitor shows itself by what it does.
        libvirt_qemu.qemuMonitorEventRegister(connection, None, None, self._on_monitor, None, 0)
        present = connection.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE)
        self._queue.put(_Present(tuple(present)), timeout=_CLOSE_TIMEOUT_S)

    def close(self) -> None:
        """Report what is queued, then stop."""
        self._queue.put(None, timeout=_CLOSE_TIMEOUT_S)
        self._thread.join(timeout=_CLOSE_TIMEOUT_S)

    # -- in libvirt's thread -------------------------------------------------------------------

    def _on_lifecycle(self, _connection: object, domain: Any, event: int, detail: int, _data: object) -> None:  # noqa: ANN401
        match _LIFECYCLE.get(event):
            case None:
                return
            case EventKind.STOPPED | EventKind.CRASHED as kind:
                self._tell(domain, kind, _STOPPED_BY.get(detail, ""))
            case EventKind.PAUSED as kind:
                self._tell(domain, kind, _PAUSED_BY.get(detail, ""))
            case kind:
                self._tell(domain, kind, "")

    def _on_block_job(
        self,
        _connection: object,
        domain: Any,  # noqa: ANN401
        _disk: str,
        job: int,
        status: int,
        _data: object,
    ) -> None:
        self._tell(domain, EventKind.BLOCK_JOB, f"{job}/{status}")

    def _on_agent(self, _connection: object, domain: Any, state: int, _reason: int, _data: object) -> None:  # noqa: ANN401
        kind = _AGENT_STATES.get(state)
        if kind is not None:
            self._tell(domain, kind, "")

    def _on_monitor(
        self,
        _connection: object,
        domain: Any,  # noqa: ANN401
        event: str,
        _seconds: int,
        _micros: int,
        _details: str,
        _data: object,
    ) -> None:
        self._tell(domain, EventKind.MONITOR, event)

    def _tell(self, domain: "libvirt.virDomain", kind: EventKind, detail: str) -> None:
        try:
            self._queue.put_nowait(_Told(domain, kind, detail))
        except queue.Full:
            logger.exception("An event of %s (%s) is lost: too many wait already.", domain.name(), kind)

    # -- in ours -------------------------------------------------------------------------------

    def _report(self) -> None:
        while (told := self._queue.get()) is not None:
            try:
                if isinstance(told, _Present):
                    self._look_around(told)
                else:
                    self._handler(self._event(told))
            except Exception:
                # One event that cannot be told must not blind us for the next.
                logger.exception("An event of a guest could not be reported.")

    def _look_around(self, present: _Present) -> None:
        here = {domain.UUIDString() for domain in present.domains}
        for uuid in self._known.keys() - here:
            name, guest_id = self._known.pop(uuid)
            self._handler(DomainEvent(name, guest_id, EventKind.STOPPED, UNSEEN))
        for domain in present.domains:
            self._identify(domain)

    def _event(self, told: _Told) -> DomainEvent:
        domain, name = told.domain, told.domain.name()
        match told.kind:
            case EventKind.STOPPED | EventKind.CRASHED:
                # Not asked of libvirt: by now the name may be another domain's.
                _, guest_id = self._known.pop(domain.UUIDString(), (name, None))
                return DomainEvent(name, guest_id, told.kind, told.detail)
            case EventKind.STARTED | EventKind.DEFINED | EventKind.PAUSED | EventKind.RESUMED:
                guest_id, paths = self._identify(domain)
                return DomainEvent(name, guest_id, told.kind, told.detail, paths)
            case _:
                _, guest_id = self._known.get(domain.UUIDString(), (name, None))
                return DomainEvent(name, guest_id, told.kind, told.detail)

    def _identify(self, domain: "libvirt.virDomain") -> tuple[str | None, tuple[str, ...]]:
        """Our guest's id, if it is one, and the files that the domain names as disks."""
        name, uuid = domain.name(), domain.UUIDString()
        try:
            xml = domain.XMLDesc()
        except libvirt.libvirtError:  # it is gone already, or libvirt is
            return self._known.get(uuid, (name, None))[1], ()
        mark = read_mark(xml)
        guest_id = mark.guest_id if mark is not None and mark.instance == self._instance else None
        if _is_active(domain):
            self._known[uuid] = (name, guest_id)
        return guest_id, disk_paths(xml)


def _is_active(domain: "libvirt.virDomain") -> bool:
    """Whether a domain has a QEMU process; one that was only defined has none, and does not stop either."""
    try:
        return bool(domain.isActive())
    except libvirt.libvirtError:  # it is gone already
        return False
