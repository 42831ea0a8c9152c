# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One nft table as a value: built by strategies, read back from `nft -j`, compared in nft's own form.

Pure; running nft is kernel/nftables.py. The JSON schema is libnftables-json(5).
Only the statements that strategies use are known here; everything else in our table
is somebody's edit, shows as a difference, and is replaced by the next run.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import Any, Dict, Iterable, List, Mapping, NamedTuple, Optional, Tuple

FAMILY = 'inet'
TABLE = 'returntraffic'
#: Holds the values that sysctls had before us. It lives in the kernel because they do:
#: both are gone with the network namespace or the boot.
SAVED = 'sysctls_before'
#: The chain of option strict_reverse_path: the only one that drops, so it is not in force while a change lasts.
REVERSE_PATH = 'reverse_path'
#: NFTNL_UDATA_COMMENT_MAXLEN, less the final NUL.
COMMENT_LIMIT = 127

Json = Any


class Hook(NamedTuple):
    """Where a base chain is attached (nft(8), CHAINS)."""

    type: str
    hook: str
    priority: int


class NftRule(NamedTuple):
    """One rule: its statements and, as its comment, why it is there."""

    expressions: Tuple[str, ...]
    comment: str


@dataclass(frozen=True)
class Chain:
    """One chain; without a hook it is only jumped to."""

    name: str
    rules: Tuple[NftRule, ...]
    hook: Optional[Hook] = None


@dataclass(frozen=True)
class VerdictMap:
    """Addresses of one type, each with the chain it goes to."""

    name: str
    type: str
    elements: Dict[str, str]


@dataclass(frozen=True)
class NftTable:
    """The whole of table `inet returntraffic`."""

    chains: Tuple[Chain, ...] = ()
    maps: Tuple[VerdictMap, ...] = ()
    saved: Dict[str, str] = field(default_factory=dict)

    def empty(self) -> bool:
        """Whether nothing would be left in the table, so that it need not be there."""
        return not (self.chains or self.maps or self.saved)


# --- building rules -------------------------------------------------------------------------------------------


def rule(comment: str, *statements: Json) -> NftRule:
    """A rule from libnftables-json statements, in the form in which nft lists it."""
    return NftRule(tuple(_frozen(statement) for statement in statements), comment[:COMMENT_LIMIT])


def match(left: Json, right: Json) -> Json:
    """left == right; a list on the right means any of them."""
    if isinstance(right, (list, tuple)):
        right = right[0] if len(right) == 1 else {'set': list(right)}
    return {'match': {'op': '==', 'left': left, 'right': right}}


def meta(key: str) -> Json:
    """A meta expression: iifname, mark."""
    return {'meta': {'key': key}}


def ct(key: str) -> Json:
    """A conntrack expression: direction, mark."""
    return {'ct': {'key': key}}


def payload(family: str, field_name: str) -> Json:
    """An address field of the IP header of a family: saddr, daddr."""
    return {'payload': {'protocol': 'ip' if family == 'ipv4' else 'ip6', 'field': field_name}}


def masked(expression: Json, mask: int) -> Json:
    """expression & mask; nft leaves a mask of all ones out, so this does too."""
    return expression if mask == 0xFFFFFFFF else {'&': [expression, mask]}


def set_bits(expression: Json, mask: int, value: int) -> Json:
    """Put value into the bits of mask and leave every other bit as it is."""
    kept = ~mask & 0xFFFFFFFF
    source = {'|': [{'&': [expression, kept]}, value]} if kept else value
    return {'mangle': {'key': expression, 'value': source}}


def clear_bits(expression: Json, mask: int) -> Json:
    """Take the bits of mask out and leave every other bit as it is."""
    kept = ~mask & 0xFFFFFFFF
    return {'mangle': {'key': expression, 'value': {'&': [expression, kept]} if kept else 0}}


def no_way_back(*keys: str) -> Json:
    """Matches when a lookup of the source by these keys finds no route (nft(8), FIB EXPRESSIONS: oif missing)."""
    return {'match': {'op': '==', 'left': {'fib': {'result': 'oif', 'flags': list(keys)}}, 'right': False}}


def prefix_json(prefix: str) -> Json:
    """A prefix as nft writes it; a full-length one is an address."""
    address, _slash, length = prefix.partition('/')
    full = 128 if ':' in address else 32
    return address if int(length or full) == full else {'prefix': {'addr': address, 'len': int(length)}}


# --- nft's own form -------------------------------------------------------------------------------------------


