# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Option veth of strategy vrf: the pairs, their routes, and the rule `local`. Packets: tests/netns/test_matrix.py."""

from __future__ import annotations

from typing import Any, Tuple

import pytest
from ansible_collections.returntraffic.net.plugins.module_utils.bind import bind
from ansible_collections.returntraffic.net.plugins.module_utils.desired import Desired
from ansible_collections.returntraffic.net.plugins.module_utils.errors import PolicyError
from ansible_collections.returntraffic.net.plugins.module_utils.intent import parse_policy
from ansible_collections.returntraffic.net.plugins.module_utils.kernel.links import veth_message
from ansible_collections.returntraffic.net.plugins.module_utils.objects import ALIAS, Link, Rule, Sysctl, Veth
from ansible_collections.returntraffic.net.plugins.module_utils.observed import LOCAL, MAIN, Observed
from ansible_collections.returntraffic.net.plugins.module_utils.plan import Plan, make_plan
from ansible_collections.returntraffic.net.plugins.module_utils.preflight import preflight
from ansible_collections.returntraffic.net.plugins.module_utils.strategies.registry import compile_policy
from samples import make_host, make_intent

L3MDEV = tuple(Rule(family, 1000, l3mdev=True, protocol=2) for family in ('ipv4', 'ipv6'))
KERNELS = tuple(Rule(family, 0, table=LOCAL, protocol=2) for family in ('ipv4', 'ipv6'))
OURS = tuple(Rule(family, 1001, table=LOCAL, protocol=2) for family in ('ipv4', 'ipv6'))
PAIR = Veth('veth3001', 'veth3001v', '02:72:00:00:0b:b9', 'vrf-network1')


def pair_links(veth: Veth = PAIR, **changes: Any) -> Tuple[Link, Link]:
    """Both ends as they stand when all is well."""
    outer = Link(20, veth.outer, veth.mac, True, 1500, 'veth', None, None, veth.inner, ALIAS)
    inner = Link(21, veth.inner, veth.mac, True, 1500, 'veth', veth.vrf, None, veth.outer, ALIAS)
    return outer, inner._replace(**changes)


def host(*rules: Rule, **changes: Any) -> Observed:
    return make_host(rules=(*L3MDEV, *rules), **changes)


def compiled(there: Observed, **changes: Any) -> Desired:
    return compile_policy(bind(parse_policy(make_intent('vrf', veth=True, **changes)), there), there)


def planned(there: Observed, **changes: Any) -> Plan:
    return make_plan(compiled(there, **changes), there)


def test_a_pair_for_each_network_is_named_by_its_table() -> None:
    assert list(compiled(host(*KERNELS)).veths) == [
        PAIR,
        Veth('veth3002', 'veth3002v', '02:72:00:00:0b:ba', 'vrf-network2'),
    ]


def test_every_vip_leaves_every_vrf_it_can_be_asked_in() -> None:
    routes = [
        (route.table, route.destination, hop.device)
        for route in compiled(host(*KERNELS)).routes
        for hop in route.next_hops
        if (hop.device or '').startswith('veth')
    ]
    assert routes == [
        (3001, '192.168.1.1/32', 'veth3001v'),
        (3001, '192.168.2.1/32', 'veth3001v'),
        (3001, 'fd00:192:168:1::1/128', 'veth3001v'),
        (3002, '192.168.1.1/32', 'veth3002v'),
        (3002, '192.168.2.1/32', 'veth3002v'),
    ]


def test_local_comes_after_l3mdev_and_cluster_networks_before_it() -> None:
    rules = [(rule.family, rule.priority, rule.to, rule.table) for rule in compiled(host(*KERNELS)).rules][:6]
    assert rules == [
        ('ipv4', 996, '10.244.0.0/16', LOCAL),
        ('ipv6', 997, 'fd00:10:244::/48', LOCAL),
        ('ipv4', 998, '10.244.0.0/16', MAIN),
        ('ipv6', 999, 'fd00:10:244::/48', MAIN),
        ('ipv4', 3002, None, 3001),
        ('ipv6', 3002, None, 3001),
    ]
    assert set(OURS) <= set(compiled(host(*KERNELS)).rules)


def test_no_l3mdev_sysctl_is_set_and_rp_filter_is_loose_on_all_that_are_on_the_way() -> None:
    paths = {item.path for item in compiled(host(*KERNELS)).sysctls}
    assert not any('l3mdev_accept' in path for path in paths)
    devices = ('eth1', 'vrf-network1', 'veth3001', 'veth3001v')
    assert {f'net/ipv4/conf/{name}/rp_filter' for name in devices} <= paths


def test_the_kernels_own_local_goes_once_ours_is_there() -> None:
    plan = planned(host(*KERNELS))
    assert plan.take_local == KERNELS
    assert set(OURS) <= set(plan.add_protecting_rules)
    assert plan.give_local == ()


