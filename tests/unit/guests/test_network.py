from ipaddress import IPv4Network

import pytest

from vault.errors import HostFailure
from vault.guests.network import (
    BRIDGE,
    bridge_of,
    choose_subnet,
    network_xml,
    read_network,
    taken_subnets,
)

from .plans import parsed


def test_a_bridges_name_fits_the_kernel_and_is_the_same_each_time() -> None:
    assert bridge_of("strongroom") == BRIDGE
    assert len(bridge_of("a-very-long-name-of-a-network")) <= 15
    assert bridge_of("one") == bridge_of("one") != bridge_of("two")


def test_the_network_reads_back_as_it_was_planned() -> None:
    subnet = IPv4Network("10.213.213.0/24")
    state = read_network(network_xml("strongroom", subnet, nat=True))
    assert (state.name, state.bridge, state.subnet, state.reaches_out) == ("strongroom", BRIDGE, subnet, True)
    assert not read_network(network_xml("strongroom", subnet, nat=False)).reaches_out


def test_dhcp_leaves_the_hosts_own_address_out() -> None:
    root = parsed(network_xml("n", IPv4Network("10.213.213.0/24"), nat=True))
    found = root.find("./ip/dhcp/range")
    assert found is not None
    assert (found.get("start"), found.get("end")) == ("10.213.213.10", "10.213.213.254")
    assert root.find("ip").get("address") == "10.213.213.1"  # type: ignore[union-attr]


def test_a_subnet_that_anything_on_the_host_uses_is_not_taken() -> None:
    first = choose_subnet([])
    assert not choose_subnet([first]).overlaps(first)
    assert not choose_subnet([first.supernet(new_prefix=16)]).overlaps(first)
    with pytest.raises(HostFailure, match="No private subnet is free"):
        choose_subnet([IPv4Network("10.0.0.0/8")])


def test_the_hosts_own_networks_are_known_and_the_default_route_is_none() -> None:
    assert IPv4Network("0.0.0.0/0") not in taken_subnets()
    assert IPv4Network("127.0.0.0/8") in taken_subnets()
