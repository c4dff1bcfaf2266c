"""The guests' network as a plan: name, bridge, addresses; and the fence round the host.

Guests share a bridge. libvirt's isolated ports keep them apart on it; the fence keeps them from the host's
services (the daemon among them) and from each other by way of the host, which would forward between them.
"""

import hashlib
import ipaddress
import json
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network
from xml.etree import ElementTree as ET

from vault.errors import HostFailure

#: Bridge of the network that all instances of a host share by default.
BRIDGE = "srbr0"
DEFAULT_NETWORK = "strongroom"
#: Private subnets (RFC 1918) that others seldom use; the first that collides with nothing is taken.
_CANDIDATES = tuple(IPv4Network(f"10.{second}.213.0/24") for second in range(213, 256))
_COMMAND_TIMEOUT_S = 20
_FENCE = """
table inet {table}
delete table inet {table}
table inet {table} {{
  chain to_host {{
    type filter hook input priority -10; policy accept;
    iifname "{bridge}" ct state established,related accept
    iifname "{bridge}" udp dport {{ 53, 67 }} accept
    iifname "{bridge}" tcp dport 53 accept
    iifname "{bridge}" drop
  }}
  chain between_guests {{
    type filter hook forward priority -10; policy accept;
    iifname "{bridge}" oifname "{bridge}" drop
  }}
}}
"""


@dataclass(frozen=True, slots=True)
class NetworkState:
    """The guests' network as it is.

    Attributes:
        subnet: addresses of guests; None where libvirt does not tell.
        reaches_out: whether guests reach beyond the host (by NAT).
        warning: one sentence when they do not though they should; empty otherwise.
    """

    name: str
    bridge: str
    subnet: IPv4Network | None
    reaches_out: bool
    warning: str = ""


def bridge_of(network: str) -> str:
    """The bridge of a network: at most 15 characters, and the same each time."""
    if network == DEFAULT_NETWORK:
        return BRIDGE
    return f"sr{hashlib.sha256(network.encode()).hexdigest()[:10]}"


def network_xml(name: str, subnet: IPv4Network, *, nat: bool) -> str:
    """XML of a transient network with DHCP and DNS; without `nat` guests reach nothing else."""
    network = ET.Element("network")
    ET.SubElement(network, "name").text = name
    if nat:
        ET.SubElement(network, "forward", mode="nat")
    ET.SubElement(network, "bridge", name=bridge_of(name), stp="on", delay="0")
    hosts = list(subnet.hosts())
    address = ET.SubElement(network, "ip", address=str(hosts[0]), netmask=str(subnet.netmask))
    dhcp = ET.SubElement(address, "dhcp")
    ET.SubElement(dhcp, "range", start=str(hosts[9]), end=str(hosts[-1]))
    return ET.tostring(network, encoding="unicode")


def read_network(xml: str) -> NetworkState:
    """What libvirt says of a network."""
    root = ET.fromstring(xml)  # noqa: S314 - libvirt's own output, which has no document type
    bridge, address = root.find("bridge"), root.find("ip")
    subnet = None
    if address is not None:
        mask = address.get("netmask") or address.get("prefix") or "32"
        subnet = IPv4Network(f"{address.get('address')}/{mask}", strict=False)
    return NetworkState(
        name=root.findtext("name") or "",
        bridge="" if bridge is None else bridge.get("name", ""),
        subnet=subnet,
        reaches_out=root.find("forward") is not None,
    )


def choose_subnet(taken: Iterable[IPv4Network]) -> IPv4Network:
    """The first candidate that overlaps nothing taken.

    Raises:
        HostFailure: every candidate is taken.
    """
    used = list(taken)
    for candidate in _CANDIDATES:
        if not any(candidate.overlaps(network) for network in used):
            return candidate
    raise HostFailure(
        "No private subnet is free for the guests' network.",
        "Make a libvirt network by yourself, and name it in the setting `network`.",
    )


def taken_subnets() -> list[IPv4Network]:
    """What this host has an address in or a route to, but for the default route.

    Raises:
        HostFailure: `ip` cannot be run.
    """
    told = json.loads(_run(["ip", "-j", "-4", "route", "show", "table", "all"]))
    found = []
    for route in told:
        try:
            network = IPv4Network(str(route.get("dst", "")), strict=False)
        except ipaddress.AddressValueError:  # `default`
            continue
        if network.prefixlen > 0:
            found.append(network)
    return found


def raise_fence(bridge: str) -> None:
    """Set the rules that keep guests from the host and from each other; the same again does no harm.

    Raises:
        HostFailure: they cannot be set; no guest is started without.
    """
    _run(["nft", "-f", "-"], _FENCE.format(table=_table(bridge), bridge=bridge))


def lower_fence(bridge: str) -> None:
    """Remove the rules of a bridge that is gone.

    Raises:
        HostFailure: they cannot be removed.
    """
    table = _table(bridge)
    _run(["nft", "-f", "-"], f"table inet {table}\ndelete table inet {table}\n")


def _table(bridge: str) -> str:
    return f"strongroom_{bridge}"


def _run(argv: list[str], text: str = "") -> str:
    try:
        done = subprocess.run(
            argv, input=text, capture_output=True, text=True, check=True, timeout=_COMMAND_TIMEOUT_S
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise HostFailure(
            f"The guests' network cannot be fenced: `{' '.join(argv)}` failed.",
            "Install nftables and iproute2, and look whether `nft list ruleset` works.",
        ) from error
    return done.stdout
