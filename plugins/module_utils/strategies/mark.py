# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Strategy mark: replies are told by their source address, in one nft map, and marked for their network's table.

One lookup in a hash and one rule a network, however many services there are; node ports of
OVN-Kubernetes (externalTrafficPolicy Local) are looked up in one more. The output
chain is of type route: it is looked up again with the mark, so no fwmark_reflect and no
tcp_fwmark_accept are needed, for RST, ICMP and UDP as for TCP.
"""

from __future__ import annotations

from typing import Dict, List

from ..bind import Bound
from ..desired import Desired, PriorityBlock
from ..nft import Chain, NftRule, NftTable, VerdictMap, match, payload, prefix_json, rule
from ..observed import Observed
from ..values import family_of
from .common import OUTPUT, PREROUTING, base_chain, marked_desired, set_mark
from .sources import Port, ports_by_network, sources_by_network

_TYPES = {'ipv4': 'ipv4_addr', 'ipv6': 'ipv6_addr'}


def compile_mark(bound: Bound, host: Observed) -> Desired:
    """Tables, exclusions, a fwmark rule a network, and the map from source address to mark."""
    block = PriorityBlock(bound.policy.priority_base, bound.policy.priority_count)
    desired = marked_desired(bound, host, block)
    desired.nft = _table(bound)
    return desired


def _table(bound: Bound) -> NftTable:
    maps = _maps(sources_by_network(bound))
    ports = _port_maps(ports_by_network(bound))
    rules = [
        *_exclusions(bound),
        *(_lookup(family, item) for family, item in maps.items()),
        *(
            _port_lookup(family, masquerade, protocol, item)
            for protocol, item in ports.items()
            for family, masquerade in bound.policy.masquerade.items()
        ),
    ]
    marks = tuple(
        Chain(
            _chain(item.name),
            (set_mark(f'{item.name}: by its source the reply is of this network', item, bound.policy.mark_mask),),
        )
        for item in bound.attachments
    )
    return NftTable(
        chains=(*marks, base_chain('prerouting', PREROUTING, rules), base_chain('output', OUTPUT, rules)),
        maps=(*maps.values(), *ports.values()),
    )


def _maps(owner: Dict[str, str]) -> Dict[str, VerdictMap]:
    elements: Dict[str, Dict[str, str]] = {'ipv4': {}, 'ipv6': {}}
    for address, network in owner.items():
        elements[family_of(address)][address] = _chain(network)
    return {
        family: VerdictMap(f'sources_{family}', _TYPES[family], found) for family, found in elements.items() if found
    }


def _port_maps(owner: Dict[Port, str]) -> Dict[str, VerdictMap]:
    elements: Dict[str, Dict[str, str]] = {}
    for (protocol, port), network in owner.items():
        elements.setdefault(protocol, {})[str(port)] = _chain(network)
    return {
        protocol: VerdictMap(f'node_ports_{protocol}', 'inet_service', found) for protocol, found in elements.items()
    }


def _chain(network: str) -> str:
    return f'mark_{network}'


def _exclusions(bound: Bound) -> List[NftRule]:
    """Traffic to the cluster's own networks is not a reply to a client."""
    rules = []
    for family in ('ipv4', 'ipv6'):
        prefixes = [prefix_json(prefix) for prefix in bound.policy.exclude if family_of(prefix) == family]
        if prefixes:
            rules.append(
                rule('exclude: not a reply to a client', match(payload(family, 'daddr'), prefixes), {'return': None})
            )
    return rules


def _lookup(family: str, sources: VerdictMap) -> NftRule:
    return rule(
        'the source address tells the network', {'vmap': {'key': payload(family, 'saddr'), 'data': f'@{sources.name}'}}
    )


def _port_lookup(family: str, masquerade: str, protocol: str, ports: VerdictMap) -> NftRule:
    return rule(
        'the node port tells the network, externalTrafficPolicy Local',
        match(payload(family, 'saddr'), masquerade),
        {'vmap': {'key': {'payload': {'protocol': protocol, 'field': 'sport'}}, 'data': f'@{ports.name}'}},
    )
