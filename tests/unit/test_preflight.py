# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Preflight: what would not work is refused with its cure; what is only near is told."""

from __future__ import annotations

from typing import Any, List

import pytest
from ansible_collections.returntraffic.net.plugins.module_utils.bind import bind
from ansible_collections.returntraffic.net.plugins.module_utils.intent import parse_policy
from ansible_collections.returntraffic.net.plugins.module_utils.nft import ct, match, meta, set_bits
from ansible_collections.returntraffic.net.plugins.module_utils.objects import NextHop, Route, Rule
from ansible_collections.returntraffic.net.plugins.module_utils.preflight import (
    REFUSED,
    WARNING,
    Finding,
    overlaps,
    preflight,
)
from ansible_collections.returntraffic.net.plugins.module_utils.strategies.registry import compile_policy
from samples import make_host, make_intent


def findings(strategy: str = 'connmark', intent: Any = None, **host: Any) -> List[Finding]:
    seen = make_host(**host)
    bound = bind(parse_policy(intent or make_intent(strategy)), seen)
    return preflight(bound, compile_policy(bound, seen), seen)


def levels(found: List[Finding]) -> List[Any]:
    return [(item.level, item.check, item.subject) for item in found]


def test_a_good_host_has_nothing_to_say() -> None:
    for strategy in ('static', 'source', 'mark', 'connmark'):
        assert findings(strategy) == []


def test_nft_is_needed_where_marks_are() -> None:
    missing = {'nft_missing': 'nft is not installed', 'foreign_nft': None}
    assert levels(findings('connmark', **missing)) == [(REFUSED, 'nft', 'nft')]
    assert findings('source', **missing) == []


def test_a_setting_that_would_have_to_change_is_refused_where_it_can_only_be_read() -> None:
    loose = {**make_host().sysctls, 'net/ipv4/conf/all/rp_filter': '2'}
    strict = {**make_host().sysctls, 'net/ipv4/conf/eth1/rp_filter': '1', 'net/ipv4/conf/eth2/rp_filter': '2'}
    refused = levels(findings('connmark', sysctls=strict, sysctls_read_only=True))
    assert refused == [(REFUSED, 'sysctl', 'net/ipv4/conf/eth1/rp_filter')]
    assert findings('connmark', sysctls=strict) == []
    assert findings('connmark', sysctls=loose, sysctls_read_only=True) == []
    assert findings('source', sysctls=strict, sysctls_read_only=True) == []


def test_no_default_route_is_refused_for_marks_unless_there_is_a_fallback() -> None:
    assert levels(findings(routes=())) == [(REFUSED, 'default_route', 'ipv4'), (REFUSED, 'default_route', 'ipv6')]
    assert findings(intent=make_intent(fallback_default=True), routes=()) == []
    assert findings('source', routes=()) == []


def test_backends_need_forwarding() -> None:
    off = {**make_host().sysctls, 'net/ipv4/ip_forward': '0'}
    assert levels(findings(sysctls=off)) == [(REFUSED, 'forwarding', 'net/ipv4/ip_forward')]


@pytest.mark.parametrize(
    ('vip', 'nft', 'refused'),
    [
        ('192.168.1.1', [], False),
        ('192.168.9.9', [], False),  # inside a local route of the sample host
        ('192.168.8.8', [], True),
        ('192.168.8.8', [{'rule': {'expr': [{'match': {'left': {}, 'right': '192.168.8.8'}}]}}], False),
        ('192.168.8.8', [{'map': {'elem': [[{'concat': ['192.168.8.8', 'tcp', 80]}, {'goto': 'x'}]]}}], False),
    ],
)
def test_a_vip_is_an_address_or_translated(vip: str, nft: Any, refused: bool) -> None:
    services = [{'name': 'web', 'network': 'network1', 'vips': [vip]}]
    found = findings(intent=make_intent(services=services), foreign_nft=nft)
    assert levels(found) == ([(REFUSED, 'vip', f'web {vip}')] if refused else [])
    assert findings(intent=make_intent(services=services, check_vips=False), foreign_nft=nft) == []


