# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Strategy source: replies are told by their source address, with `from` rules.

Needs no nft and no sysctl, and passes strict rp_filter: the reverse lookup has the VIP
(after DNAT the pod) as its source and meets the same rule. A rule costs every packet of
the host about 20 ns, so addresses become prefixes, and beyond RULES_A_NETWORK of those
one nft map instead (see mark.py).
"""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Sequence, Tuple

from ..bind import Attachment, Bound
from ..desired import Desired, PriorityBlock
from ..intent import PROTOCOLS
from ..kernel.prefixes import canonical_prefix
from ..objects import Rule
from ..observed import Observed
from ..values import collapse, family_of
from .common import all_tables, exclusion_rules
from .mark import compile_mark
from .sources import Port, ports_by_network, sources_by_network

#: `from` rules a network and family before a map is the better mechanism (64 rules cost about 1.3 us a packet).
RULES_A_NETWORK = 64


def compile_source(bound: Bound, host: Observed) -> Desired:
    """Tables, exclusions, and a rule for each prefix of source addresses and each node port."""
    prefixes = _prefixes(sources_by_network(bound))
    ports = _ports(ports_by_network(bound))
    if _most(prefixes) + _most(ports) > RULES_A_NETWORK:
        return compile_mark(bound, host)
    block = PriorityBlock(bound.policy.priority_base, bound.policy.priority_count)
    rules = exclusion_rules(bound, block)
    for item in bound.attachments:
        rules.update(_from_rules(item, prefixes, block))
        rules.update(_port_rules(item, ports.get(item.name, []), bound.policy.masquerade, block))
    return Desired(rules=rules, routes=all_tables(bound.attachments))


def _most(grouped: Mapping[Any, Sequence[Any]]) -> int:
    return max((len(found) for found in grouped.values()), default=0)


def _from_rules(item: Attachment, prefixes: Dict[Tuple[str, str], List[str]], block: PriorityBlock) -> Dict[Rule, str]:
    return {
        Rule(family, block.take(), from_=prefix, table=item.table): f'{item.name}: replies from {prefix} use its table'
        for family in item.families
        for prefix in prefixes.get((item.name, family), ())
    }


def _port_rules(
    item: Attachment, ports: List[Port], masquerade: Dict[str, str], block: PriorityBlock
) -> Dict[Rule, str]:
    return {
        Rule(
            family,
            block.take(),
            from_=canonical_prefix(masquerade[family]),
            ipproto=PROTOCOLS[protocol],
            sport=(port, port),
            table=item.table,
        ): f'{item.name}: replies of node port {port}/{protocol}, externalTrafficPolicy Local, use its table'
        for family in item.families
        if family in masquerade
        for protocol, port in ports
    }


def _ports(owner: Dict[Port, str]) -> Dict[str, List[Port]]:
    grouped: Dict[str, List[Port]] = {}
    for port, name in sorted(owner.items()):
        grouped.setdefault(name, []).append(port)
    return grouped


def _prefixes(owner: Dict[str, str]) -> Dict[Tuple[str, str], List[str]]:
    """(network, family) -> the fewest prefixes that cover exactly its addresses."""
    grouped: Dict[Tuple[str, str], List[str]] = {}
    for address, name in owner.items():
        grouped.setdefault((name, family_of(address)), []).append(address)
    return {key: collapse(addresses) for key, addresses in grouped.items()}
