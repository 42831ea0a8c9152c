# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Strategy vrf: what it asks for, how interfaces move, and what it refuses. Packets: tests/kernels."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.returntraffic.net.plugins.module_utils.bind import bind
from ansible_collections.returntraffic.net.plugins.module_utils.desired import Desired
from ansible_collections.returntraffic.net.plugins.module_utils.errors import PolicyError
from ansible_collections.returntraffic.net.plugins.module_utils.intent import parse_policy
from ansible_collections.returntraffic.net.plugins.module_utils.objects import (
    ALIAS,
    Link,
    NextHop,
    Route,
    Rule,
    Sysctl,
    Vrf,
)
from ansible_collections.returntraffic.net.plugins.module_utils.observed import MAIN, Observed
from ansible_collections.returntraffic.net.plugins.module_utils.plan import Plan, make_plan
from ansible_collections.returntraffic.net.plugins.module_utils.preflight import preflight, refusals
from ansible_collections.returntraffic.net.plugins.module_utils.strategies.registry import compile_policy
from samples import make_host, make_intent

#: A route of somebody through an interface that moves.
STATIC = Route('ipv4', MAIN, '172.20.0.0/16', next_hops=(NextHop('10.111.221.99', 'eth1'),), protocol=4)
CONNECTED = Route('ipv4', MAIN, '10.111.221.0/24', next_hops=(NextHop(device='eth1'),), scope=253, protocol=2)


def compiled(host: Observed, **changes: Any) -> Desired:
    return compile_policy(bind(parse_policy(make_intent('vrf', **changes)), host), host)


def planned(host: Observed, **changes: Any) -> Plan:
    return make_plan(compiled(host, **changes), host)


def host_with(*links: Link, **changes: Any) -> Observed:
    """The sample host with these links added, or in the place of those of the same name."""
    names = {link.name for link in links}
    return make_host(links=(*(link for link in make_host().links if link.name not in names), *links), **changes)


def test_each_network_is_a_vrf_on_its_own_table() -> None:
    desired = compiled(make_host())
    assert list(desired.vrfs) == [Vrf('vrf-network1', 3001, 'eth1'), Vrf('vrf-network2', 3002, 'eth2')]


def test_exclusions_stand_above_the_l3mdev_rule_wherever_it_is() -> None:
    for host, first in ((make_host(), 998), (make_host(rules=(Rule('ipv4', 500, l3mdev=True, protocol=2),)), 498)):
        found = [rule.priority for rule in compiled(host).rules if rule.to]
        assert found == [first, first + 1]


def test_too_many_exclusions_for_the_place_above_are_refused() -> None:
    host = make_host(rules=(Rule('ipv4', 2, l3mdev=True, protocol=2),))
    with pytest.raises(PolicyError, match='exclude: 2: more than fit above the l3mdev rule at 2'):
        compiled(host)


def test_the_kernel_moves_subnets_itself_and_rp_filter_stays() -> None:
    desired = compiled(make_host())
    assert not any(route.destination == '10.111.221.0/24' for route in desired.routes)
    assert not any('rp_filter' in item.path for item in desired.sysctls)
    assert Sysctl('net/ipv4/tcp_l3mdev_accept', '1') in desired.sysctls
    assert Sysctl('net/ipv6/conf/eth1/keep_addr_on_down', '1') in desired.sysctls


def test_an_interface_takes_its_routes_along() -> None:
    plan = planned(make_host(routes=(*make_host().routes, STATIC, CONNECTED)))
    assert [(move.nic, move.before, move.after) for move in plan.moves] == [
        ('eth1', None, 'vrf-network1'),
        ('eth2', None, 'vrf-network2'),
    ]
    assert plan.moves[0].routes_before == (STATIC,)
    assert STATIC in plan.moves[0].routes_after
    assert any(route.table == 3001 and route.protocol != 4 for route in plan.moves[0].routes_after)
    # What hangs on no interface does not have to wait for the move.
    assert {route.type for route in plan.add_routes} == {'unreachable'}


def test_absent_moves_back_with_the_routes_of_others() -> None:
    vrf = Link(9, 'vrf-network1', kind='vrf', vrf_table=3001, alias=ALIAS)
    host = host_with(vrf, Link(3, 'eth1', master='vrf-network1'), routes=(STATIC,))
    plan = make_plan(Desired(), host)
    assert [(move.nic, move.before, move.after, move.routes_after) for move in plan.moves] == [
        ('eth1', 'vrf-network1', None, (STATIC,))
    ]
    assert plan.delete_links == (vrf,)


