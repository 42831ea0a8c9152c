# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every strategy with tables of its own has in common: the tables, the exclusions, the fwmark rules."""

from __future__ import annotations

from typing import Dict, Iterable, Tuple

from ..bind import Attachment, Bound
from ..desired import Desired, PriorityBlock
from ..nft import Chain, Hook, NftRule, ct, masked, match, meta, rule, set_bits
from ..objects import NextHop, Route, Rule, Sysctl
from ..observed import MAIN, Observed
from ..values import family_of

#: Above every metric in use, and the number vrf.rst (kernel documentation) gives for this guard.
GUARD_METRIC = 4278198272
#: After main's rule at 32766 and default's at 32767: asked only when nothing else had a route.
FALLBACK_PRIORITY = 33000
ANYWHERE = {'ipv4': '0.0.0.0/0', 'ipv6': '::/0'}
#: The metric the kernel gives a route that names none (RTA_PRIORITY; IP6_RT_PRIO_USER for IPv6).
DEFAULT_METRIC = {'ipv4': 0, 'ipv6': 1024}
#: linux/rtnetlink.h: RT_SCOPE_LINK for IPv4's connected routes; IPv6 knows no scopes.
CONNECTED_SCOPE = {'ipv4': 253, 'ipv6': 0}
#: After conntrack (-200) and before or after dstnat (-100) alike: see docs/strategies.md.
PREROUTING = Hook('filter', 'prerouting', -99)
#: Before conntrack looks a packet up (-200), where its zone can still be chosen.
RAW = Hook('filter', 'prerouting', -300)
#: With no rule in it: that it is there makes conntrack resolve clashes of ports.
POSTROUTING_NAT = Hook('nat', 'postrouting', 100)
#: Only a chain of type route looks the packet up again after its mark has changed (nft(8)).
OUTPUT = Hook('route', 'output', -150)


def table_routes(attachment: Attachment) -> Dict[Route, str]:
    """The network's own table: its subnets, its gateway, and a guard that fails closed."""
    routes: Dict[Route, str] = {}
    for family in attachment.families:
        for subnet in attachment.subnets[family]:
            routes[_connected(attachment, family, subnet)] = (
                f'{attachment.name}: neighbours on {subnet} are answered directly, not through the gateway'
            )
        routes[via_gateway(attachment, family, attachment.table, ANYWHERE[family])] = (
            f'{attachment.name}: replies go back through this network'
        )
        routes[_guard(attachment, family)] = (
            f'{attachment.name}: when the link is down, replies are refused instead of leaving by table main'
        )
    return routes


def via_gateway(attachment: Attachment, family: str, table: int, destination: str) -> Route:
    """A route through the network's gateway."""
    hop = NextHop(attachment.gateways[family], attachment.nic, onlink=attachment.onlink)
    return Route(family, table, destination, next_hops=(hop,), metric=DEFAULT_METRIC[family])


def _connected(attachment: Attachment, family: str, subnet: str) -> Route:
    hop = NextHop(device=attachment.nic)
    scope = CONNECTED_SCOPE[family]
    return Route(family, attachment.table, subnet, next_hops=(hop,), metric=DEFAULT_METRIC[family], scope=scope)


def _guard(attachment: Attachment, family: str) -> Route:
    return Route(family, attachment.table, ANYWHERE[family], type='unreachable', metric=GUARD_METRIC)


def exclusion_rules(bound: Bound, block: PriorityBlock) -> Dict[Rule, str]:
    """Cluster traffic stays with table main; these rules stand above all that select by source or mark."""
    return {
        Rule(
            family_of(prefix), block.take(), to=prefix, table=MAIN
        ): f'exclude: traffic to {prefix} stays with table main'
        for prefix in bound.policy.exclude
    }


def mark_rules(bound: Bound, block: PriorityBlock) -> Dict[Rule, str]:
    """One rule a network and family: the mark leads to the network's table."""
    rules: Dict[Rule, str] = {}
    for item in bound.attachments:
        priority = block.take()
        for family in item.families:
            key = Rule(family, priority, fwmark=item.mark, fwmask=bound.policy.mark_mask, table=item.table)
            rules[key] = f'{item.name}: packets with mark {item.mark:#x}/{bound.policy.mark_mask:#x} use its table'
    return rules


def fallback_rules(bound: Bound, host: Observed) -> Dict[Rule, str]:
    """A way of last resort for hosts without a default route, where `fallback_default` asks for it.

    The output hook sees a packet only after a first lookup has found some route.
    """
    if not bound.policy.fallback_default:
        return {}
    rules: Dict[Rule, str] = {}
    for family in needing_fallback(bound, host):
        item = next(found for found in bound.attachments if family in found.gateways)
        rules[Rule(family, FALLBACK_PRIORITY, table=item.table)] = (
            f'fallback_default: the host has no {family} default route, and a reply without any route never reaches '
            f'the mark; the host itself can now leave by {item.name}'
        )
    return rules


def needing_fallback(bound: Bound, host: Observed) -> Tuple[str, ...]:
    """The families with a network of ours but without a default route in main."""
    families = sorted({family for item in bound.attachments for family in item.families})
    return tuple(family for family in families if not host.has_default(family))


def loose_rp_filter(bound: Bound, host: Observed) -> Dict[Sysctl, str]:
    """rp_filter 2 on NICs where it is effectively 1: the reverse lookup does not know the mark yet."""
    return {
        Sysctl(f'net/ipv4/conf/{item.nic}/rp_filter', '2'): (
            f'{item.name}: strict reverse path looks up without the mark and would drop the request; '
            'the larger of all and interface counts, so 2 here is loose whatever all is'
        )
        for item in bound.attachments
        if 'ipv4' in item.families and _is_strict(item.nic, host)
    }


def _is_strict(nic: str, host: Observed) -> bool:
    path = f'net/ipv4/conf/{nic}/rp_filter'
    before = host.nft.saved.get(path) if host.nft else None
    if before is None:
        return host.effective_rp_filter(nic) == 1
    # We set this one: judge by what it was, or the second run would take it back.
    return max(int(before), int(host.sysctl('net/ipv4/conf/all/rp_filter') or 0)) == 1


def set_mark(comment: str, attachment: Attachment, mask: int, *matches: object) -> NftRule:
    """Give matching packets the network's mark, other bits untouched."""
    return rule(comment, *matches, set_bits(meta('mark'), mask, attachment.mark))


def marked_desired(bound: Bound, host: Observed, block: PriorityBlock) -> Desired:
    """Tables, exclusions, fwmark rules and rp_filter: everything of a marking strategy but its nft table."""
    return Desired(
        rules={**exclusion_rules(bound, block), **mark_rules(bound, block), **fallback_rules(bound, host)},
        routes=all_tables(bound.attachments),
        sysctls=loose_rp_filter(bound, host),
    )


def all_tables(attachments: Iterable[Attachment]) -> Dict[Route, str]:
    """The tables of all networks."""
    return {route: why for item in attachments for route, why in table_routes(item).items()}


def restore_mark(attachment: Attachment, mask: int) -> NftRule:
    """A reply of a connection that came in by the network gets the network's mark back."""
    return set_mark(
        f'{attachment.name}: replies of its connections carry its mark',
        attachment,
        mask,
        match(ct('direction'), 'reply'),
        match(masked(ct('mark'), mask), attachment.mark),
    )


def base_chain(name: str, hook: Hook, rules: Iterable[NftRule]) -> Chain:
    """A chain attached to a hook."""
    return Chain(name, tuple(rules), hook)
