# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Strategy vrf: each network is a VRF of its own; what tells a reply's network is still source, mark or connmark.

Without a veth pair and without moving the rule `local`: sockets of the host are reached through
tcp_l3mdev_accept and udp_l3mdev_accept. Passes strict rp_filter, which looks up inside the VRF
(Documentation/networking/vrf.rst).
"""

from __future__ import annotations

from typing import Callable, Dict

from ..bind import Attachment, Bound
from ..desired import Desired
from ..errors import PolicyError
from ..objects import ALIAS, Rule, Sysctl, Vrf
from ..observed import MAIN, Observed
from ..values import family_of
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
    desired = _SELECTORS[bound.policy.selector](bound, host)
    subnets = {
        (item.table, subnet) for item in bound.attachments for found in item.subnets.values() for subnet in found
    }
    desired.vrfs = {Vrf(item.vrf, item.table, item.nic): _why(item) for item in bound.attachments}
    desired.rules = _above_l3mdev(bound, desired.rules, host)
    # The kernel itself moves an interface's own subnets into the table of its VRF.
    desired.routes = {
        route: why for route, why in desired.routes.items() if (route.table, route.destination) not in subnets
    }
    desired.sysctls = _sysctls(bound, host)
    _check_names(bound, host)
    return desired


def _why(item: Attachment) -> str:
    return f'{item.name}: {item.nic} is in a VRF, so what comes in by it is routed by its table'


def _above_l3mdev(bound: Bound, rules: Dict[Rule, str], host: Observed) -> Dict[Rule, str]:
    """The l3mdev rule would send a request for a pod back to the router; cluster networks come before it."""
    found = [rule.priority for rule in host.rules if rule.l3mdev]
    first = min(found, default=L3MDEV_PRIORITY) - len(bound.policy.exclude)
    if first < 1:
        raise PolicyError('exclude', len(bound.policy.exclude), f'more than fit above the l3mdev rule at {min(found)}')
    kept = {rule: why for rule, why in rules.items() if not (rule.to and rule.table == MAIN)}
    above = {
        Rule(family_of(prefix), first + at, to=prefix, table=MAIN): (
            f'exclude: traffic to {prefix} stays with table main, also what comes in by a VRF'
        )
        for at, prefix in enumerate(bound.policy.exclude)
    }
    return {**above, **kept}


def _sysctls(bound: Bound, host: Observed) -> Dict[Sysctl, str]:
    """Strict rp_filter stays: the reverse lookup is made inside the VRF and finds the interface."""
    accept = {Sysctl(f'net/ipv4/{kind}_l3mdev_accept', '1'): _ACCEPT for kind in ('tcp', 'udp')}
    keep = {
        Sysctl(f'net/ipv6/conf/{item.nic}/keep_addr_on_down', '1'): (
            f'{item.name}: moving {item.nic} takes it down for a moment, and IPv6 addresses would be lost'
        )
        for item in bound.attachments
        if host.sysctl(f'net/ipv6/conf/{item.nic}/keep_addr_on_down') is not None
    }
    return {**keep, **accept}


def _check_names(bound: Bound, host: Observed) -> None:
    """A VRF of that name and table is taken as it is; any other device of that name is in the way."""
    for at, item in enumerate(bound.attachments):
        there = host.link(item.vrf)
        if there is None or there.alias == ALIAS:
            continue
        key = f'networks[{at}].vrf'
        if there.kind != 'vrf' or there.vrf_table != item.table:
            raise PolicyError(
                key, item.vrf, f'is a {there.kind or "device"} of others, not a VRF on table {item.table}'
            )
        nic = host.link(item.nic)
        if nic is not None and nic.master != item.vrf:
            raise PolicyError(
                key, item.vrf, f'is of others and {item.nic} is not in it; put it there, or name another VRF'
            )
