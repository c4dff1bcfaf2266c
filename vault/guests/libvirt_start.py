"""One start of a guest: a fresh secret, a paused domain, a comparison, and only then a run.

Decision record 5 says why. Whatever fails, no domain of it is left and no secret is defined; a process that
is killed in the middle leaves what the watchdog, the next start and recovery find by the mark.
"""

import logging
from collections.abc import Mapping
from dataclasses import replace

import libvirt

from vault.errors import Conflict, HostFailure, IntegrityFailure
from vault.guests.boot_files import private_boot_files
from vault.guests.domain_xml import DirectBoot, DomainPlan, domain_xml
from vault.guests.file_reach import require_reachable
from vault.guests.host_memory import HostLayout, require_host_memory
from vault.guests.libvirt_connection import GoneIsFine, LibvirtConnection, translated
from vault.guests.libvirt_domains import domain_of, mark_as_running
from vault.guests.libvirt_network import ensure_network
from vault.guests.libvirt_secrets import defined_secrets, is_half_start
from vault.guests.live_domain import differences, read_mark
from vault.guests.qemu_process import require_sound_process
from vault.keystore.secret import DiskPassphrase
from vault.waits import waiting_for_others

logger = logging.getLogger(__name__)


class DomainStart:
    """Starts one domain, once. Its caller holds the permit."""

    def __init__(self, connection: LibvirtConnection, layout: HostLayout, plan: DomainPlan) -> None:
        """Take the connection, where this host keeps its files, and the plan."""
        self._connection = connection
        self._layout = layout
        self._plan = plan

    def run(self, passphrases: Mapping[str, DiskPassphrase]) -> None:
        """Take all steps; the errors are `GuestHost.start`'s."""
        plan = self._plan
        # 1. Nothing of a key may come where it could reach a disk; the guest's user must get at its disks.
        require_host_memory(self._layout)
        require_reachable(plan.disks, plan.uid)
        connection = self._connection.get()
        # 2. Nothing else may have the guest's name or id; what a killed start of ours left goes away.
        with translated("look for the guest"):
            self._make_room(connection)
        with translated("bring the guests' network up"):
            self._ensure_network(connection)
        try:
            with private_boot_files(plan.boot, self._layout.ram_dir) as boot, translated("start the guest"):
                # 3. It has read its disks' keys and not run an instruction; the secrets are gone again.
                asked, domain = self._create_paused(connection, boot, passphrases)
                # 4. What is there must be what was asked for, by libvirt's word and by the kernel's.
                self._require_as_asked(asked, domain)
                # 5. Only now does it run; the mark says so, and it is a half-start no more.
                domain.resume()
                mark_as_running(domain)
        except BaseException:
            # Also when libvirt went away in the middle: what it made is looked for, not remembered.
            self._clear()
            raise

    def _make_room(self, connection: "libvirt.virConnect") -> None:
        for domain in connection.listAllDomains():
            if self._plan.name != domain.name() and self._plan.guest_id != domain.UUIDString():
                continue
            with GoneIsFine():
                if not (self._is_this_guests(domain) and is_half_start(domain)):
                    raise Conflict(
                        f"A domain of the name or id of {self._plan.name!r} is there already.",
                        "See `virsh list --all`.",
                    )
                domain.destroy()

    def _is_this_guests(self, domain: "libvirt.virDomain") -> bool:
        mark = read_mark(domain.XMLDesc())
        return mark is not None and (mark.instance, mark.guest_id) == (
            self._plan.instance,
            self._plan.guest_id,
        )

    def _ensure_network(self, connection: "libvirt.virConnect") -> None:
        if self._plan.network is not None:
            state = ensure_network(connection, self._plan.network)
            if state.warning:
                logger.warning("%s", state.warning)

    def _create_paused(
        self,
        connection: "libvirt.virConnect",
        boot: DirectBoot | None,
        passphrases: Mapping[str, DiskPassphrase],
    ) -> tuple[str, "libvirt.virDomain"]:
        plan = replace(self._plan, boot=boot)
        with defined_secrets(connection, plan.instance, plan.run, passphrases) as secrets:
            asked = domain_xml(plan, secrets)
            with waiting_for_others():
                return asked, connection.createXML(asked, libvirt.VIR_DOMAIN_START_PAUSED)

    def _require_as_asked(self, asked: str, domain: "libvirt.virDomain") -> None:
        different = differences(asked, domain.XMLDesc())
        if different:
            raise IntegrityFailure(
                f"libvirt was about to run something else than was asked for ({', '.join(different)}).",
                "Look for hooks and changes in libvirt's configuration on this host.",
            )
        require_sound_process(self._layout, domain.ID(), self._plan.name, self._plan.uid)

    def _clear(self) -> None:
        plan = self._plan
        try:
            domain = domain_of(self._connection.get(), plan.instance, plan.guest_id)
            if domain is None:
                return
            with translated("remove what a failed start left"), GoneIsFine():
                mark = read_mark(domain.XMLDesc())
                if mark is not None and mark.run == plan.run and mark.starting:
                    domain.destroy()
        except HostFailure:
            # The watchdog, the next start and recovery look for it too; the first error is what is told.
            logger.warning("What a failed start of guest %s left could not be looked for.", plan.guest_id)
