# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each strategy asks of the kernel, and what it refuses."""

from __future__ import annotations

from typing import Any, List

import pytest
from ansible_collections.returntraffic.net.plugins.module_utils.bind import Bound, bind
from ansible_collections.returntraffic.net.plugins.module_utils.desired import Desired
from ansible_collections.returntraffic.net.plugins.module_utils.errors import PolicyError
from ansible_collections.returntraffic.net.plugins.module_utils.intent import parse_policy
from ansible_collections.returntraffic.net.plugins.module_utils.nft import NftTable
from ansible_collections.returntraffic.net.plugins.module_utils.nft_text import table_lines
from ansible_collections.returntraffic.net.plugins.module_utils.objects import Rule, Sysctl
from ansible_collections.returntraffic.net.plugins.module_utils.observed import MAIN, Observed
from ansible_collections.returntraffic.net.plugins.module_utils.strategies.common import GUARD_METRIC
from ansible_collections.returntraffic.net.plugins.module_utils.strategies.registry import COMPILERS, compile_policy
from samples import make_host, make_intent


def bound(host: Observed, strategy: str, **changes: Any) -> Bound:
    return bind(parse_policy(make_intent(strategy, **changes)), host)


def compiled(strategy: str, **changes: Any) -> Desired:
    host = make_host()
    return compile_policy(bound(host, strategy, **changes), host)


def selectors(desired: Desired) -> List[str]:
    return [
        f'{rule.priority} {rule.from_ or rule.to or hex(rule.fwmark or 0)} {rule.table}'
        for rule in desired.rules
        if rule.family == 'ipv4'
    ]


def test_static_is_one_route_a_client_network_and_nothing_else() -> None:
    desired = compiled('static')
    assert [(route.destination, route.table, route.next_hops[0].gateway) for route in desired.routes] == [
        ('10.111.223.0/24', MAIN, '10.111.221.21'),
        ('fd00:10:111:223::/64', MAIN, 'fd00:10:111:221::21'),
        ('10.111.224.0/24', MAIN, '10.111.222.21'),
    ]
    assert (desired.rules, desired.sysctls, desired.nft) == ({}, {}, None)


def test_source_has_exclusions_first_then_a_rule_an_address() -> None:
    desired = compiled('source')
    assert selectors(desired) == [
        '3000 10.244.0.0/16 254',
        '3002 10.244.0.2/32 3001',
        '3003 192.168.1.1/32 3001',
        '3005 192.168.2.1/32 3002',
    ]
    assert (desired.sysctls, desired.nft) == ({}, None)


def test_addresses_side_by_side_become_one_prefix() -> None:
    services = [{'network': 'network1', 'vips': [f'192.168.1.{last}']} for last in range(16)]
    assert selectors(compiled('source', services=services))[1:] == ['3002 192.168.1.0/28 3001']


def test_addresses_that_no_prefix_holds_become_one_map_and_one_rule_a_network() -> None:
    services = [{'network': 'network1', 'vips': [f'10.{last}.0.1']} for last in range(65)]
    desired = compiled('source', services=services)
    assert selectors(desired)[1:] == ['3002 0x10000 3001', '3003 0x20000 3002']
    assert desired.nft is not None
    assert len(desired.nft.maps[0].elements) == 65


def test_mark_has_one_rule_a_network_and_a_map_a_family() -> None:
    desired = compiled('mark')
    assert selectors(desired)[1:] == ['3002 0x10000 3001', '3003 0x20000 3002']
    assert desired.nft is not None
    assert {item.name: item.elements for item in desired.nft.maps} == {
        'sources_ipv4': {
            '192.168.1.1': 'mark_network1',
            '10.244.0.2': 'mark_network1',
            '192.168.2.1': 'mark_network2',
        },
        'sources_ipv6': {'fd00:192:168:1::1': 'mark_network1'},
    }


def test_connmark_reads_as_what_it_does() -> None:
    table = compiled('connmark').nft
    assert table is not None
    text = '\n'.join(table_lines(table))
    assert 'chain output (type route hook output priority -150)' in text
    assert (
        'chain prerouting: iifname eth1 ct direction original ct mark set ct mark & 0xff00ffff | 0x00010000 '
        'comment "network1: remember that the connection came in by eth1"'
    ) in text
    assert (
        'ct direction reply ct mark & 0x00ff0000 == 0x00020000 meta mark set meta mark & 0xff00ffff | 0x00020000'
        in text
    )