def _frozen(statement: Json) -> str:
    """A statement as text that is equal for equal meaning."""
    return json.dumps(_canonical(statement), sort_keys=True, separators=(',', ':'))


def _canonical(value: Json) -> Json:
    """nft lists (x & m) | v with v's bits also in m, sets in its own order, counters as they stand: undo all that."""
    if isinstance(value, list):
        return [_canonical(item) for item in value]
    if not isinstance(value, dict):
        return value
    if 'counter' in value:
        return {'counter': None}  # what it has counted is not part of the rule
    if 'set' in value and isinstance(value['set'], list):
        return {'set': sorted((_canonical(item) for item in value['set']), key=repr)}
    if '|' in value and isinstance(value['|'], list) and len(value['|']) == 2:
        kept, bits = value['|']
        if isinstance(kept, dict) and isinstance(bits, int) and isinstance(kept.get('&'), list):
            inner, mask = kept['&']
            return {'|': [{'&': [_canonical(inner), mask & ~bits]}, bits]}
    return {key: _canonical(item) for key, item in value.items()}


# --- table <-> nft -j -----------------------------------------------------------------------------------------


def parse_table(objects: Iterable[Mapping[str, Json]]) -> Optional[NftTable]:
    """Our table out of the objects of `nft -j list ruleset`; None when it is not there."""
    found = [(kind, item) for entry in objects for kind, item in entry.items() if _is_ours(kind, item)]
    if not found:
        return None
    rules: Dict[str, List[NftRule]] = {}
    for kind, item in found:
        if kind == 'rule':
            rules.setdefault(item['chain'], []).append(rule(item.get('comment', ''), *item['expr']))
    table = NftTable(
        chains=tuple(_parse_chain(item, rules) for kind, item in found if kind == 'chain'),
        maps=tuple(_parse_map(item) for kind, item in found if kind == 'map'),
        saved=_parse_saved(item for kind, item in found if kind == 'set' and item['name'] == SAVED),
    )
    return normal(table)


def _is_ours(kind: str, item: Json) -> bool:
    if not isinstance(item, dict) or item.get('family') != FAMILY:
        return False
    return item.get('name' if kind == 'table' else 'table') == TABLE


def _parse_chain(item: Json, rules: Dict[str, List[NftRule]]) -> Chain:
    hook = Hook(item['type'], item['hook'], item['prio']) if 'hook' in item else None
    return Chain(item['name'], tuple(rules.get(item['name'], ())), hook)


def _parse_map(item: Json) -> VerdictMap:
    elements = {_address_of(key): _target_of(verdict) for key, verdict in item.get('elem', ())}
    return VerdictMap(item['name'], str(item['type']), elements)


def _address_of(key: Json) -> str:
    return key if isinstance(key, str) else repr(key)


def _target_of(verdict: Json) -> str:
    return verdict['goto']['target'] if isinstance(verdict, dict) and 'goto' in verdict else repr(verdict)


def _parse_saved(sets: Iterable[Json]) -> Dict[str, str]:
    comments = [
        element['elem'].get('comment', '')
        for item in sets
        for element in item.get('elem', ())
        if isinstance(element, dict) and 'elem' in element
    ]
    return dict(comment.rsplit('=', 1) for comment in comments if '=' in comment)


def replace_commands(table: NftTable) -> List[Json]:
    """One transaction that makes the table be exactly this, whether it was there or not."""
    return [
        _add('table', {'name': TABLE}),
        {'delete': {'table': {'family': FAMILY, 'name': TABLE}}},
        *create_commands(table),
    ]


def create_commands(table: NftTable) -> List[Json]:
    """The table from nothing: chains before the maps that go to them, maps before the rules that use them."""
    chains = sorted(table.chains, key=lambda chain: chain.hook is not None)
    return [
        _add('table', {'name': TABLE}),
        *(_add('chain', _chain_json(chain)) for chain in chains),
        *(_add('map', _map_json(item)) for item in table.maps),
        *save_commands(table.saved),
        *(_add('rule', _rule_json(chain, item)) for chain in chains for item in chain.rules),
    ]


def normal(table: Optional[NftTable]) -> Optional[NftTable]:
    """The table with its parts in one order, so that equal tables compare equal; None for an empty one."""
    if table is None or table.empty():
        return None
    chains = tuple(sorted(table.chains, key=lambda chain: (chain.hook is not None, chain.name)))
    return NftTable(chains, tuple(sorted(table.maps, key=lambda item: item.name)), table.saved)


