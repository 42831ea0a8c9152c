# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Preflight: what would not work is refused before anything changes, with the reason and the cure. Pure."""

from __future__ import annotations

from typing import Any, Dict, Iterable, Iterator, List, NamedTuple, Optional, Set, Tuple

from .bind import Bound
from .desired import Desired
from .nft import ct, match
from .objects import ALIAS, KERNEL, PROTOCOL, Route, Rule
from .observed import LOCAL, Observed, leads_to_local
from .strategies.common import needing_fallback
from .values import family_of, network_of

REFUSED = 'refused'
WARNING = 'warning'

_FORWARDING = {'ipv4': 'net/ipv4/ip_forward', 'ipv6': 'net/ipv6/conf/all/forwarding'}


class Finding(NamedTuple):
    """One thing found before applying: what, where, why, and what to do about it."""

    level: str
    check: str
    subject: str
    reason: str
    cure: str


def preflight(bound: Bound, desired: Desired, host: Observed) -> List[Finding]:
    """Everything that would keep the policy from working, or that touches others."""
    return [
        *_nft_missing(desired, host),
        *_no_vrf(desired, host),
        *_read_only_sysctls(desired, host),
        *_no_first_route(bound, desired, host),
        *_forwarding(bound, host),
        *_before_local(bound, desired, host),
        *_nothing_excluded(bound, desired),
        *_vips(bound, host),
        *_foreign_tables(bound, host),
        *_foreign_priorities(bound, desired, host),
        *_foreign_marks(bound, desired, host),
        *_source_valid_mark(desired, host),
        *_flowtables(desired, host),
    ]


def _nft_missing(desired: Desired, host: Observed) -> Iterator[Finding]:
    if host.nft_missing and (desired.nft or desired.sysctls or desired.reverse_path):
        cure = 'install the package nftables, or use strategy static or source without strict_reverse_path'
        yield Finding(REFUSED, 'nft', 'nft', host.nft_missing, cure)


def _no_vrf(desired: Desired, host: Observed) -> Iterator[Finding]:
    if desired.vrfs and host.vrf_supported is False:
        reason = 'this kernel is built without VRF (CONFIG_NET_VRF), or its module is not installed'
        yield Finding(REFUSED, 'strategy', 'vrf', reason, 'use another strategy, or a kernel with VRF')


def _read_only_sysctls(desired: Desired, host: Observed) -> Iterator[Finding]:
    for item in desired.sysctls:
        found = host.sysctl(item.path)
        if host.sysctls_read_only and found not in (None, item.value):
            reason = f'is {found} and must be {item.value}, but settings are read-only here, as in most containers'
            cure = 'give it to the container at its creation (for rp_filter that of "all" counts for every NIC)'
            yield Finding(REFUSED, 'sysctl', item.path, f'{reason}: {desired.sysctls[item]}', cure)


def _no_first_route(bound: Bound, desired: Desired, host: Observed) -> Iterator[Finding]:
    if desired.nft is None or bound.policy.fallback_default:
        return
    for family in needing_fallback(bound, host):
        yield Finding(
            REFUSED,
            'default_route',
            family,
            f'table main has no {family} default route, so a reply of a host socket finds no route and is never marked',
            'set fallback_default: true (the host itself can then leave by that network), give main a default route, '
            'or use strategy source',
        )


def _forwarding(bound: Bound, host: Observed) -> Iterator[Finding]:
    services = bound.policy.services
    backends = {family_of(address) for service in services for address in (*service.backends, *service.cluster_ips)}
    # A veth pair is one more device that packets are forwarded to.
    vips = {family_of(vip) for service in services for vip in service.vips} if bound.policy.veth else set()
    for family in sorted(backends | vips):
        path = _FORWARDING[family]
        if host.sysctl(path) == '0':
            what = 'the backends' if family in backends else 'the VIPs by a veth pair'
            reason = f'is 0: nothing reaches {what} over {family}'
            yield Finding(REFUSED, 'forwarding', path, reason, f'sysctl -w {path}=1')


def _before_local(bound: Bound, desired: Desired, host: Observed) -> Iterator[Finding]:
    """With veth the rule `local` moves: rules of others that stood behind it now stand before it."""
    places = {rule.family: rule.priority for rule in desired.rules if leads_to_local(rule)}
    for rule in host.rules:
        known = rule.protocol == PROTOCOL or rule.l3mdev or leads_to_local(rule)
        if not known and rule.priority < places.get(rule.family, 0):
            reason = 'with veth it is asked before the addresses of the host itself'
            yield Finding(
                WARNING,
                'veth',
                f'rule {rule.family} {rule.priority}',
                reason,
                'see that it selects no VIP, or leave veth',
            )


