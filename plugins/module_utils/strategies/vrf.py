# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Strategy vrf: each network is a VRF of its own; what tells a reply's network is still source, mark or connmark.

Without a veth pair (see veth.py) the rule `local` stays where it is: sockets of the host are reached through
tcp_l3mdev_accept and udp_l3mdev_accept. Passes strict rp_filter, which looks up inside the VRF
(Documentation/networking/vrf.rst).
"""

from __future__ import annotations

from typing import Callable, Dict, Set

from ..bind import Attachment, Bound
from ..desired import Desired, PriorityBlock
from ..errors import PolicyError
from ..objects import PROTOCOL, Link, Route, Rule, Sysctl, Vrf
from ..observed import LOCAL, MAIN, Observed
from ..values import family_of
from . import veth
from .connmark import compile_connmark
from .mark import compile_mark
from .source import compile_source

#: Where the kernel puts the l3mdev rule when it makes the first VRF of a network namespace.
L3MDEV_PRIORITY = 1000

_SELECTORS: Dict[str, Callable[[Bound, Observed], Desired]] = {
    'source': compile_source,
    'mark': compile_mark,
    'connmark': compile_connmark,
}
_ACCEPT = 'requests come in inside a VRF, and sockets of the host that are bound to none are to take them'


def compile_vrf(bound: Bound, host: Observed) -> Desired:
    """The selector's objects, with the networks in VRFs and the exclusions above the l3mdev rule."""
    _check_names(bound, host)
    desired = _SELECTORS[bound.policy.selector](bound, host)
    subnets = {
        (item.table, subnet) for item in bound.attachments for found in item.subnets.values() for subnet in found
    }
    desired.vrfs = {Vrf(item.vrf, item.table, item.nic): _why(item) for item in bound.attachments}
    desired.rules = {**_above_l3mdev(bound, host), **{rule: why for rule, why in desired.rules.items() if not rule.to}}
    there = _routes_of_others(bound, host)
    # The kernel itself moves an interface's own subnets into the table of its VRF.
    desired.routes = {
        route: why
        for route, why in desired.routes.items()
        if (route.table, route.destination) not in subnets and route not in there
    }
    desired.sysctls = {**_keep_addresses(bound, host), **_accept(bound)}
    if bound.policy.veth:
        _lead_out_by_veth(desired, bound, host)
    if bound.policy.strict_reverse_path:
        _guard_by_rules(desired, bound)
    return desired


def _routes_of_others(bound: Bound, host: Observed) -> Set[Route]:
    """Those in VRFs of others, as if they were ours: one that leads where ours would is not made a second time."""
    adopted = {item.table for item in bound.attachments if host.link(item.vrf) and not host.is_ours(item.vrf)}
    return {
        route._replace(protocol=PROTOCOL)
        for route in host.routes
        if route.table in adopted and route.protocol != PROTOCOL
    }


def _lead_out_by_veth(desired: Desired, bound: Bound, host: Observed) -> None:
    desired.veths = veth.pairs(bound)
    desired.routes.update(veth.vip_routes(bound))
    desired.rules.update(veth.local_rules(bound, _l3mdev_priority(host), host))
    desired.sysctls.update(veth.veth_sysctls(bound, host))


def _guard_by_rules(desired: Desired, bound: Bound) -> None:
    """IPv6 guards as rules: nft's fib would take the guard in the VRF's table for the way back, and drop.

    That lookup (rt6_device_match() of the kernel) prefers a route whose device has the source's address in its VRF.
    VIPs are on devices outside, and so is `lo`, on which IPv6 has every unreachable route.
    """
    desired.routes = {
        route: why for route, why in desired.routes.items() if route.family == 'ipv4' or route.type != 'unreachable'
    }
    tables = {item.table for item in bound.attachments}
    selectors = [rule for rule in desired.rules if rule.family == 'ipv6' and rule.table in tables]
    used = max((rule.priority for rule in selectors), default=bound.policy.priority_base)
    block = PriorityBlock(used + 1, bound.policy.priority_base + bound.policy.priority_count - used - 1)
    for rule in selectors:
        guard = rule._replace(priority=block.take(), action='unreachable', table=0)
        desired.rules[guard] = 'when the link is down, replies are refused instead of leaving by table main'


def _why(item: Attachment) -> str:
    return f'{item.name}: {item.nic} is in a VRF, so what comes in by it is routed by its table'


def _l3mdev_priority(host: Observed) -> int:
    return min((rule.priority for rule in host.rules if rule.l3mdev), default=L3MDEV_PRIORITY)


def _above_l3mdev(bound: Bound, host: Observed) -> Dict[Rule, str]:
    """The l3mdev rule would send a request for a pod back to the router; cluster networks come before it.

    With veth the rule `local` comes after it, so that the host's own addresses in those networks need theirs, too.
    """
    tables = (LOCAL, MAIN) if bound.policy.veth else (MAIN,)
    wanted = [(table, prefix) for table in tables for prefix in bound.policy.exclude]
    first = _l3mdev_priority(host) - len(wanted)
    if first < 1:
        reason = f'more than fit above the l3mdev rule at {_l3mdev_priority(host)}'
        raise PolicyError('exclude', len(bound.policy.exclude), reason)
    return {
        Rule(family_of(prefix), first + at, to=prefix, table=table): (
            f'exclude: traffic to {prefix} stays with table {"main" if table == MAIN else "local"}, '
            'also what comes in by a VRF'
        )
        for at, (table, prefix) in enumerate(wanted)
    }


def _accept(bound: Bound) -> Dict[Sysctl, str]:
    """Strict rp_filter stays: the reverse lookup is made inside the VRF and finds the interface."""
    return (
        {} if bound.policy.veth else {Sysctl(f'net/ipv4/{kind}_l3mdev_accept', '1'): _ACCEPT for kind in ('tcp', 'udp')}
    )


def _keep_addresses(bound: Bound, host: Observed) -> Dict[Sysctl, str]:
    return {
        Sysctl(f'net/ipv6/conf/{item.nic}/keep_addr_on_down', '1'): (
            f'{item.name}: moving {item.nic} takes it down for a moment, and IPv6 addresses would be lost'
        )
        for item in bound.attachments
        if host.sysctl(f'net/ipv6/conf/{item.nic}/keep_addr_on_down') is not None
    }


def _check_names(bound: Bound, host: Observed) -> None:
    """Devices of others that have the names ours are to have."""
    for at, item in enumerate(bound.attachments):
        there = host.link(item.vrf)
        if there is not None and not host.is_ours(item.vrf):
            _check_adoptable(f'networks[{at}].vrf', item, there, host)
        for name in (veth.veth_of(item).outer, veth.veth_of(item).inner) if bound.policy.veth else ():
            if host.link(name) is not None and not host.is_ours(name):
                raise PolicyError(
                    f'networks[{at}].table',
                    item.table,
                    f'its veth pair needs the name {name}, which is a device of others; choose another table',
                )


def _check_adoptable(key: str, item: Attachment, there: Link, host: Observed) -> None:
    """A VRF of that name and table is taken as it is; any other device of that name is in the way."""
    if there.kind != 'vrf' or there.vrf_table != item.table:
        raise PolicyError(key, item.vrf, f'is a {there.kind or "device"} of others, not a VRF on table {item.table}')
    nic = host.link(item.nic)
    if nic is not None and nic.master != item.vrf:
        raise PolicyError(key, item.vrf, f'is of others and {item.nic} is not in it; put it there, or name another VRF')
