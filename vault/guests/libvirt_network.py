"""Brings the guests' network up in libvirt, with its fence, before a guest is started.

The network is transient: it is made from our own plan, and nothing that is trusted is defined in libvirt.
"""

import logging
from ipaddress import IPv4Network

import libvirt

from vault.errors import HostFailure
from vault.guests.network import (
    NetworkState,
    bridge_of,
    choose_subnet,
    lower_fence,
    network_xml,
    raise_fence,
    read_network,
    taken_subnets,
)

logger = logging.getLogger(__name__)


def ensure_network(connection: "libvirt.virConnect", name: str) -> NetworkState:
    """Bring a network up, with its fence; one that is up keeps what it is, and its fence is set anew.

    The fence comes first: no guest is ever on the bridge without it.

    Raises:
        HostFailure: the network or its fence cannot be had; a guest is not started without.
    """
    up = _active_network(connection, name)
    if up is not None:
        raise_fence(up.bridge)
        return up
    raise_fence(bridge_of(name))
    subnet = choose_subnet([*taken_subnets(), *_planned_subnets(connection)])
    try:
        connection.networkCreateXML(network_xml(name, subnet, nat=True))
    except libvirt.libvirtError as error:
        if (raced := _active_network(connection, name)) is not None:
            return raced
        logger.warning("The guests' network cannot have NAT: %s", error)
        return _without_nat(connection, name, subnet)
    return NetworkState(name, bridge_of(name), subnet, reaches_out=True)


def remove_network(connection: "libvirt.virConnect", name: str) -> None:
    """Take a network down, and its fence with it; harmless when it is not up.

    Raises:
        HostFailure: libvirt or nftables failed.
    """
    up = _active_network(connection, name)
    if up is None:
        return
    try:
        connection.networkLookupByName(name).destroy()
    except libvirt.libvirtError as error:
        raise HostFailure("The guests' network cannot be taken down.", "Look at libvirt's log.") from error
    lower_fence(up.bridge)


def _without_nat(connection: "libvirt.virConnect", name: str, subnet: IPv4Network) -> NetworkState:
    try:
        connection.networkCreateXML(network_xml(name, subnet, nat=False))
    except libvirt.libvirtError as error:
        raise HostFailure(
            f"The guests' network cannot be brought up: {' '.join(str(error).split())[:200]}",
            f"Look whether dnsmasq is installed, and what else uses {subnet} or the bridge {bridge_of(name)}.",
        ) from error
    warning = "libvirt cannot set up NAT on this host, so guests reach nothing beyond the host."
    return NetworkState(name, bridge_of(name), subnet, reaches_out=False, warning=warning)


def _active_network(connection: "libvirt.virConnect", name: str) -> NetworkState | None:
    try:
        network = connection.networkLookupByName(name)
        if network.isActive():
            return read_network(network.XMLDesc())
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_NETWORK:
            return None
        raise HostFailure("libvirt does not tell about its networks.", "Look at libvirt's log.") from error
    raise HostFailure(
        f"A network {name!r} is defined in libvirt and does not run.",
        f"Start it (virsh net-start {name}), or take it out (virsh net-undefine {name}).",
    )


def _planned_subnets(connection: "libvirt.virConnect") -> list[IPv4Network]:
    """Subnets of libvirt's networks that do not run now, and may later."""
    found = []
    for network in connection.listAllNetworks():
        subnet = read_network(network.XMLDesc()).subnet
        if subnet is not None:
            found.append(subnet)
    return found
