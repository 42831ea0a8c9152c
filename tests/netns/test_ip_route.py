# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ip_route against a kernel."""

from __future__ import annotations

from typing import Any, Dict, Iterator, List

import pytest
from modules import run_module
from namespaces import Namespace

OURS = '202'
LINKS = """
link add bridge0 type bridge
link add bridge1 type bridge
link set bridge0 addrgenmode none
link set bridge1 addrgenmode none
addr add 10.0.0.1/24 dev bridge0
addr add 10.0.1.1/24 dev bridge1
addr add fd00::1/64 dev bridge0
addr add fd00:1::1/64 dev bridge1
link set bridge0 up
link set bridge1 up
"""
FOREIGN = """
route add 10.9.0.0/16 via 10.0.0.9 table 3001 proto 186
route add default via 10.0.0.9 table 3001 metric 50
route add default via 10.0.0.9
"""
TWO_WAYS = [{'gateway': '10.0.0.2', 'weight': 3}, {'gateway': '10.0.1.2', 'device': 'bridge1'}]
TWO_WAYS6 = [{'gateway': 'fd00::2', 'weight': 3}, {'gateway': 'fd00:1::2'}]
FAR = {'gateway': '99.0.0.9', 'device': 'bridge0', 'onlink': True}
ROUTES: List[Dict[str, Any]] = [
    {'destination': 'default', 'gateway': '10.0.0.2', 'table': 3001},
    {'destination': 'default', 'gateway': 'FD00::2', 'device': 'bridge0', 'table': 3001, 'mtu': 1400},
    {'destination': 'default', 'type': 'unreachable', 'family': 'both', 'table': 3001, 'metric': 4278198272},
    {'destination': '10.5.0.0/16', 'table': '3001', 'next_hops': TWO_WAYS},
    {'destination': 'fd05::/16', 'table': 3001, 'next_hops': TWO_WAYS6},
    {'destination': '10.6.0.0/16', 'device': 'bridge1', 'source': '10.0.1.1', 'mtu': 1300},
    {'destination': '10.7.0.0/16', 'gateway': 'fe80::1', 'device': 'bridge0'},
    {'destination': 'fd07::/16', 'gateway': 'fd99::1', 'device': 'bridge0', 'onlink': True, 'metric': 7},
    {'destination': '10.8.0.1', 'type': 'local', 'device': 'lo', 'table': 78},
    {'destination': 'fd08::1', 'type': 'blackhole', 'table': 78},
    {'destination': '10.8.0.0/24', 'type': 'throw', 'table': 78},
    {'destination': '10.50.0.0/16', 'table': 'main', 'metric': 3, **FAR},
]


@pytest.fixture
def networks(namespace: Namespace) -> Iterator[Namespace]:
    namespace.batch(LINKS + FOREIGN)
    namespace.batch('route add fd09::/16 via fd00::9 table 3001 proto 186\n', '-6')
    namespace.await_local_routes('fd00::1', 'fd00:1::1')
    yield namespace


def both(namespace: Namespace) -> List[Any]:
    return [namespace.ip(option, 'route', 'show', 'table', 'all') for option in ('-4', '-6')]


def ours(namespace: Namespace) -> List[Any]:
    return [route for family in both(namespace) for route in family if route['protocol'] == OURS]


def others(namespace: Namespace) -> List[Any]:
    return [[route for route in family if route['protocol'] != OURS] for family in both(namespace)]


