"""Runs guests on libvirt (D11); what a person may ask of a guest, each with its permit.

Nothing trusted is defined persistently in libvirt, and no secret outlives a start (decision record 5).
"""

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

import libvirt

from policies.vocabulary import Action, EntityRef
from vault.errors import Conflict, HostFailure, NotFound
from vault.guests.daemon_run import this_run
from vault.guests.domain_xml import DomainPlan
from vault.guests.host_memory import HostLayout
from vault.guests.libvirt_connection import GoneIsFine, LibvirtConnection, translated
from vault.guests.libvirt_domains import agent_of, domain_of, mark_as_running, stats_of, taints_of
from vault.guests.libvirt_events import EventWatch
from vault.guests.libvirt_secrets import is_half_start, undefine_secrets_of
from vault.guests.libvirt_start import DomainStart
from vault.guests.live_domain import read_mark
from vault.guests.mounts import active_swap
from vault.guests.ports import ActiveDomain, DomainEvent, ExecResult, GuestStats, HypervisorVersions
from vault.keystore.secret import DiskPassphrase
from vault.permit import Permit

_POLL_S = 0.2
_AGENT_SHUTDOWN_TIMEOUT_S = 3


class LibvirtHost:
    """A `GuestHost` over libvirt."""

    def __init__(self, uri: str, instance: str, *, layout: HostLayout | None = None) -> None:
        """Connect when first needed.

        Args:
            uri: of the hypervisor.
            instance: whose guests these are.
            layout: where this host keeps libvirt's files and ours in memory.
        """
        self._connection = LibvirtConnection(uri)
        self._instance = instance
        self._layout = layout or HostLayout()
        self._run = this_run()
        self._watch: EventWatch | None = None

    # -- start and stop ------------------------------------------------------------------------

    def start(
        self, permit: Permit, guest: EntityRef, plan: DomainPlan, passphrases: Mapping[str, DiskPassphrase]
    ) -> None:
        """Start a guest; on any failure nothing of it is left, and no secret is defined afterwards.

        Args:
            permit: to start the guest.
            guest: which.
            plan: its domain.
            passphrases: by the disks' target names.

        Raises:
            Conflict: a domain of this name or id is there.
            HostUnprotected: the host would leave keys on a disk.
            HostFailure: QEMU's user cannot get at a disk, the network cannot be had, or libvirt failed.
            KeyUnavailable: a passphrase does not open its disk.
            IntegrityFailure: libvirt was about to run something else than was asked for.
        """
        permit.require(guest, Action.GUEST_START)
        plan = replace(plan, run=self._run, lock_memory=plan.lock_memory or bool(active_swap()))
        DomainStart(self._connection, self._layout, plan).run(passphrases)

    def stop(
        self,
        permit: Permit,
        guest: EntityRef,
        name: str,
        *,
        timeout_s: float,
        force: bool,
        waiting: Callable[[float], None],
    ) -> bool:
        """Ask the guest to shut down; after the time, with force, cut its power. Returns whether it was cut.

        Raises:
            Conflict: it does not run, or did not shut down in time and force was not asked for.
        """
        permit.require(guest, Action.GUEST_STOP)
        domain = domain_of(self._connection.get(), self._instance, guest.id)
        if domain is None:
            raise Conflict(f"The guest {name!r} does not run.", f"Start it: strongroom guest start {name}.")
        began = time.monotonic()
        if timeout_s > 0:
            self._ask_to_shut_down(domain)
        while domain_of(self._connection.get(), self._instance, guest.id) is not None:
            waited = time.monotonic() - began
            if waited >= timeout_s:
                if not force:
                    raise Conflict(
                        f"The guest {name!r} did not shut down within {timeout_s:.0f} s.",
                        "Try again with more time, or cut its power with --force.",
                    )
                with translated("cut the guest's power"), GoneIsFine():
                    domain.destroy()
                return True
            waiting(waited)
            time.sleep(_POLL_S)
        return False

    def abandon(self, permit: Permit, guest: EntityRef) -> bool:
        """Remove what a killed start left: a domain that was never let run. Returns whether there was one."""
        permit.require(guest, Action.GUEST_START, Action.GUEST_STOP, Action.GUEST_DELETE)
        domain = domain_of(self._connection.get(), self._instance, guest.id)
        if domain is None:
            return False
        with translated("look at the guest"), GoneIsFine():
            if not is_half_start(domain):
                # Killed just after it let the guest run: the start is finished here.
                mark_as_running(domain)
                return False
            domain.destroy()
        return True

    # -- what is there -------------------------------------------------------------------------

    def is_running(self, guest_id: str) -> bool:
        """Whether the guest has a domain that runs (a paused half-start does not count)."""
        domain = domain_of(self._connection.get(), self._instance, guest_id)
        if domain is None:
            return False
        with translated("look at the guest"), GoneIsFine():
            return not is_half_start(domain)
        return False

    def list_active(self) -> list[ActiveDomain]:
        """Our domains that have a QEMU process now."""
        found = []
        with translated("list the guests"):
            for domain in self._connection.get().listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE):
                with GoneIsFine():
                    mark = read_mark(domain.XMLDesc())
                    if mark is not None and mark.instance == self._instance:
                        paused = domain.state()[0] == libvirt.VIR_DOMAIN_PAUSED
                        found.append(ActiveDomain(mark.guest_id, domain.name(), paused, taints_of(domain)))
        return found

    def stats(self, guest_id: str) -> GuestStats:
        """What a running guest has used.

        Raises:
            NotFound: it does not run.
        """
        domain = domain_of(self._connection.get(), self._instance, guest_id)
        if domain is None:
            raise NotFound("The guest does not run.", "Start it first.")
        with translated("count what the guest used"):
            return stats_of(self._connection.get(), domain)

    def undefine_secrets(self) -> int:
        """Undefine all secrets of this instance; returns how many there were.

        Safe-direction: it takes no permit, so that it goes on while the log does not.
        """
        with translated("undefine secrets"):
            return undefine_secrets_of(self._connection.get(), self._instance)

    def versions(self) -> HypervisorVersions:
        """Versions of libvirt and QEMU; `unknown` while libvirt does not answer."""
        try:
            connection = self._connection.get()
            return HypervisorVersions(_dotted(connection.getLibVersion()), _dotted(connection.getVersion()))
        except (HostFailure, libvirt.libvirtError):
            return HypervisorVersions("unknown", "unknown")

    # -- inside the guest ------------------------------------------------------------------------

    def agent_answers(self, name: str) -> bool:
        """Whether the guest agent answers now."""
        try:
            agent_of(self._connection.get(), self._instance, name=name).ping()
        except (HostFailure, NotFound, Conflict):
            return False
        return True

    def execute(
        self, permit: Permit, guest: EntityRef, name: str, argv: list[str], stdin: bytes, timeout_s: float
    ) -> ExecResult:
        """Run a command inside the guest."""
        permit.require(guest, Action.GUEST_EXEC)
        agent = agent_of(self._connection.get(), self._instance, name=name, guest_id=guest.id)
        return agent.execute(argv, stdin, timeout_s)

    def write_file(
        self, permit: Permit, guest: EntityRef, name: str, path: str, data: bytes, mode: int
    ) -> None:
        """Write a file inside the guest."""
        permit.require(guest, Action.GUEST_COPY_IN)
        agent = agent_of(self._connection.get(), self._instance, name=name, guest_id=guest.id)
        agent.write_file(path, data, mode)

    def read_file(self, permit: Permit, guest: EntityRef, name: str, path: str, limit_bytes: int) -> bytes:
        """Read a file inside the guest."""
        permit.require(guest, Action.GUEST_COPY_OUT)
        agent = agent_of(self._connection.get(), self._instance, name=name, guest_id=guest.id)
        return agent.read_file(path, limit_bytes)

    # -- watching --------------------------------------------------------------------------------

    def watch(self, handler: Callable[[DomainEvent], None], *, agents: bool = False) -> None:
        """Hand every event to `handler`, in a thread of its own; of guests' agents only with `agents`."""
        self._watch = EventWatch(self._instance, handler, agents=agents)
        self._connection.on_connect(self._watch.register)

    def close(self) -> None:
        """Stop watching and disconnect; guests run on."""
        self._connection.close()
        if self._watch is not None:
            self._watch.close()

    # -- the steps -------------------------------------------------------------------------------

    def _ask_to_shut_down(self, domain: "libvirt.virDomain") -> None:
        with contextlib.suppress(libvirt.libvirtError):  # a guest without ACPI ends when its time is up
            domain.shutdownFlags(libvirt.VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN)
        with contextlib.suppress(HostFailure, NotFound, Conflict):
            # An agent that does as it is told does not answer any more, so its silence is no error.
            agent_of(self._connection.get(), self._instance, name=domain.name()).shut_down(
                _AGENT_SHUTDOWN_TIMEOUT_S
            )


def _dotted(version: int) -> str:
    return f"{version // 1_000_000}.{version // 1000 % 1000}.{version % 1000}"
