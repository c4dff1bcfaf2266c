"""Finds our domains in libvirt, and reads what they use and what was done to them.

A domain is ours by the mark that we wrote into it, never by its name alone: anybody may name a domain as a
guest.
"""

from dataclasses import replace
from typing import Any

import libvirt
import libvirt_qemu

from vault.errors import NotFound
from vault.guests.agent import GuestAgent
from vault.guests.domain_xml import MARK_PREFIX, NAMESPACE, Phase, mark_xml
from vault.guests.libvirt_connection import GoneIsFine, translated
from vault.guests.live_domain import read_mark
from vault.guests.ports import GuestStats

_KIB = 1024


def domain_of(connection: "libvirt.virConnect", instance: str, guest_id: str) -> "libvirt.virDomain | None":
    """The active domain of a guest; None when it has none.

    Raises:
        HostFailure: libvirt failed.
    """
    with translated("find the guest"):
        try:
            domain = connection.lookupByUUIDString(guest_id)
        except libvirt.libvirtError as error:
            if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
                return None
            raise
        return domain if _is_ours(domain, instance, guest_id) else None


def agent_of(
    connection: "libvirt.virConnect", instance: str, *, name: str, guest_id: str | None = None
) -> GuestAgent:
    """The agent of a running guest of ours.

    Raises:
        NotFound: the guest does not run, or a domain of that name is not ours.
    """
    with translated("find the guest"):
        domain = connection.lookupByName(name)
        if not _is_ours(domain, instance, guest_id):
            raise NotFound("The guest does not run.", "Start it first.")

    def send(message: str, timeout_s: int) -> str:
        with translated("speak with the guest's agent"):
            return str(libvirt_qemu.qemuAgentCommand(domain, message, timeout_s, 0))

    return GuestAgent(send)


def mark_as_running(domain: "libvirt.virDomain") -> None:
    """Say in the mark that the start is finished; harmless when the guest has ended by itself meanwhile."""
    with GoneIsFine():
        mark = read_mark(domain.XMLDesc())
        if mark is not None and mark.starting:
            domain.setMetadata(
                libvirt.VIR_DOMAIN_METADATA_ELEMENT,
                mark_xml(replace(mark, phase=Phase.RUNNING)),
                MARK_PREFIX,
                NAMESPACE,
                libvirt.VIR_DOMAIN_AFFECT_LIVE,
            )


def taints_of(domain: "libvirt.virDomain") -> tuple[str, ...]:
    """What libvirt says was done to a domain past libvirt; empty where this libvirt does not tell."""
    try:
        return tuple(sorted(domain.messages(libvirt.VIR_DOMAIN_MESSAGE_TAINTING)))
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_SUPPORT:
            return ()
        raise


def stats_of(connection: "libvirt.virConnect", domain: "libvirt.virDomain") -> GuestStats:
    """What a domain has used since its start."""
    flags = (
        libvirt.VIR_DOMAIN_STATS_CPU_TOTAL
        | libvirt.VIR_DOMAIN_STATS_VCPU
        | libvirt.VIR_DOMAIN_STATS_BALLOON
        | libvirt.VIR_DOMAIN_STATS_BLOCK
        | libvirt.VIR_DOMAIN_STATS_INTERFACE
    )
    told: dict[str, Any] = connection.domainListGetStats([domain], flags)[0][1]

    def total(kind: str, counter: str) -> int:
        numbers = range(int(told.get(f"{kind}.count", 0)))
        return sum(int(told.get(f"{kind}.{number}.{counter}", 0)) for number in numbers)

    return GuestStats(
        cpu_time_ns=int(told.get("cpu.time", 0)),
        vcpus=int(told.get("vcpu.current", 0)),
        memory_bytes=int(told.get("balloon.current", 0)) * _KIB,
        resident_bytes=int(told.get("balloon.rss", 0)) * _KIB,
        disk_read_bytes=total("block", "rd.bytes"),
        disk_written_bytes=total("block", "wr.bytes"),
        network_received_bytes=total("net", "rx.bytes"),
        network_sent_bytes=total("net", "tx.bytes"),
    )


def _is_ours(domain: "libvirt.virDomain", instance: str, guest_id: str | None) -> bool:
    with GoneIsFine():
        mark = read_mark(domain.XMLDesc())
        return (
            mark is not None
            and mark.instance == instance
            and guest_id in {None, mark.guest_id}
            and bool(domain.isActive())
        )
    return False