def test_what_the_kernel_then_has(networks: Namespace) -> None:
    answer = run_module(networks, 'ip_route', routes=ROUTES)
    assert answer['changed'] is True
    assert len(answer['added']) == 13
    assert len(ours(networks)) == 13
    shown = {(route['table'], route['dst'], route.get('metric', 0)): route for route in ours(networks)}
    default = shown['3001', 'default', 1024]
    assert (default['gateway'], default['dev'], default['metrics']) == ('fd00::2', 'bridge0', [{'mtu': 1400}])
    assert shown['3001', 'default', 4278198272]['type'] == '7'
    assert [hop['weight'] for hop in shown['3001', '10.5.0.0/16', 0]['nexthops']] == [3, 1]
    assert [hop['dev'] for hop in shown['3001', 'fd05::/16', 1024]['nexthops']] == ['bridge0', 'bridge1']
    assert shown['254', '10.6.0.0/16', 0]['prefsrc'] == '10.0.1.1'
    assert shown['254', '10.7.0.0/16', 0]['via'] == {'family': 'inet6', 'host': 'fe80::1'}
    assert shown['254', 'fd07::/16', 7]['flags'] == ['onlink']
    assert (shown['78', '10.8.0.1', 0]['type'], shown['78', '10.8.0.1', 0]['scope']) == ('2', '254')
    assert shown['78', 'fd08::1', 1024]['type'] == '6'


def test_a_second_run_changes_nothing(networks: Namespace) -> None:
    run_module(networks, 'ip_route', routes=ROUTES)
    before = both(networks)
    answer = run_module(networks, 'ip_route', routes=ROUTES, purge=True)
    assert (answer['changed'], answer['added'], answer['removed'], answer['replaced']) == (False, [], [], [])
    assert answer['diff']['before'] == answer['diff']['after']
    assert both(networks) == before


@pytest.mark.parametrize('options', [{}, {'purge': True}, {'purge': True, 'tables': [78]}, {'state': 'absent'}])
def test_check_mode_predicts_the_run(networks: Namespace, options: Dict[str, Any]) -> None:
    run_module(networks, 'ip_route', routes=ROUTES)
    before = both(networks)
    moved = [{**ROUTES[0], 'gateway': '10.0.1.2'}, *ROUTES[1:5], {'destination': '10.66.0.0/16', 'device': 'bridge0'}]
    routes = ROUTES[2:7] if 'state' in options else moved
    predicted = run_module(networks, 'ip_route', check=True, routes=routes, **options)
    assert both(networks) == before
    done = run_module(networks, 'ip_route', routes=routes, **options)
    for key in ('changed', 'added', 'removed', 'replaced', 'diff'):
        assert predicted[key] == done[key]
    assert done['changed'] is True
    assert run_module(networks, 'ip_route', routes=routes, **options)['changed'] is False


def test_a_gateway_changes_in_place(networks: Namespace) -> None:
    run_module(networks, 'ip_route', routes=ROUTES)
    moved = [
        {**ROUTES[0], 'gateway': '10.0.1.2'},
        {**ROUTES[1], 'gateway': 'fd00:1::2', 'device': 'bridge1'},
        {**ROUTES[4], 'next_hops': [{'gateway': 'fd00::2'}, {'gateway': 'fd00::3'}]},
        {'destination': 'fd08::1', 'gateway': 'fd00::2', 'table': 78},
    ]
    answer = run_module(networks, 'ip_route', routes=moved)
    assert len(answer['replaced']) == 4
    assert (answer['added'], answer['removed']) == ([], [])
    assert len(ours(networks)) == 13
    shown = {(route['table'], route['dst'], route.get('metric', 0)): route for route in ours(networks)}
    assert shown['3001', 'default', 0]['gateway'] == '10.0.1.2'
    assert shown['3001', 'default', 1024]['dev'] == 'bridge1'
    assert [hop['gateway'] for hop in shown['3001', 'fd05::/16', 1024]['nexthops']] == ['fd00::2', 'fd00::3']
    assert shown['78', 'fd08::1', 1024]['type'] == '1'
    assert run_module(networks, 'ip_route', routes=moved)['changed'] is False


def test_routes_of_others_stay(networks: Namespace) -> None:
    before = both(networks)
    run_module(networks, 'ip_route', routes=ROUTES)
    assert others(networks) == before
    run_module(networks, 'ip_route', routes=ROUTES[5:], state='absent')
    run_module(networks, 'ip_route', routes=[], purge=True)
    assert both(networks) == before


