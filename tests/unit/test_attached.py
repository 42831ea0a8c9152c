# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the NICs that Docker gave to those of the lab's host, without a container."""

from __future__ import annotations

from typing import Any, Dict, Iterable, List

import pytest
from ansible_collections.returntraffic.net.plugins.module_utils.errors import KernelError
from ansible_collections.returntraffic.net.plugins.module_utils.lab import naming
from ansible_collections.returntraffic.net.plugins.module_utils.lab.attached import (
    Default,
    duplicate_lines,
    parse_defaults,
    plan_attached,
    unequal_settings,
)
from ansible_collections.returntraffic.net.plugins.module_utils.lab.state import LinkSeen, Seen
from ansible_collections.returntraffic.net.plugins.module_utils.lab.topology import parse_topology

LAB = parse_topology(
    {
        'name': 'rt',
        'networks': [{'name': 'blue', 'prefixes': ['10.0.0.0/24', 'fd00::/64']}, {'name': 'red'}],
        'hosts': [
            {
                'name': 'left',
                'interfaces': [
                    {'name': 'eth0', 'network': 'blue', 'addresses': ['10.0.0.1/32', 'fd00::1/64'], 'mtu': 1300},
                    {'name': 'wan', 'network': 'red', 'addresses': ['10.0.1.1/24']},
                ],
                'loopback_addresses': ['192.168.1.1'],
                'sysctls': {'net.ipv4.ip_forward': 1, 'net.ipv4.conf.all.accept_redirects': 0},
            }
        ],
    }
)
BLUE, RED = LAB.hosts[0].interfaces
LO = LinkSeen('lo', 1, '', None, '', 65536, True, True, None, naming.tag('rt'), frozenset(['192.168.1.1/32']))


def link(name: str, mac: str, *addresses: str, **more: Any) -> LinkSeen:
    plain = LinkSeen(name, 2, 'veth', 9, mac, 1500, True, True, None, '', frozenset(addresses))
    return plain._replace(**more)


def lines(*links: LinkSeen, defaults: Iterable[Default] = ()) -> Any:
    return list(plan_attached(LAB, Seen({item.name: item for item in (LO, *links)}, {}), defaults))


def built() -> Any:
    return (
        link('eth0', BLUE.mac, '10.0.0.1/32', 'fd00::1/64', mtu=1300),
        link('wan', RED.mac, '10.0.1.1/24'),
    )


def test_a_container_as_it_should_be_has_nothing_to_do() -> None:
    assert lines(*built()) == []


def test_nics_are_found_by_their_addresses_and_swapped_by_way_of_free_names() -> None:
    assert lines(link('wan', '02:42::1', '10.0.0.1/24'), link('eth0', '02:42::2', '10.0.1.1/24')) == [
        'link set dev wan down',
        'link set dev wan name nic1',
        'link set dev eth0 down',
        'link set dev eth0 name nic2',
        'link set dev nic1 name eth0',
        'link set dev nic2 name wan',
    ]


def test_a_stranger_with_a_wanted_name_gives_way() -> None:
    blue = link('nic1', BLUE.mac)
    assert lines(blue, link('wan', RED.mac, '10.0.1.1/24'), link('eth0', '02:42::3', '172.17.0.2/16')) == [
        'link set dev nic1 down',
        'link set dev nic1 name nic2',
        'link set dev eth0 down',
        'link set dev eth0 name nic3',
        'link set dev nic2 name eth0',
    ]


def test_what_docker_gave_becomes_what_the_lab_wants() -> None:
    blue = link('eth0', '02:42::1', '10.0.0.1/24', 'fd00::1/64')
    routes = [Default('ipv4', '10.0.0.254', 'eth0'), Default('ipv6', 'fd00::fffe', 'eth0')]
    assert lines(blue, built()[1], defaults=routes) == [
        'route del default via 10.0.0.254 dev eth0',
        'route del default via fd00::fffe dev eth0',
        f'link set dev eth0 address {BLUE.mac}',
        'link set dev eth0 mtu 1300',
        'address del 10.0.0.1/24 dev eth0',
        'address add 10.0.0.1/32 dev eth0',
    ]


def test_the_labs_own_default_route_stays() -> None:
    assert lines(*built(), defaults=[Default('ipv4', '10.0.0.2', 'eth0')]) == []


def test_a_nic_that_is_not_there_is_named() -> None:
    with pytest.raises(KernelError) as caught:
        lines(built()[0])
    reason = f'no NIC has the MAC {RED.mac} or one of 10.0.1.1: is the container on red?'
    assert str(caught.value) == f'find wan: {reason}'


def test_routes_are_read() -> None:
    listed: List[Dict[str, Any]] = [{'dst': 'default', 'gateway': '10.0.0.254', 'dev': 'eth0'}, {'dev': 'x'}]
    assert parse_defaults('ipv4', listed) == [Default('ipv4', '10.0.0.254', 'eth0'), Default('ipv4', '', 'x')]


def test_an_address_that_was_given_up_is_brought_back() -> None:
    failed = {'local': 'fe80::1', 'prefixlen': 64, 'scope': 'link', 'tentative': True, 'dadfailed': True}
    good = {'family': 'inet6', 'local': 'fd00::1', 'prefixlen': 64, 'tentative': True}
    assert duplicate_lines([{'ifname': 'eth0', 'addr_info': [good, failed]}, {'ifname': 'lo'}]) == [
        'address del fe80::1/64 dev eth0',
        'address add fe80::1/64 dev eth0 nodad',
    ]


def test_settings_are_compared_but_for_what_forwarding_resets() -> None:
    seen = {'net/ipv4/ip_forward': '0', 'net/ipv4/conf/all/accept_redirects': '1'}
    assert unequal_settings(LAB.hosts[0], Seen({}, seen)) == ['net/ipv4/ip_forward is 0, wanted 1']
    assert unequal_settings(LAB.hosts[0], Seen({}, {**seen, 'net/ipv4/ip_forward': '1'})) == []
