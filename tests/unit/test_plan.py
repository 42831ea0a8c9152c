# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan: only what differs, only what is ours, and in the right order."""

from __future__ import annotations

from typing import Any, Dict

import pytest
from ansible_collections.returntraffic.net.plugins.module_utils.desired import Desired
from ansible_collections.returntraffic.net.plugins.module_utils.errors import PolicyError
from ansible_collections.returntraffic.net.plugins.module_utils.nft import Chain, NftTable, VerdictMap, transition
from ansible_collections.returntraffic.net.plugins.module_utils.objects import NextHop, Route, Rule, Sysctl
from ansible_collections.returntraffic.net.plugins.module_utils.observed import MAIN, Observed
from ansible_collections.returntraffic.net.plugins.module_utils.plan import make_plan

RP = 'net/ipv4/conf/eth1/rp_filter'
RULE = Rule('ipv4', 3001, fwmark=0x10000, fwmask=0xFF0000, table=3001)
EXCLUSION = Rule('ipv4', 3000, to='10.244.0.0/16', table=MAIN)
ROUTE = Route('ipv4', 3001, '0.0.0.0/0', next_hops=(NextHop('10.0.0.1', 'eth1'),))
TABLE = NftTable(chains=(Chain('x', ()),))


def desired(**changes: Any) -> Desired:
    whole: Dict[str, Any] = {'rules': {RULE: 'a', EXCLUSION: 'b'}, 'routes': {ROUTE: 'c'}, 'nft': TABLE, **changes}
    return Desired(**whole)


def test_nothing_to_do_is_no_change() -> None:
    plan = make_plan(desired(), Observed(rules=(RULE, EXCLUSION), routes=(ROUTE,), nft=TABLE))
    assert not plan.changed


def test_exclusions_come_before_the_selectors_they_protect_from() -> None:
    plan = make_plan(desired(), Observed())
    assert (plan.add_protecting_rules, plan.add_rules) == ((EXCLUSION,), (RULE,))


def test_a_new_gateway_replaces_the_route_in_place() -> None:
    old = ROUTE._replace(next_hops=(NextHop('10.0.0.9', 'eth1'),))
    plan = make_plan(desired(), Observed(rules=(RULE, EXCLUSION), routes=(old,), nft=TABLE))
    assert plan.replace_routes == ((old, ROUTE),)
    assert (plan.add_routes, plan.delete_routes) == ((), ())


def test_only_what_carries_our_tag_is_taken_away() -> None:
    foreign_rule, foreign_route = RULE._replace(priority=5, protocol=3), ROUTE._replace(table=9, protocol=3)
    host = Observed(rules=(RULE, foreign_rule), routes=(ROUTE, foreign_route), nft=TABLE)
    plan = make_plan(Desired(), host)
    assert (plan.delete_rules, plan.delete_routes, plan.nft_after) == ((RULE,), (ROUTE,), None)


def test_a_foreign_route_in_the_way_is_an_error() -> None:
    with pytest.raises(PolicyError, match=r'0\.0\.0\.0/0 table 3001 metric 0.*protocol 3, which is not ours'):
        make_plan(desired(), Observed(routes=(ROUTE._replace(protocol=3),)))


def test_a_sysctl_is_remembered_before_it_is_set() -> None:
    host = Observed(sysctls={RP: '0'})
    plan = make_plan(desired(sysctls={Sysctl(RP, '2'): 'why'}), host)
    assert plan.nft_first is not None
    assert plan.nft_first.saved == {RP: '0'}
    assert plan.set_sysctls == (Sysctl(RP, '2'),)
    assert plan.nft is not None
    assert plan.nft.saved == {RP: '0'}


def test_what_was_remembered_is_not_overwritten_by_our_own_value() -> None:
    host = Observed(
        sysctls={RP: '2'}, nft=NftTable(TABLE.chains, saved={RP: '0'}), rules=(RULE, EXCLUSION), routes=(ROUTE,)
    )
    plan = make_plan(desired(sysctls={Sysctl(RP, '2'): 'why'}), host)
    assert not plan.changed


def test_a_sysctl_is_given_back_last_and_only_then_forgotten() -> None:
    host = Observed(sysctls={RP: '2'}, nft=NftTable(saved={RP: '0'}))
    plan = make_plan(Desired(), host)
    assert plan.restore_sysctls == (Sysctl(RP, '0'),)
    assert plan.nft is not None
    assert plan.nft.saved == {RP: '0'}
    assert plan.nft_after is None


def test_a_sysctl_this_kernel_lacks_is_an_error() -> None:
    with pytest.raises(PolicyError, match='does not have it'):
        make_plan(desired(sysctls={Sysctl(RP, '2'): 'why'}), Observed())


def test_one_service_more_sends_one_element() -> None:
    before = NftTable(TABLE.chains, (VerdictMap('m', 'ipv4_addr', {'10.0.0.1': 'x'}),))
    after = NftTable(TABLE.chains, (VerdictMap('m', 'ipv4_addr', {'10.0.0.1': 'x', '10.0.0.2': 'x'}),))
    commands = transition(before, after)
    assert [list(command) for command in commands] == [['add']]
    assert commands[0]['add']['element']['elem'] == [['10.0.0.2', {'goto': {'target': 'x'}}]]
