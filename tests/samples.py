# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A made-up host and a policy for it, as plain values: what the pure tests start from."""

from __future__ import annotations

from typing import Any, Dict

from ansible_collections.returntraffic.net.plugins.module_utils.objects import Address, Link, NextHop, Route
from ansible_collections.returntraffic.net.plugins.module_utils.observed import LOCAL, MAIN, Observed

_LINKS = (Link(1, 'lo'), Link(2, 'eth0', '02:00:00:00:00:02'), Link(3, 'eth1', '02:00:00:00:00:03'), Link(4, 'eth2'))
_ADDRESSES = (
    Address('ipv4', 'lo', '192.168.1.1', 32),
    Address('ipv4', 'lo', '192.168.2.1', 32),
    Address('ipv6', 'lo', 'fd00:192:168:1::1', 128),
    Address('ipv4', 'eth0', '10.111.220.11', 24),
    Address('ipv4', 'eth1', '10.111.221.11', 24),
    Address('ipv6', 'eth1', 'fd00:10:111:221::11', 64),
    Address('ipv6', 'eth1', 'fe80::1', 64),
    Address('ipv4', 'eth2', '10.111.222.11', 24),
)
_SYSCTLS = {
    'net/ipv4/ip_forward': '1',
    'net/ipv6/conf/all/forwarding': '1',
    'net/ipv4/conf/all/rp_filter': '1',
    'net/ipv4/conf/eth1/rp_filter': '0',
    'net/ipv4/conf/eth2/rp_filter': '0',
    'net/ipv6/conf/eth1/keep_addr_on_down': '0',
    'net/ipv6/conf/eth2/keep_addr_on_down': '0',
    'net/ipv4/tcp_l3mdev_accept': '0',
    'net/ipv4/udp_l3mdev_accept': '0',
}


def make_host(**changes: Any) -> Observed:
    """A node with eth0 (default route), eth1 and eth2, as the bare lab has it."""
    routes = tuple(
        Route(family, MAIN, anywhere, next_hops=(NextHop(gateway, 'eth0'),), protocol=3)
        for family, anywhere, gateway in (
            ('ipv4', '0.0.0.0/0', '10.111.220.1'),
            ('ipv6', '::/0', 'fd00:10:111:220::1'),
        )
    )
    local = (Route('ipv4', LOCAL, '192.168.9.0/24', type='local', protocol=2),)
    found: Dict[str, Any] = {
        'links': _LINKS,
        'addresses': _ADDRESSES,
        'sysctls': dict(_SYSCTLS),
        'routes': (*routes, *local),
        'table_names': {'main': 254, 'storage': 77},
        'foreign_nft': [],
    }
    return Observed(**{**found, **changes})


def make_intent(strategy: str = 'connmark', **changes: Any) -> Dict[str, Any]:
    """Two networks and two services on that host."""
    intent: Dict[str, Any] = {
        'strategy': strategy,
        'networks': [
            {
                'name': 'network1',
                'interface': 'eth1',
                'gateways': ['10.111.221.21', 'fd00:10:111:221::21'],
                'clients': ['10.111.223.0/24', 'fd00:10:111:223::/64'],
            },
            {'name': 'network2', 'interface': 'eth2', 'gateways': ['10.111.222.21'], 'clients': ['10.111.224.0/24']},
        ],
        'services': [
            {
                'name': 'one',
                'network': 'network1',
                'vips': ['192.168.1.1', 'fd00:192:168:1::1'],
                'backends': ['10.244.0.2'],
            },
            {'name': 'two', 'network': 'network2', 'vips': ['192.168.2.1']},
        ],
        'exclude': ['10.244.0.0/16', 'fd00:10:244::/48'],
    }
    return {**intent, **changes}
