# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Option strict_reverse_path: what the check looks up, and when it is in force. Packets: tests/netns."""

from __future__ import annotations

from typing import Any, List, Optional

import pytest
from ansible_collections.returntraffic.net.plugins.module_utils.bind import bind
from ansible_collections.returntraffic.net.plugins.module_utils.desired import Desired
from ansible_collections.returntraffic.net.plugins.module_utils.intent import parse_policy
from ansible_collections.returntraffic.net.plugins.module_utils.nft import REVERSE_PATH, NftTable
from ansible_collections.returntraffic.net.plugins.module_utils.nft_text import rule_text
from ansible_collections.returntraffic.net.plugins.module_utils.objects import Link
from ansible_collections.returntraffic.net.plugins.module_utils.observed import Observed
from ansible_collections.returntraffic.net.plugins.module_utils.plan import Plan, make_plan
from ansible_collections.returntraffic.net.plugins.module_utils.preflight import preflight
from ansible_collections.returntraffic.net.plugins.module_utils.strategies.registry import compile_policy
from ansible_collections.returntraffic.net.plugins.module_utils.text import rule_text as rule_line
from samples import make_host, make_intent


def compiled(strategy: str, host: Observed, **changes: Any) -> Desired:
    intent = make_intent(strategy, strict_reverse_path=True, **changes)
    return compile_policy(bind(parse_policy(intent), host), host)


def lines(strategy: str) -> List[str]:
    chain = compiled(strategy, make_host()).reverse_path
    assert chain is not None
    return [rule_text(item).partition(' comment ')[0] for item in chain.rules]


@pytest.mark.parametrize('strategy', ['static', 'source', 'vrf'])
def test_where_routes_alone_decide_no_mark_is_looked_up(strategy: str) -> None:
    assert lines(strategy) == [
        'iifname eth1 fib saddr . iif oif missing counter drop',
        'iifname eth2 nfproto ipv4 fib saddr . iif oif missing counter drop',
    ]


@pytest.mark.parametrize('strategy', ['mark', 'connmark'])
def test_where_the_mark_decides_it_is_lent_for_the_lookup_alone(strategy: str) -> None:
    assert lines(strategy)[:3] == [
        'iifname eth1 meta mark set meta mark & 0xff00ffff | 0x00010000',
        'iifname eth1 fib saddr . mark . iif oif missing counter drop',
        'iifname eth1 meta mark set meta mark & 0xff00ffff',
    ]


def test_in_a_vrf_ipv6_is_guarded_by_rules() -> None:
    """A guard in the table would be what the check finds."""
    desired = compiled('vrf', make_host())
    assert [(route.family, route.table) for route in desired.routes if route.type == 'unreachable'] == [
        ('ipv4', 3001),
        ('ipv4', 3002),
    ]
    assert [rule_line(rule) for rule in desired.rules if rule.priority > 3000] == [
        'ipv4 3002: from all fwmark 0x10000/0xff0000 lookup 3001 protocol 201',
        'ipv6 3002: from all fwmark 0x10000/0xff0000 lookup 3001 protocol 201',
        'ipv4 3003: from all fwmark 0x20000/0xff0000 lookup 3002 protocol 201',
        'ipv6 3003: from all fwmark 0x10000/0xff0000 unreachable protocol 201',
    ]


def test_a_mask_of_all_bits_is_cleared_to_nothing() -> None:
    host = make_host()
    chain = compiled('connmark', host, mark_mask=0xFFFFFFFF).reverse_path
    assert chain is not None
    assert rule_text(chain.rules[2]).startswith('iifname eth1 meta mark set 0x00000000 ')


def planned(before: str, after: str) -> Plan:
    """From one strategy with the check to another, on a host that has all of the first one."""
    host = make_host()
    return make_plan(compiled(after, host), make_host(nft=make_plan(compiled(before, host), host).nft_after))


def has_check(table: Optional[NftTable]) -> bool:
    return table is not None and any(chain.name == REVERSE_PATH for chain in table.chains)


def test_a_check_that_changes_is_off_until_all_else_is_in_place() -> None:
    plan = planned('connmark', 'source')
    assert [has_check(table) for table in (plan.nft_before, plan.nft_first, plan.nft)] == [True, False, True]
    assert plan.nft_during is not None
    check = next(chain for chain in plan.nft_during.chains if chain.name == REVERSE_PATH)
    assert not any('mark' in text for item in check.rules for text in item.expressions)


def test_a_check_that_stays_is_never_off() -> None:
    plan = planned('connmark', 'mark')
    assert all(has_check(table) for table in (plan.nft_first, plan.nft_during, plan.nft, plan.nft_after))


def test_the_check_is_off_while_an_interface_moves() -> None:
    vrfs = tuple(
        Link(9 + at, f'vrf-network{at}', kind='vrf', vrf_table=3000 + at, alias='returntraffic') for at in (1, 2)
    )
    table = make_plan(compiled('vrf', make_host()), make_host()).nft_after
    host = make_host(links=(*make_host().links, *vrfs), nft=table)
    plan = make_plan(compiled('vrf', host), host)
    assert len(plan.moves) == 2
    assert [has_check(table) for table in (plan.nft_before, plan.nft_first, plan.nft)] == [True, False, True]


def test_a_check_that_can_drop_nothing_is_told() -> None:
    host = make_host()
    bound = bind(parse_policy(make_intent('connmark', strict_reverse_path=True, exclude=[])), host)
    found = [
        item for item in preflight(bound, compile_policy(bound, host), host) if item.check == 'strict_reverse_path'
    ]
    assert [item.level for item in found] == ['warning']


def test_static_with_the_check_needs_nft_but_no_default_route() -> None:
    host = make_host(routes=(), nft_missing='nft is not installed')
    bound = bind(parse_policy(make_intent('static', strict_reverse_path=True)), host)
    found = [item for item in preflight(bound, compile_policy(bound, host), host) if item.level == 'refused']
    assert [item.check for item in found] == ['nft']
