# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Data path ovn_kubernetes and strategy egress_service: what they ask of the kernel, and what is refused."""

from __future__ import annotations

from typing import Any, Dict, List

import pytest
from ansible_collections.returntraffic.net.plugins.module_utils.bind import bind
from ansible_collections.returntraffic.net.plugins.module_utils.desired import Desired
from ansible_collections.returntraffic.net.plugins.module_utils.errors import PolicyError
from ansible_collections.returntraffic.net.plugins.module_utils.intent import parse_policy
from ansible_collections.returntraffic.net.plugins.module_utils.nft_text import table_lines
from ansible_collections.returntraffic.net.plugins.module_utils.preflight import preflight
from ansible_collections.returntraffic.net.plugins.module_utils.strategies.registry import compile_policy
from ansible_collections.returntraffic.net.plugins.module_utils.text import rule_text
from samples import make_host, make_intent

CLUSTER = {'network': 'network1', 'vips': ['192.168.10.1'], 'cluster_ips': ['10.96.0.7', 'fd00:10:96::7']}
LOCAL = {'network': 'network1', 'vips': ['192.168.10.2', 'fd00:192:168:10::2'], 'node_ports': {'tcp': [31000]}}
OTHER = {'network': 'network2', 'vips': ['192.168.11.2'], 'node_ports': {'tcp': [31001], 'udp': [31001]}}


def intent(strategy: str, *services: Dict[str, Any], **changes: Any) -> Dict[str, Any]:
    return make_intent(strategy, services=list(services), exclude=[], **changes)


def compiled(strategy: str, *services: Dict[str, Any], **changes: Any) -> Desired:
    host = make_host()
    return compile_policy(bind(parse_policy(intent(strategy, *services, **changes)), host), host)


def rules(desired: Desired) -> List[str]:
    return [rule_text(rule) for rule in desired.rules]


def test_source_tells_by_the_cluster_ip_and_by_the_node_port_of_the_masquerade_address() -> None:
    assert rules(compiled('source', CLUSTER, LOCAL, OTHER)) == [
        'ipv4 3000: from 10.96.0.7/32 lookup 3001 protocol 201',
        'ipv6 3001: from fd00:10:96::7/128 lookup 3001 protocol 201',
        'ipv4 3002: from 169.254.0.3/32 ipproto 6 sport 31000 lookup 3001 protocol 201',
        'ipv6 3003: from fd69::3/128 ipproto 6 sport 31000 lookup 3001 protocol 201',
        'ipv4 3004: from 169.254.0.3/32 ipproto 6 sport 31001 lookup 3002 protocol 201',
        'ipv4 3005: from 169.254.0.3/32 ipproto 17 sport 31001 lookup 3002 protocol 201',
    ]


def test_the_vips_themselves_are_no_sources_there() -> None:
    assert not any('192.168' in line for line in rules(compiled('source', CLUSTER, LOCAL)))


def test_an_older_cluster_has_another_masquerade_address() -> None:
    lines = rules(compiled('source', LOCAL, masquerade=['169.254.169.3']))
    assert lines == ['ipv4 3000: from 169.254.169.3/32 ipproto 6 sport 31000 lookup 3001 protocol 201']


def test_mark_has_a_map_of_node_ports_a_protocol() -> None:
    desired = compiled('mark', CLUSTER, LOCAL, OTHER)
    assert desired.nft is not None
    assert {item.name: item.elements for item in desired.nft.maps} == {
        'sources_ipv4': {'10.96.0.7': 'mark_network1'},
        'sources_ipv6': {'fd00:10:96::7': 'mark_network1'},
        'node_ports_tcp': {'31000': 'mark_network1', '31001': 'mark_network2'},
        'node_ports_udp': {'31001': 'mark_network2'},
    }
    text = '\n'.join(table_lines(desired.nft))
    assert 'ip saddr 169.254.0.3 tcp sport vmap @node_ports_tcp' in text
    assert 'ip6 saddr fd69::3 udp sport vmap @node_ports_udp' in text


def test_many_node_ports_become_a_map() -> None:
    many = [dict(LOCAL, name=f's{port}', node_ports={'udp': [port]}) for port in range(30000, 30065)]
    desired = compiled('source', *many)
    assert desired.nft is not None
    assert len(desired.nft.maps[0].elements) == 65


def test_connmark_needs_none_of_it() -> None:
    assert compiled('connmark', CLUSTER, LOCAL).rules == compiled('connmark').rules


def test_egress_service_makes_tables_and_exclusions_only() -> None:
    host = make_host()
    wanted = make_intent('egress_service', services=[])
    desired = compile_policy(bind(parse_policy(wanted), host), host)
    assert [rule_text(rule) for rule in desired.rules] == [
        'ipv4 3000: from all to 10.244.0.0/16 lookup 254 protocol 201',
        'ipv6 3001: from all to fd00:10:244::/48 lookup 254 protocol 201',
    ]
    assert {route.table for route in desired.routes} == {3001, 3002}
    assert (desired.sysctls, desired.nft, desired.vrfs) == ({}, None, {})


def test_its_vips_are_neither_addresses_nor_in_nft() -> None:
    host = make_host()
    policy = bind(parse_policy(intent('source', CLUSTER, LOCAL)), host)
    assert preflight(policy, compile_policy(policy, host), host) == []


@pytest.mark.parametrize(
    ('services', 'changes', 'match'),
    [
        (
            [dict(CLUSTER, data_path='host')],
            {},
            r"data_path: 'host': .*ovn_kubernetes needs cluster_ips",
        ),
        ([{'network': 'network1', 'vips': ['1.1.1.1'], 'data_path': 'ovn_kubernetes'}], {}, r'needs cluster_ips or'),
        ([dict(CLUSTER, backends=['10.244.0.2'])], {}, r"services\[0\]\.data_path: 'ovn_kubernetes': dnat needs"),
        ([dict(LOCAL, node_ports={'tcp': [0]})], {}, r'services\[0\]\.node_ports\.tcp: 0: must be .* from 1 to 65535'),
        ([dict(LOCAL, node_ports={'tcp': []})], {}, r'services\[0\]\.node_ports\.tcp: \[\]: needs at least 1 entry'),
        ([dict(LOCAL, node_ports={'icmp': [1]})], {}, r'services\[0\]\.node_ports\.icmp: .*known are tcp, udp, sctp'),
        ([LOCAL, dict(OTHER, node_ports={'tcp': [31000]})], {}, r'services\[1\]\.node_ports\.tcp: 31000: .*network1'),
        ([CLUSTER, dict(CLUSTER, network='network2')], {}, r'services\[1\]\.cluster_ips: .*whichever VIP was asked'),
        ([LOCAL], {'masquerade': ['169.254.0.3', '169.254.0.4']}, r'masquerade: .*at most one ipv4'),
        ([LOCAL], {'strict_reverse_path': True}, r'strict_reverse_path: True: .*use strategy connmark'),
    ],
)
def test_what_cannot_be_is_refused(services: List[Dict[str, Any]], changes: Dict[str, Any], match: str) -> None:
    with pytest.raises(PolicyError, match=match):
        compiled('source', *services, **changes)


def test_a_reverse_path_that_nobody_tells_is_refused() -> None:
    with pytest.raises(PolicyError, match='strict_reverse_path: True'):
        compiled('egress_service', strict_reverse_path=True)