def test_a_vrf_of_others_with_that_name_and_table_is_taken_as_it_is() -> None:
    vrf = Link(9, 'blue', kind='vrf', vrf_table=77)
    host = host_with(vrf, Link(3, 'eth1', '02:00:00:00:00:03', master='blue'))
    networks = [{**make_intent()['networks'][0], 'vrf': 'blue'}]
    plan = planned(host, networks=networks, services=[])
    assert (plan.add_vrfs, plan.moves) == ((), ())
    assert {route.table for route in plan.add_routes} == {77}
    assert make_plan(Desired(), host).delete_links == ()


def test_the_routes_of_a_vrf_of_others_are_not_made_a_second_time() -> None:
    links = (Link(9, 'blue', kind='vrf', vrf_table=77), Link(3, 'eth1', '02:00:00:00:00:03', master='blue'))
    theirs = Route('ipv4', 77, '0.0.0.0/0', next_hops=(NextHop('10.111.221.21', 'eth1'),), protocol=4)
    whole = {'networks': [{**make_intent()['networks'][0], 'vrf': 'blue'}], 'services': []}
    host = host_with(*links, routes=(*make_host().routes, theirs))
    wanted = compiled(host, **whole).routes
    assert theirs._replace(protocol=201) not in wanted
    # What is ours stays ours.
    again = host_with(*links, routes=(*make_host().routes, theirs, *wanted))
    assert compiled(again, **whole).routes == wanted
    other = theirs._replace(next_hops=(NextHop('10.111.221.99', 'eth1'),))
    with pytest.raises(PolicyError, match='there is one already with protocol 4, which is not ours to replace'):
        planned(host_with(*links, routes=(*make_host().routes, other)), **whole)


@pytest.mark.parametrize(
    ('links', 'changes', 'match'),
    [
        ((Link(9, 'red', kind='vrf', vrf_table=5), Link(3, 'eth1', master='red')), {}, 'is in VRF red of others'),
        ((Link(9, 'br0', kind='bridge'), Link(3, 'eth1', master='br0')), {}, r'is in br0 \(bridge\)'),
        ((Link(9, 'vrf-network1', kind='dummy'),), {}, 'vrf-network1.: is a dummy of others'),
        ((Link(9, 'vrf-network1', kind='vrf', vrf_table=5),), {}, 'is of others and eth1 is not in it'),
        ((), {'selector': 'static'}, 'selector: .static.: must be one of source, mark, connmark'),
    ],
)
def test_what_is_not_ours_to_move_is_refused(links: Any, changes: Any, match: str) -> None:
    with pytest.raises(PolicyError, match=match):
        compiled(host_with(*links), **changes)


@pytest.mark.parametrize('strategy', ['static', 'source', 'mark', 'connmark'])
def test_the_other_strategies_are_refused_inside_a_vrf_of_others(strategy: str) -> None:
    host = host_with(Link(9, 'red', kind='vrf', vrf_table=5), Link(3, 'eth1', master='red'))
    with pytest.raises(PolicyError, match=r'networks\[0\]: .eth1.: is in VRF red of others; use strategy vrf with vrf'):
        bind(parse_policy(make_intent(strategy)), host)


def test_a_selector_is_for_vrf_only() -> None:
    with pytest.raises(PolicyError, match='selector: .mark.: is for strategy vrf only, not for source'):
        parse_policy(make_intent('source', selector='mark'))


def test_a_kernel_without_vrf_is_refused() -> None:
    host = make_host(vrf_supported=False)
    bound = bind(parse_policy(make_intent('vrf')), host)
    assert 'built without VRF' in refusals(preflight(bound, compile_policy(bound, host), host))[0].reason


def test_a_table_in_use_by_a_vrf_is_not_given_to_another_network() -> None:
    """network2 came first and has the block's first table; network1 is put before it later."""
    vrf = Link(9, 'vrf-network2', kind='vrf', vrf_table=3001, alias=ALIAS)
    host = host_with(vrf, Link(4, 'eth2', master='vrf-network2'))
    bound = bind(parse_policy(make_intent('vrf')), host)
    assert [(item.name, item.table) for item in bound.attachments] == [('network1', 3002), ('network2', 3001)]