@pytest.mark.parametrize('strategy', ['mark', 'connmark'])
def test_strict_reverse_path_is_made_loose_on_the_networks_only(strategy: str) -> None:
    assert list(compiled(strategy).sysctls) == [
        Sysctl('net/ipv4/conf/eth1/rp_filter', '2'),
        Sysctl('net/ipv4/conf/eth2/rp_filter', '2'),
    ]


@pytest.mark.parametrize('effective', ['0', '2'])
def test_loose_or_no_reverse_path_is_left_alone(effective: str) -> None:
    host = make_host(sysctls={'net/ipv4/conf/all/rp_filter': effective})
    assert compile_policy(bound(host, 'connmark'), host).sysctls == {}


def test_a_value_we_set_ourselves_is_kept_as_long_as_it_is_needed() -> None:
    path = 'net/ipv4/conf/eth1/rp_filter'
    host = make_host(sysctls={'net/ipv4/conf/all/rp_filter': '1', path: '2'}, nft=NftTable(saved={path: '0'}))
    assert Sysctl(path, '2') in compile_policy(bound(host, 'connmark'), host).sysctls


def test_every_table_knows_its_neighbours_and_fails_closed() -> None:
    routes = [route for route in compiled('connmark').routes if route.table == 3001 and route.family == 'ipv4']
    assert [(route.type, route.destination) for route in routes] == [
        ('unicast', '10.111.221.0/24'),
        ('unicast', '0.0.0.0/0'),
        ('unreachable', '0.0.0.0/0'),
    ]
    assert routes[2].metric == GUARD_METRIC


def test_a_host_without_a_default_route_gets_a_last_resort_when_asked() -> None:
    host = make_host(routes=())
    with_fallback = compile_policy(bound(host, 'connmark', fallback_default=True), host)
    assert Rule('ipv4', 33000, table=3001) in with_fallback.rules
    assert not any(rule.priority == 33000 for rule in compile_policy(bound(host, 'connmark'), host).rules)


@pytest.mark.parametrize('strategy', sorted(COMPILERS))
def test_every_object_says_why_it_is_there(strategy: str) -> None:
    desired = compiled(strategy)
    reasons = [*desired.rules.values(), *desired.routes.values(), *desired.sysctls.values()]
    comments = [item.comment for chain in desired.nft.chains for item in chain.rules] if desired.nft else []
    assert all(len(reason) > 20 for reason in [*reasons, *comments])


@pytest.mark.parametrize('strategy', ['source', 'mark', 'connmark'])
def test_a_block_too_small_is_refused(strategy: str) -> None:
    with pytest.raises(PolicyError, match='priority_count: 3: the block is too small'):
        compiled(strategy, priority_count=3)


@pytest.mark.parametrize('strategy', ['source', 'mark'])
@pytest.mark.parametrize(
    ('services', 'match'),
    [
        ([], r'services: \[\]: strategy \w+ selects by source address'),
        (
            [
                {'network': 'network1', 'vips': ['192.168.1.1'], 'backends': ['10.244.0.2']},
                {'network': 'network2', 'vips': ['192.168.2.1'], 'backends': ['10.244.0.2']},
            ],
            r"services\[1\]\.backends: '10\.244\.0\.2': is reached over network1 too; .* use strategy connmark",
        ),
        (
            [{'network': 'network1', 'vips': ['192.168.1.1']}, {'network': 'network2', 'vips': ['192.168.1.1']}],
            r"services\[1\]\.vips: '192\.168\.1\.1': is reached over network1 too",
        ),
        (
            [{'network': 'network2', 'vips': ['fd00::1']}],
            r"services\[0\]\.vips: 'fd00::1': network2 has no ipv6 gateway",
        ),
    ],
)
def test_what_a_source_address_cannot_tell_is_refused(strategy: str, services: List[Any], match: str) -> None:
    with pytest.raises(PolicyError, match=match):
        compiled(strategy, services=services)


@pytest.mark.parametrize(
    ('clients', 'match'),
    [
        ([], r'networks\[1\]\.clients: \[\]: strategy static needs'),
        (['10.111.223.0/24'], r"networks\[1\]\.clients: '10\.111\.223\.0/24': is behind network1 too"),
        (['fd00::/64'], r"networks\[1\]\.clients: 'fd00::/64': network2 has no ipv6 gateway"),
    ],
)
def test_what_a_static_route_cannot_do_is_refused(clients: List[str], match: str) -> None:
    networks = make_intent()['networks']
    networks[1]['clients'] = clients
    with pytest.raises(PolicyError, match=match):
        compiled('static', networks=networks)
