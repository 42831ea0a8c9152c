# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What modules show: reasons, changes, and the two sides of a diff. Pure."""

from __future__ import annotations

from typing import Any, Dict, Iterable, Iterator, List, Mapping, Optional, Set, Tuple

from .bind import Bound
from .desired import Desired
from .nft import Chain, NftTable
from .nft_text import table_lines
from .objects import ALIAS, PROTOCOL, Link, Route, Rule
from .observed import Observed, moved_local
from .plan import Move, Plan
from .text import route_text, rule_text

#: More changed nft lines than this are counted instead of listed.
_LISTED = 200


def networks_of(bound: Optional[Bound]) -> List[Dict[str, Any]]:
    """The networks as found on the host."""
    return [
        {
            'name': item.name,
            'nic': item.nic,
            'table': item.table,
            'mark': f'{item.mark:#x}',
            'gateways': list(item.gateways.values()),
        }
        for item in (bound.attachments if bound else ())
    ]


def objects_of(desired: Desired) -> List[Dict[str, str]]:
    """Each desired object with its reason: the explanation of the whole policy."""
    listed = {
        **{f'rule {rule_text(rule)}': why for rule, why in desired.rules.items()},
        **{f'route {route_text(route)}': why for route, why in desired.routes.items()},
        **{f'vrf {vrf.name} table {vrf.table} with {vrf.nic}': why for vrf, why in desired.vrfs.items()},
        **{f'veth {veth.outer} with {veth.inner} in {veth.vrf}': why for veth, why in desired.veths.items()},
        **{f'sysctl {item.path}={item.value}': why for item, why in desired.sysctls.items()},
        **_nft_objects(desired.nft),
        **(_chain_objects(desired.reverse_path) if desired.reverse_path else {}),
    }
    return [{'object': shown, 'reason': why} for shown, why in listed.items()]


def _nft_objects(table: Optional[NftTable]) -> Dict[str, str]:
    if table is None:
        return {}
    rules = {shown: why for chain in table.chains for shown, why in _chain_objects(chain).items()}
    return {**rules, **{f'nft map {item.name}': f'{len(item.elements)} source addresses' for item in table.maps}}


def _chain_objects(chain: Chain) -> Dict[str, str]:
    return {f'nft chain {chain.name} rule {number}': item.comment for number, item in enumerate(chain.rules)}


def changes_of(plan: Plan) -> List[str]:
    """The plan as lines, in the order in which it is carried out."""
    return [
        *(f'set sysctl {item.path}={item.value}' for item in plan.set_sysctls),
        *(f'add vrf {vrf.name} table {vrf.table}' for vrf in plan.add_vrfs),
        *(f'add veth {veth.outer} with {veth.inner} in {veth.vrf}' for veth in plan.add_veths),
        *(f'set sysctl {item.path}={item.value}' for item in plan.set_device_sysctls),
        *(f'add route {route_text(route)}' for route in plan.add_routes),
        *(f'replace route {route_text(old)} -> {route_text(new)}' for old, new in plan.replace_routes),
        *(f'add rule {rule_text(rule)}' for rule in plan.add_protecting_rules),
        *(f'delete rule {rule_text(rule)}' for rule in plan.take_local),
        *(line for move in plan.moves for line in _move_lines(move)),
        *(f'add rule {rule_text(rule)}' for rule in plan.add_rules),
        *_nft_changes(plan),
        *(f'add rule {rule_text(rule)}' for rule in plan.give_local),
        *(f'delete rule {rule_text(rule)}' for rule in plan.delete_rules),
        *(f'delete route {route_text(route)}' for route in plan.delete_routes),
        *(f'delete {_device_text(link)}' for link in plan.delete_links),
        *(f'restore sysctl {item.path}={item.value}' for item in plan.restore_sysctls),
    ]


def _move_lines(move: Move) -> List[str]:
    where = f'into {move.after}' if move.after else f'out of {move.before}'
    return [f'move {move.nic} {where}', *(f'add route {route_text(route)}' for route in move.routes_after)]