def test_a_foreign_route_in_the_way_is_told_before_the_kernel_is_asked(networks: Namespace) -> None:
    before = both(networks)
    routes = [*ROUTES, {'destination': '10.9.0.0/16', 'device': 'lo', 'table': 3001}]
    for check in (True, False):
        answer = run_module(networks, 'ip_route', check=check, routes=routes)
        assert answer['msg'] == (
            "routes[12].destination: '10.9.0.0/16': table 3001 has a route of protocol 186 with metric 0 to it; "
            'choose another metric or table'
        )
    assert both(networks) == before


def test_absent_needs_the_same_gateway_if_one_is_given(networks: Namespace) -> None:
    run_module(networks, 'ip_route', routes=ROUTES)
    other = [{'destination': 'default', 'gateway': '10.0.0.77', 'table': 3001}]
    assert run_module(networks, 'ip_route', routes=other, state='absent')['changed'] is False
    bare = [{'destination': 'default', 'table': 3001}, {'destination': '10.5.0.0/16', 'table': 3001}]
    answer = run_module(networks, 'ip_route', routes=bare, state='absent')
    assert answer['removed'] == [
        'ipv4 table 3001: default via 10.0.0.2 dev bridge0 protocol 202',
        'ipv4 table 3001: 10.5.0.0/16 nexthop via 10.0.0.2 dev bridge0 weight 3'
        ' nexthop via 10.0.1.2 dev bridge1 weight 1 protocol 202',
    ]


def test_what_the_kernel_refuses_is_taken_back(networks: Namespace) -> None:
    run_module(networks, 'ip_route', routes=ROUTES[:6])
    before = both(networks)
    refused = [
        {**ROUTES[0], 'gateway': '10.0.1.2'},
        *ROUTES[6:],
        {'destination': '10.77.0.0/16', 'gateway': '77.7.7.7'},
    ]
    answer = run_module(networks, 'ip_route', routes=refused, purge=True)
    assert answer['failed'] is True
    assert 'add ipv4 table 254: 10.77.0.0/16 via 77.7.7.7 protocol 202: Nexthop has invalid gateway' in answer['msg']
    assert 'nothing was changed' in answer['msg']
    assert both(networks) == before


@pytest.mark.parametrize(
    ('routes', 'said'),
    [
        ([{'destination': '10.1', 'device': 'lo'}], "routes[0].destination: '10.1': "),
        ([{'destination': '10.1.1.1/8', 'device': 'lo'}], 'the network is 10.0.0.0/8'),
        ([{'destination': 'fd00::/64', 'gateway': '10.0.0.2'}], "routes[0].gateway: '10.0.0.2': must be of family"),
        ([{'destination': 'default'}], 'routes[0].gateway: None: type unicast needs gateway, device or next_hops'),
        ([{'destination': 'default', 'device': 'nope0'}], 'there are bridge0, bridge1, lo'),
        ([{'destination': 'default', 'type': 'throw', 'device': 'lo'}], "routes[0].device: 'lo': not allowed with"),
        (
            [{'destination': 'default', 'device': 'lo'}, {'destination': '0.0.0.0/0', 'device': 'bridge0'}],
            "routes[1].destination: '0.0.0.0/0': same table, destination and metric as routes[0]",
        ),
        ([{'destination': 'default', 'next_hops': [{'weight': 5}]}], 'routes[0].next_hops[0].gateway: None: '),
        ([{'destination': 'default', 'next_hops': []}], 'routes[0].next_hops: []: '),
    ],
)
def test_bad_input_is_one_line_and_changes_nothing(networks: Namespace, routes: List[Any], said: str) -> None:
    before = both(networks)
    answer = run_module(networks, 'ip_route', routes=routes)
    assert answer['failed'] is True
    assert said in answer['msg'] and '\n' not in answer['msg']
    assert both(networks) == before