def _nothing_excluded(bound: Bound, desired: Desired) -> Iterator[Finding]:
    if desired.reverse_path and bound.policy.strategy != 'static' and not bound.policy.exclude:
        reason = 'drops nothing: the default route in the table of a network leads to every source'
        cure = 'exclude the networks that no client can be in, such as those of pods and services'
        yield Finding(WARNING, 'strict_reverse_path', 'exclude', reason, cure)


def _vips(bound: Bound, host: Observed) -> Iterator[Finding]:
    if not bound.policy.check_vips or not bound.policy.services:
        return
    known = {item.address for item in host.addresses} | _addresses_in(host.foreign_nft or ())
    prefixes = [route.destination for route in host.routes if route.table == LOCAL and route.type == 'local']
    services = [service for service in bound.policy.services if service.data_path != 'ovn_kubernetes']
    unknown = [(service.name, vip) for service in services for vip in service.vips if vip not in known]
    for name, vip in _outside(unknown, prefixes):
        yield Finding(
            REFUSED,
            'vip',
            f'{name} {vip}',
            'is neither an address of this host nor in any nft rule: nothing here would answer it',
            'correct the address, or set check_vips: false where the data path is in eBPF or OVS',
        )


def _outside(vips: List[Tuple[str, str]], prefixes: List[str]) -> Iterator[Tuple[str, str]]:
    """Those (name, VIP) that no prefix holds; few prefixes have many lengths, so lengths are what is tried."""
    by_length: Dict[Tuple[str, int], Set[str]] = {}
    for prefix in prefixes:
        by_length.setdefault((family_of(prefix), int(prefix.rpartition('/')[2])), set()).add(prefix)
    for name, vip in vips:
        tried = ((length, held) for (family, length), held in by_length.items() if family == family_of(vip))
        if not any(network_of(vip, length) in held for length, held in tried):
            yield name, vip


def _addresses_in(objects: Any) -> Set[str]:
    """Every address-like word in nft objects: what is translated is named there in rules, sets or maps."""
    found: Set[str] = set()
    pending: List[Any] = [objects]
    while pending:
        item = pending.pop()
        if isinstance(item, str):
            if '.' in item or ':' in item:
                found.add(item)
        elif isinstance(item, dict):
            pending.extend(item.values())
        elif isinstance(item, (list, tuple)):
            pending.extend(item)
    return found


def _foreign_tables(bound: Bound, host: Observed) -> Iterator[Finding]:
    tables = {item.table: item.name for item in bound.attachments} if bound.policy.strategy != 'static' else {}
    # In the table of a VRF the kernel's own routes belong; a VRF of others may hold theirs.
    vrfs = {link.vrf_table: link.alias for link in host.links if link.vrf_table}
    strangers: Dict[int, Route] = {
        route.table: route
        for route in host.routes
        if route.table in tables and route.protocol != PROTOCOL and not _belongs(route, vrfs)
    }
    for table, route in strangers.items():
        yield Finding(
            REFUSED,
            'table',
            str(table),
            f'holds routes of others ({route.destination} protocol {route.protocol})',
            f'give network {tables[table]} another table',
        )


def _belongs(route: Route, vrfs: Dict[int, Optional[str]]) -> bool:
    return route.table in vrfs and (route.protocol == KERNEL or vrfs[route.table] != ALIAS)


def _foreign_priorities(bound: Bound, desired: Desired, host: Observed) -> Iterator[Finding]:
    """A priority that both have is refused; strangers elsewhere in the block are told."""
    if not desired.rules:
        return
    ours = {(rule.family, rule.priority) for rule in desired.rules}
    for rule in host.rules:
        if rule.protocol != PROTOCOL and rule not in desired.rules and (rule.family, rule.priority) in ours:
            yield _priority(REFUSED, rule, 'is taken by a rule of others')
    for item in priority_overlaps(host, bound.policy.priority_base, bound.policy.priority_count):
        if tuple(item.subject.split()) not in {(family, str(priority)) for family, priority in ours}:
            yield item


def priority_overlaps(host: Observed, base: int, count: int) -> Iterator[Finding]:
    """Rules of others inside a block of priorities."""
    for rule in host.rules:
        if rule.protocol != PROTOCOL and base <= rule.priority < base + count:
            yield _priority(
                WARNING, rule, f'is inside the block {base}-{base + count - 1}: it is asked between our rules'
            )


def _priority(level: str, rule: Rule, reason: str) -> Finding:
    return Finding(level, 'priority', f'{rule.family} {rule.priority}', reason, 'choose another priority_base')