def _nft_changes(plan: Plan) -> Iterator[str]:
    if plan.nft_before == plan.nft_after:
        return
    before, after = set(table_lines(plan.nft_before)), set(table_lines(plan.nft_after))
    lines = [
        *(f'delete {line}' for line in sorted(before - after)),
        *(f'add {line}' for line in sorted(after - before)),
    ]
    yield from lines[:_LISTED]
    if len(lines) > _LISTED:
        yield f'and {len(lines) - _LISTED} more nft lines'


def diff_of(plan: Plan, host: Observed) -> Dict[str, str]:
    """All objects with our tag, and the sysctls and interfaces concerned, before and after."""
    changed = {item.path: item.value for item in (*plan.set_sysctls, *plan.set_device_sysctls, *plan.restore_sysctls)}
    before = _text(
        _rules_of(host) | set(plan.take_local),
        _routes_of(host),
        plan.nft_before,
        {path: host.sysctl(path) or '' for path in changed},
    )
    after = _text(_rules_after(plan, host), _routes_after(plan, host), plan.nft_after, changed)
    links_before, links_after = _links(plan, host)
    return {
        'before_header': 'return policy',
        'after_header': 'return policy',
        'before': links_before + before,
        'after': links_after + after,
    }


def _rules_of(host: Observed) -> Set[Rule]:
    return {rule for rule in host.rules if rule.protocol == PROTOCOL} | set(moved_local(host))


def _routes_of(host: Observed) -> Set[Route]:
    return {route for route in host.routes if route.protocol == PROTOCOL}


def _rules_after(plan: Plan, host: Observed) -> Set[Rule]:
    added = (*plan.add_protecting_rules, *plan.add_rules, *plan.give_local)
    return (_rules_of(host) - set(plan.delete_rules)) | set(added)


def _routes_after(plan: Plan, host: Observed) -> Set[Route]:
    replaced = dict(plan.replace_routes)
    lost = {route for move in plan.moves for route in move.routes_before}
    again = {route for move in plan.moves for route in move.routes_after if route.protocol == PROTOCOL}
    kept = _routes_of(host) - set(plan.delete_routes) - set(replaced) - lost
    return kept | set(plan.add_routes) | set(replaced.values()) | again


def _links(plan: Plan, host: Observed) -> Tuple[str, str]:
    """Devices of ours, and the interfaces that move, as lines before and after."""
    ours = {_device_text(link) for link in host.links if link.alias == ALIAS and _stands_for_itself(link)}
    gone = {_device_text(link) for link in plan.delete_links}
    come = {f'vrf {vrf.name} table {vrf.table}' for vrf in plan.add_vrfs}
    come |= {f'veth {veth.outer} with {veth.inner}' for veth in plan.add_veths}
    before = [*ours, *(f'link {move.nic} master {move.before or "none"}' for move in plan.moves)]
    after = [*((ours - gone) | come), *(f'link {move.nic} master {move.after or "none"}' for move in plan.moves)]
    return ''.join(f'{line}\n' for line in sorted(before)), ''.join(f'{line}\n' for line in sorted(after))


def _stands_for_itself(link: Link) -> bool:
    """A pair is one line, that of its outer end."""
    return link.lower is None or link.name < link.lower


def _device_text(link: Link) -> str:
    return f'veth {link.name} with {link.lower}' if link.kind == 'veth' else f'vrf {link.name} table {link.vrf_table}'


def _text(rules: Iterable[Rule], routes: Iterable[Route], table: Optional[NftTable], sysctls: Mapping[str, str]) -> str:
    lines = [
        *(f'sysctl {path}={value}' for path, value in sorted(sysctls.items())),
        *sorted(f'route {route_text(route)}' for route in routes),
        *sorted(f'rule {rule_text(rule)}' for rule in rules),
        *table_lines(table),
    ]
    return ''.join(f'{line}\n' for line in lines)
