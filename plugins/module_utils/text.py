# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kernel objects as one line each, in the words of ip-rule(8) and ip-route(8)."""

from __future__ import annotations

from typing import List, Optional, Tuple

from .objects import NextHop, Route, Rule

_SCOPES = {0: '', 200: ' scope site', 253: ' scope link', 254: ' scope host', 255: ' scope nowhere'}
_FEW = slice(Rule._fields.index('fwmark'), Rule._fields.index('table'))
_NONE_OF_FEW = Rule('ipv4', 0)[_FEW]


def rule_text(rule: Rule) -> str:
    """For example `ipv4 3000: from 192.168.1.1/32 lookup 100 protocol 201`."""
    not_ = 'not ' if rule.invert else ''
    few = '' if rule[_FEW] == _NONE_OF_FEW else ''.join(_selectors(rule))
    to = f' to {rule.to}' if rule.to else ''
    head = f'{rule.family} {rule.priority}: {not_}from {rule.from_ or "all"}{to}{few}'
    return f'{head} {_action(rule)} protocol {rule.protocol}{_other(rule.other)}'


def _selectors(rule: Rule) -> List[str]:
    mark = None if rule.fwmark is None else f'{rule.fwmark:#x}' + _mask(rule.fwmask)
    values = (
        ('tos', None if rule.tos is None else f'{rule.tos:#x}'),
        ('fwmark', mark),
        ('iif', rule.iif),
        ('oif', rule.oif),
        ('ipproto', rule.ipproto),
        ('sport', _range(rule.sport)),
        ('dport', _range(rule.dport)),
        ('uidrange', _range(rule.uid)),
    )
    return [f' {name} {value}' for name, value in values if value is not None]


def _mask(mask: Optional[int]) -> str:
    return '' if mask in (None, 0xFFFFFFFF) else f'/{mask:#x}'


def _range(limits: Optional[Tuple[int, int]]) -> Optional[str]:
    if limits is None:
        return None
    return str(limits[0]) if limits[0] == limits[1] else f'{limits[0]}-{limits[1]}'


def _action(rule: Rule) -> str:
    suppress = '' if rule.suppress_prefixlength is None else f' suppress_prefixlength {rule.suppress_prefixlength}'
    if rule.l3mdev:
        return f'lookup [l3mdev-table]{suppress}'
    if rule.action == 'to-table':
        return f'lookup {rule.table}{suppress}'
    return f'goto {rule.goto}' if rule.action == 'goto' else rule.action


def route_text(route: Route) -> str:
    """For example `ipv4 table 100: default via 10.111.221.21 dev eth1 protocol 201`."""
    kind = '' if route.type == 'unicast' else f'{route.type} '
    destination = 'default' if route.destination in ('0.0.0.0/0', '::/0') else route.destination
    single = len(route.next_hops) == 1
    hops = ''.join(_hop(hop) if single else f' nexthop{_hop(hop)} weight {hop.weight}' for hop in route.next_hops)
    values = (route.from_, route.metric, route.source, route.mtu, route.tos)
    few = ''.join(f' {name} {value}' for name, value in zip(('from', 'metric', 'src', 'mtu', 'tos'), values) if value)
    scope = _SCOPES.get(route.scope, f' scope {route.scope}')
    head = f'{route.family} table {route.table}: {kind}{destination}{hops}{few}{scope}'
    return f'{head} protocol {route.protocol}{_other(route.other)}'


def _hop(hop: NextHop) -> str:
    via = f' via {hop.gateway}' if hop.gateway else ''
    device = f' dev {hop.device}' if hop.device else ''
    return via + device + (' onlink' if hop.onlink else '')


def _other(attributes: Tuple[Tuple[int, bytes], ...]) -> str:
    """What has no word of ours: the attribute's number and its bytes."""
    return ''.join(f' attribute {kind} {payload.hex()}' for kind, payload in attributes)