def test_what_the_devices_of_ours_are_set_to_is_not_remembered() -> None:
    plan = planned(host(*KERNELS))
    assert Sysctl('net/ipv4/conf/veth3001/rp_filter', '2') in plan.set_device_sysctls
    assert plan.nft_after is not None
    assert not any('veth3001' in path or 'vrf-network1' in path for path in plan.nft_after.saved)


def test_absent_gives_local_back_before_ours_goes() -> None:
    plan = make_plan(Desired(), host(*OURS, links=(*make_host().links, *pair_links())))
    assert (plan.give_local, plan.delete_rules) == (KERNELS, OURS)
    assert [link.name for link in plan.delete_links] == ['veth3001']


def test_an_interrupted_run_is_taken_up() -> None:
    """Both rules are there: what is missing is only that the kernel's goes, or that ours does."""
    there = host(*KERNELS, *OURS, links=(*make_host().links, *pair_links()))
    assert planned(there).take_local == KERNELS
    plan = make_plan(Desired(), there)
    assert (plan.give_local, plan.delete_rules) == ((), OURS)


@pytest.mark.parametrize('change', [{'master': None}, {'up': False}, {'mac': '02:00:00:00:00:01'}, {'alias': None}])
def test_a_pair_that_is_not_as_it_was_made_is_made_anew(change: Any) -> None:
    network = make_intent()['networks'][:1]
    links = (*make_host().links, *pair_links())
    whole = {'networks': network, 'services': make_intent()['services'][:1]}
    addresses = (*make_host().addresses, PAIR.address)
    assert planned(host(*OURS, links=links, addresses=addresses), **whole).add_veths == ()
    assert planned(host(*OURS, links=links), **whole).add_veths == (PAIR,)
    broken = (*make_host().links, *pair_links(**change))
    if 'alias' in change:
        with pytest.raises(PolicyError, match='networks.0..table: 3001: its veth pair needs the name veth3001v'):
            planned(host(*OURS, links=broken, addresses=addresses), **whole)
    else:
        assert planned(host(*OURS, links=broken, addresses=addresses), **whole).add_veths == (PAIR,)


@pytest.mark.parametrize(('place', 'protocol'), [(100, 0), (1001, 2)])
def test_a_local_rule_that_others_have_moved_is_refused(place: int, protocol: int) -> None:
    """Also to where ours would be: without a pair of ours it is not ours."""
    with pytest.raises(PolicyError, match=f'veth: True: the ipv4 rule `local` is at {place} and not at 0'):
        compiled(host(Rule('ipv4', place, table=LOCAL, protocol=protocol)))


def test_our_own_local_rule_is_not_a_stranger_to_preflight() -> None:
    there = host(*OURS, links=(*make_host().links, *pair_links()))
    bound = bind(parse_policy(make_intent('vrf', veth=True)), there)
    assert 'priority' not in {item.check for item in preflight(bound, compile_policy(bound, there), there)}


@pytest.mark.parametrize(
    ('changes', 'match'),
    [
        ({'strategy': 'connmark'}, 'veth: True: is for strategy vrf only, not for connmark'),
        ({'services': []}, 'services: .*: veth leads the VIPs over a veth pair'),
        ({'veth': 'perhaps'}, 'veth: .perhaps.: must be'),
    ],
)
def test_what_veth_needs_is_refused_without(changes: Any, match: str) -> None:
    with pytest.raises(PolicyError, match=match):
        parse_policy({**make_intent('vrf', veth=True), **changes})


def test_rules_of_others_that_come_before_local_now_are_told() -> None:
    there = host(*KERNELS, Rule('ipv4', 512, table=MAIN, protocol=0))
    bound = bind(parse_policy(make_intent('vrf', veth=True)), there)
    found = [item.subject for item in preflight(bound, compile_policy(bound, there), there) if item.check == 'veth']
    assert found == ['rule ipv4 512']


def test_forwarding_is_needed_for_the_vips_alone() -> None:
    there = host(*KERNELS, sysctls={**make_host().sysctls, 'net/ipv6/conf/all/forwarding': '0'})
    bound = bind(parse_policy(make_intent('vrf', veth=True)), there)
    found = [item for item in preflight(bound, compile_policy(bound, there), there) if item.check == 'forwarding']
    assert [(item.level, item.subject) for item in found] == [('refused', 'net/ipv6/conf/all/forwarding')]
    assert 'the VIPs by a veth pair' in found[0].reason


def test_both_ends_are_made_with_one_mac_and_without_arp() -> None:
    body = veth_message(PAIR).body
    assert body.count(bytes.fromhex('027200000bb9')) == 2
    assert body.count((0x80).to_bytes(4, 'little') * 2) == 2
