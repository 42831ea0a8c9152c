# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Option veth of strategy vrf: requests leave their VRF by a veth pair, so that sockets outside take them.

For those who may not set tcp_l3mdev_accept and udp_l3mdev_accept. The kernel's rule `local` must then come after its
l3mdev rule, or a VIP would be found before the VRF's table is asked (Documentation/networking/vrf.rst).
"""

from __future__ import annotations

from typing import Dict, Iterable

from ..bind import Attachment, Bound
from ..errors import PolicyError
from ..objects import KERNEL, NextHop, Route, Rule, Sysctl, Veth
from ..observed import LOCAL, Observed, leads_to_local, moved_local
from ..values import collapse, family_of
from .common import CONNECTED_SCOPE, DEFAULT_METRIC, loose_rp_filter


def veth_of(item: Attachment) -> Veth:
    """The network's pair, named by its table, which no two networks share; 15 characters at most."""
    digits = f'{item.table:08x}'
    mac = ':'.join(['02', '72', *(digits[at : at + 2] for at in range(0, 8, 2))])
    return Veth(f'veth{item.table}', f'veth{item.table}v', mac, item.vrf)


def pairs(bound: Bound) -> Dict[Veth, str]:
    """A pair for each network."""
    return {
        veth_of(item): f'{item.name}: requests to the host leave the VRF over it, and its sockets take them'
        for item in bound.attachments
    }


def vip_routes(bound: Bound) -> Dict[Route, str]:
    """In each VRF's table: the VIPs of all services, for a client may use that of another network."""
    vips = [vip for service in bound.policy.services for vip in service.vips]
    routes: Dict[Route, str] = {}
    for item in bound.attachments:
        for family in item.families:
            for prefix in collapse([vip for vip in vips if family_of(vip) == family]):
                routes[_over(veth_of(item), item.table, prefix)] = f'{item.name}: requests to {prefix} leave the VRF'
    return routes


def _over(veth: Veth, table: int, prefix: str) -> Route:
    family = family_of(prefix)
    hop = (NextHop(device=veth.inner),)
    return Route(family, table, prefix, next_hops=hop, metric=DEFAULT_METRIC[family], scope=CONNECTED_SCOPE[family])


def local_rules(bound: Bound, l3mdev: int, host: Observed) -> Dict[Rule, str]:
    """The rule `local` just after the l3mdev rule; the kernel's own at 0 is taken away once these are there."""
    families = sorted({family for item in bound.attachments for family in item.families})
    _check_not_moved(families, host)
    why = 'veth: a request is looked up in its VRF first, and only then among the addresses of the host'
    return {Rule(family, l3mdev + 1, table=LOCAL, protocol=KERNEL): why for family in families}


def _check_not_moved(families: Iterable[str], host: Observed) -> None:
    ours = moved_local(host)
    for rule in host.rules:
        if rule.family in families and leads_to_local(rule) and rule.priority != 0 and rule not in ours:
            reason = f'the {rule.family} rule `local` is at {rule.priority} and not at 0: others have moved it'
            raise PolicyError('veth', True, f'{reason}; use strategy vrf without veth')


def veth_sysctls(bound: Bound, host: Observed) -> Dict[Sysctl, str]:
    """Loose rp_filter where it is strict: a client is found by the default route, not by the pair."""
    devices = [name for item in bound.attachments for name in (item.vrf, veth_of(item).outer, veth_of(item).inner)]
    strict = max(int(host.sysctl(f'net/ipv4/conf/{name}/rp_filter') or 0) for name in ('all', 'default')) == 1
    loose = {
        Sysctl(f'net/ipv4/conf/{name}/rp_filter', '2'): 'veth: the way back to a client is not by this device'
        for name in devices
        if strict
    }
    silent = {
        Sysctl(f'net/ipv6/conf/{name}/addr_gen_mode', '1'): 'veth: needs no addresses, and both ends have one MAC'
        for item in bound.attachments
        for name in (veth_of(item).outer, veth_of(item).inner)
        if host.sysctl('net/ipv6/conf/all/forwarding') is not None
    }
    return {**loose_rp_filter(bound, host), **loose, **silent}