def _foreign_marks(bound: Bound, desired: Desired, host: Observed) -> Iterator[Finding]:
    """A mark that is one of ours is refused; other uses of our bits are told."""
    if desired.nft is None:
        return
    mask = bound.policy.mark_mask
    marks = {item.mark: item.name for item in bound.attachments}
    for rule in host.rules:
        if rule.protocol != PROTOCOL and _bits_tested(rule) & mask and (rule.fwmark or 0) & mask in marks:
            reason = f'its mark {rule.fwmark:#x} is that of {marks[(rule.fwmark or 0) & mask]} in our bits {mask:#x}'
            yield Finding(REFUSED, 'mark', f'rule {rule.family} {rule.priority}', reason, 'choose another mark_mask')
    yield from mark_overlaps(host, mask)


def mark_overlaps(host: Observed, mask: int) -> Iterator[Finding]:
    """Rules of others that test, and nft statements of others that write, bits of a mask."""
    for rule in host.rules:
        if rule.protocol != PROTOCOL and _bits_tested(rule) & mask:
            yield _mark(f'rule {rule.family} {rule.priority}', 'tests', _bits_tested(rule) & mask)
    for entry in host.foreign_nft or ():
        item = entry.get('rule') or {}
        written = 0
        for statement in item.get('expr', ()):
            written |= _mark_bits_written(statement)
        if written & mask:
            yield _mark(f'nft {item["family"]} {item["table"]} {item["chain"]}', 'writes', written & mask)


def _bits_tested(rule: Rule) -> int:
    """The mark bits a rule looks at; without a mask that is all of them (ip-rule(8))."""
    if rule.fwmark is None:
        return 0
    return 0xFFFFFFFF if rule.fwmask is None else rule.fwmask


def _mark(where: str, what: str, bits: int) -> Finding:
    return Finding(WARNING, 'mark', where, f'{what} mark bits {bits:#x}, which are ours', 'choose another mark_mask')


def overlaps(host: Observed, base: int, count: int, mask: int) -> List[Finding]:
    """What of others could be in the way of any policy with these ranges."""
    return [*priority_overlaps(host, base, count), *mark_overlaps(host, mask)]


def _mark_bits_written(statement: Any) -> int:
    """The bits of meta mark or ct mark that an nft statement sets or clears; 0 for any other statement."""
    mangle = statement.get('mangle') if isinstance(statement, dict) else None
    if not isinstance(mangle, dict) or not _is_mark(mangle.get('key')):
        return 0
    value = mangle.get('value')
    if isinstance(value, dict) and isinstance(value.get('|'), list):
        kept, bits = (value['|'] + [None, None])[:2]
        if isinstance(kept, dict) and isinstance(kept.get('&'), list) and isinstance(bits, int):
            mask = kept['&'][-1]
            return (bits | ~mask) & 0xFFFFFFFF if isinstance(mask, int) else 0xFFFFFFFF
        return bits if isinstance(bits, int) else 0xFFFFFFFF
    return 0xFFFFFFFF


def _is_mark(key: Any) -> bool:
    return isinstance(key, dict) and any(
        isinstance(key.get(kind), dict) and key[kind].get('key') == 'mark' for kind in ('meta', 'ct')
    )


def _source_valid_mark(desired: Desired, host: Observed) -> Iterator[Finding]:
    path = 'net/ipv4/conf/all/src_valid_mark'
    if desired.nft is not None and host.sysctl(path) == '1':
        yield Finding(
            WARNING,
            'src_valid_mark',
            path,
            'is 1: reverse path lookups use the mark of the packet, which requests do not carry here',
            'nothing to do while rp_filter is loose (2) on the networks, which this policy sees to',
        )


def _flowtables(desired: Desired, host: Observed) -> Iterator[Finding]:
    """The kernel asks for both ways when a connection enters a flowtable, the way back with the request's mark.

    Inside a VRF that lookup finds the VRF's table all the same.
    """
    if desired.nft is None or desired.vrfs:
        return
    rules = [entry['rule'] for entry in host.foreign_nft or () if isinstance(entry.get('rule'), dict)]
    chains = {(item['family'], item['table'], item['chain']) for item in rules if _offloads_requests(item)}
    for family, table, chain in sorted(chains):
        yield Finding(
            WARNING,
            'flowtable',
            f'nft {family} {table} {chain}',
            'puts connections into a flowtable also when a request passes; requests carry no mark, '
            'so the replies would leave by another NIC or not at all',
            'let only replies do it: ct direction reply ... flow add',
        )


def _offloads_requests(item: Dict[str, Any]) -> bool:
    """Whether a rule fills a flowtable without asking for the direction of the packet."""
    statements = [statement for statement in item.get('expr', ()) if isinstance(statement, dict)]
    only_replies = match(ct('direction'), 'reply') in statements
    return not only_replies and any('flow' in statement for statement in statements)


def refusals(findings: Iterable[Finding]) -> List[Finding]:
    """Those that forbid the policy."""
    return [item for item in findings if item.level == REFUSED]