def test_a_table_with_routes_of_others_is_refused() -> None:
    stranger = Route('ipv4', 3001, '10.0.0.0/8', next_hops=(NextHop(device='eth0'),), protocol=4)
    found = findings(routes=(*make_host().routes, stranger))
    assert levels(found) == [(REFUSED, 'table', '3001')]
    assert found[0].cure == 'give network network1 another table'


def test_a_priority_of_ours_is_refused_and_one_in_our_block_is_told() -> None:
    taken = Rule('ipv4', 3002, from_='10.9.0.0/16', table=254, protocol=3)
    assert levels(findings(rules=(taken,))) == [(REFUSED, 'priority', 'ipv4 3002')]
    assert levels(findings(rules=(taken._replace(priority=3500),))) == [(WARNING, 'priority', 'ipv4 3500')]
    assert findings(rules=(taken._replace(priority=30000),)) == []


def test_a_mark_of_ours_is_refused_and_bits_of_ours_are_told() -> None:
    rule = Rule('ipv4', 100, fwmark=0x10000, fwmask=0xFF0000, table=9, protocol=3)
    found = levels(findings(rules=(rule,)))
    assert (REFUSED, 'mark', 'rule ipv4 100') in found
    ovn = rule._replace(priority=30, fwmark=0x1745EC, fwmask=0xFFFFFFFF)
    assert levels(findings(rules=(ovn,))) == [(WARNING, 'mark', 'rule ipv4 30')]
    assert findings(rules=(rule._replace(fwmark=0x4000, fwmask=0x4000),)) == []


@pytest.mark.parametrize(
    ('statement', 'told'),
    [
        (set_bits(meta('mark'), 0xFFFFFFFF, 1), True),
        (set_bits(ct('mark'), 0x4000, 0x4000), False),
        (set_bits(ct('mark'), 0x20000, 0x20000), True),
        ({'mangle': {'key': meta('priority'), 'value': 1}}, False),
        ({'mangle': {'key': meta('mark'), 'value': {'|': [meta('mark'), 0x4000]}}}, False),
    ],
)
def test_marks_that_nft_rules_of_others_write_are_told(statement: Any, told: bool) -> None:
    rule = {'rule': {'family': 'ip', 'table': 'mangle', 'chain': 'x', 'expr': [statement]}}
    found = levels(findings(foreign_nft=[rule]))
    assert found == ([(WARNING, 'mark', 'nft ip mangle x')] if told else [])


def test_src_valid_mark_is_told() -> None:
    on = {**make_host().sysctls, 'net/ipv4/conf/all/src_valid_mark': '1'}
    assert [item.check for item in findings(sysctls=on)] == ['src_valid_mark']


def test_overlaps_are_seen_without_a_policy() -> None:
    host = make_host(rules=(Rule('ipv6', 3999, table=7, protocol=3), Rule('ipv4', 4000, table=7, protocol=3)))
    assert [item.subject for item in overlaps(host, 3000, 1000, 0xFF0000)] == ['ipv6 3999']


def flowtable_rule(*matches: Any) -> Any:
    """A rule of others as `nft -j` lists it."""
    return {
        'rule': {
            'family': 'inet', 'table': 'fastpath', 'chain': 'forward',
            'expr': [*matches, {'flow': {'op': 'add', 'flowtable': '@fast'}}],
        }
    }  # fmt: skip


def test_a_flowtable_that_requests_fill_is_told_where_marks_are() -> None:
    established = match(ct('state'), 'established')
    any_direction = [flowtable_rule(established), flowtable_rule(established)]
    for strategy in ('mark', 'connmark'):
        told = findings(strategy, foreign_nft=any_direction)
        assert levels(told) == [(WARNING, 'flowtable', 'nft inet fastpath forward')]
        assert 'ct direction reply' in told[0].cure
    for strategy in ('static', 'source', 'vrf'):
        assert findings(strategy, foreign_nft=any_direction) == []
    assert findings('connmark', foreign_nft=[flowtable_rule(match(ct('direction'), 'reply'))]) == []