def without_chain(table: Optional[NftTable], name: str) -> Optional[NftTable]:
    """The table without one of its chains, which no other chain goes to."""
    return (
        normal(replace(table, chains=tuple(chain for chain in table.chains if chain.name != name))) if table else None
    )


def union(before: Optional[NftTable], after: Optional[NftTable]) -> Optional[NftTable]:
    """Both tables at once: what a switch goes through, so that the new marks are set before the old ones end."""
    if before is None or after is None or before.chains == after.chains:
        return after
    old = {chain.name: chain for chain in before.chains}
    both = [replace(chain, rules=chain.rules + _others(old.pop(chain.name, None), chain)) for chain in after.chains]
    elements = {item.name: item for item in before.maps}
    for item in after.maps:
        there = elements[item.name].elements if item.name in elements else {}
        elements[item.name] = replace(item, elements={**there, **item.elements})
    return normal(NftTable((*both, *old.values()), tuple(elements.values()), after.saved))


def _others(old: Optional[Chain], new: Chain) -> Tuple[NftRule, ...]:
    return tuple(item for item in old.rules if item not in new.rules) if old else ()


def transition(before: Optional[NftTable], after: Optional[NftTable]) -> List[Json]:
    """One transaction from one table to the other; single elements where nothing else differs."""
    if before == after:
        return []
    if after is None:
        return delete_commands()
    if before is None:
        return create_commands(after)
    if before.chains != after.chains or _shapes(before) != _shapes(after):
        return replace_commands(after)
    pairs = zip(before.maps, after.maps)
    return [
        *(command for old, new in pairs for command in _element_changes(old, new)),
        *(save_commands(after.saved, there=bool(before.saved)) if before.saved != after.saved else []),
    ]


def _shapes(table: NftTable) -> List[Tuple[str, str]]:
    return [(item.name, item.type) for item in table.maps]


def _element_changes(old: VerdictMap, new: VerdictMap) -> List[Json]:
    """Elements to take away first: one whose target changes is deleted and added in the same transaction."""
    gone = {key: target for key, target in old.elements.items() if new.elements.get(key) != target}
    come = {key: target for key, target in new.elements.items() if old.elements.get(key) != target}
    return [*element_commands('delete', old.name, gone), *element_commands('add', new.name, come)]


def delete_commands() -> List[Json]:
    """The table and all in it; it is there, or nft refuses."""
    return [{'delete': {'table': {'family': FAMILY, 'name': TABLE}}}]


def element_commands(verb: str, map_name: str, elements: Mapping[str, str]) -> List[Json]:
    """Add or delete single elements of a map: what one more service sends."""
    if not elements:
        return []
    listed = [[key, {'goto': {'target': target}}] for key, target in elements.items()]
    if verb == 'delete':
        return [{'delete': {'element': _named(name=map_name, elem=[key for key, _target in listed])}}]
    return [_add('element', {'table': TABLE, 'name': map_name, 'elem': listed})]


def save_commands(saved: Mapping[str, str], there: bool = False) -> List[Json]:
    """The set that remembers sysctls, one element each with 'path=value' as its comment."""
    gone = [{'delete': {'set': _named(name=SAVED)}}] if there else []
    if not saved:
        return gone
    elements = [
        {'elem': {'val': number, 'comment': f'{path}={value}'}}
        for number, (path, value) in enumerate(sorted(saved.items()), start=1)
    ]
    return [*gone, _add('set', {'table': TABLE, 'name': SAVED, 'type': 'mark', 'elem': elements})]


def _named(**more: Json) -> Json:
    return {'family': FAMILY, 'table': TABLE, **more}


def _add(kind: str, item: Json) -> Json:
    return {'add': {kind: {'family': FAMILY, **item}}}


def _chain_json(chain: Chain) -> Json:
    base = {'table': TABLE, 'name': chain.name}
    if chain.hook is None:
        return base
    return {**base, 'type': chain.hook.type, 'hook': chain.hook.hook, 'prio': chain.hook.priority, 'policy': 'accept'}


def _map_json(item: VerdictMap) -> Json:
    elements = [[key, {'goto': {'target': target}}] for key, target in item.elements.items()]
    body = {'table': TABLE, 'name': item.name, 'type': item.type, 'map': 'verdict'}
    return {**body, 'elem': elements} if elements else body


def _rule_json(chain: Chain, item: NftRule) -> Json:
    expressions = [json.loads(text) for text in item.expressions]
    return {'table': TABLE, 'chain': chain.name, 'expr': expressions, 'comment': item.comment}
