# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The least that must change, and a change that is taken back."""

from __future__ import annotations

from typing import Any, List, Optional, Sequence

import pytest
from ansible_collections.returntraffic.net.plugins.module_utils.errors import KernelError, PolicyError
from ansible_collections.returntraffic.net.plugins.module_utils.kernel.changes import (
    ADD,
    DELETE,
    REPLACE,
    Change,
    inverse,
    send_changes,
)
from ansible_collections.returntraffic.net.plugins.module_utils.kernel.netlink import Message, Netlink, Refusal
from ansible_collections.returntraffic.net.plugins.module_utils.objects import NextHop, Route, Rule
from ansible_collections.returntraffic.net.plugins.module_utils.plan_list import (
    plan_no_routes,
    plan_no_rules,
    plan_routes,
    plan_rules,
    refuse_taken,
    same_hops,
    same_route,
)
from hypothesis import given
from hypothesis import strategies as some

ONE, TWO, THREE = (Rule('ipv4', number, table=5) for number in (1, 2, 3))


def everything(_item: Any) -> bool:
    return True


def nothing(_item: Any) -> bool:
    return False


def test_rules_that_are_missing_are_added_and_others_purged() -> None:
    assert plan_rules([ONE, TWO], [TWO, THREE], nothing) == ([ONE], [], [TWO, THREE, ONE])
    assert plan_rules([ONE, TWO], [TWO, THREE], everything) == ([ONE], [THREE], [TWO, ONE])


def test_a_copy_of_a_wanted_rule_goes() -> None:
    assert plan_rules([ONE], [ONE, ONE, TWO, TWO], nothing) == ([], [ONE], [ONE, TWO, TWO])


def test_absent_rules_go_with_their_copies() -> None:
    assert plan_no_rules([ONE, THREE], [ONE, TWO, ONE]) == ([], [ONE, ONE], [TWO])


@given(some.lists(some.sampled_from([ONE, TWO, THREE]), unique=True), some.lists(some.sampled_from([ONE, TWO, THREE])))
def test_a_plan_that_is_done_has_nothing_to_do(wanted: List[Rule], owned: List[Rule]) -> None:
    plan = plan_rules(wanted, owned, everything)
    assert plan_rules(wanted, plan.after, everything)[:2] == ([], [])
    assert sorted(plan.after) == sorted(wanted)


def route(destination: str, gateway: Optional[str] = None, device: Optional[str] = 'eth1', **fields: Any) -> Route:
    return Route('ipv4', fields.pop('table', 5), destination, next_hops=(NextHop(gateway, device),), **fields)


NEAR, FAR = route('10.0.0.0/24', scope=253), route('10.1.0.0/16', '10.0.0.2')


def test_a_route_that_changed_is_replaced_in_place() -> None:
    moved = route('10.1.0.0/16', '10.0.0.3')
    assert plan_routes([NEAR, moved], [FAR], everything) == ([NEAR], [(FAR, moved)], [], [NEAR, moved])


def test_another_metric_is_another_route() -> None:
    other = FAR._replace(metric=7)
    assert plan_routes([other], [FAR], nothing) == ([other], [], [], [FAR, other])
    assert plan_routes([other], [FAR], everything) == ([other], [], [FAR], [other])


def test_a_device_that_the_kernel_found_is_no_difference() -> None:
    bare = route('10.1.0.0/16', '10.0.0.2', None)
    assert same_route(bare, FAR) and not same_route(FAR, bare)
    assert plan_routes([bare], [FAR], everything) == ([], [], [], [FAR])


def test_an_appended_twin_goes() -> None:
    twin = route('10.1.0.0/16', '10.0.0.3')
    assert plan_routes([FAR], [twin, FAR], nothing) == ([], [], [twin], [FAR])


def test_next_hops_have_no_order() -> None:
    first, second = NextHop('1.1.1.1', 'a', 2), NextHop('1.1.1.2', 'b')
    assert same_hops([second, first], [first, second])
    assert same_hops([NextHop('1.1.1.2'), first], [first, second])
    assert not same_hops([first], [first, second])
    assert not same_hops([first, second._replace(weight=2)], [first, second])


def test_absent_routes_go_if_they_are_meant() -> None:
    bare = Route('ipv4', 5, '10.1.0.0/16')
    assert plan_no_routes([bare], [FAR, NEAR]).delete == [FAR]
    assert plan_no_routes([route('10.1.0.0/16', '10.0.0.2', None)], [FAR, NEAR]).delete == [FAR]
    assert plan_no_routes([route('10.1.0.0/16', '10.0.0.9')], [FAR, NEAR]).delete == []
    assert plan_no_routes([bare._replace(type='throw')], [FAR, NEAR]).after == [FAR, NEAR]
    assert plan_no_routes([bare._replace(metric=7)], [FAR, NEAR]).delete == []


def test_a_foreign_route_in_the_way_is_refused() -> None:
    foreign = FAR._replace(protocol=186)
    refuse_taken([(3, NEAR)], [foreign])
    with pytest.raises(PolicyError, match=r'^routes\[4\].destination: .* table 5 has a route of protocol 186 '):
        refuse_taken([(3, NEAR), (4, FAR)], [foreign])


class Kernel(Netlink):
    """Takes messages as Netlink.send does, except those with a refused body."""

    def __init__(self, *refused: bytes) -> None:
        self.refused = refused
        self.taken: List[bytes] = []

    def send(self, messages: Sequence[Message], stop: bool = False) -> List[Optional[Refusal]]:
        outcomes = [Refusal(17, 'said no') if message.body in self.refused else None for message in messages]
        self.taken += [message.body for message, outcome in zip(messages, outcomes) if outcome is None]
        return outcomes


def message(change: Change) -> Message:
    return Message(0, 0, f'{change.operation} {change.subject}'.encode())


CHANGES = [Change(ADD, 'a'), Change(ADD, 'b'), Change(REPLACE, 'new', 'old'), Change(DELETE, 'c'), Change(DELETE, 'd')]


def test_all_is_sent_when_nothing_is_refused() -> None:
    kernel = Kernel()
    send_changes(kernel, CHANGES, message, str)
    assert kernel.taken == [b'add a', b'add b', b'replace new', b'delete c', b'delete d']


def test_nothing_is_deleted_when_an_addition_is_refused() -> None:
    kernel = Kernel(b'add b')
    with pytest.raises(KernelError, match='^add b: said no; nothing was changed$') as caught:
        send_changes(kernel, CHANGES, message, str)
    assert caught.value.errno == 17
    assert kernel.taken == [b'add a', b'replace new', b'replace old', b'delete a']


def test_a_refused_deletion_takes_all_back_in_reverse() -> None:
    kernel = Kernel(b'delete c')
    with pytest.raises(KernelError, match='^delete c: said no; nothing was changed$'):
        send_changes(kernel, CHANGES, message, str)
    done = [b'add a', b'add b', b'replace new', b'delete d']
    assert kernel.taken == [*done, b'add d', b'replace old', b'delete b', b'delete a']


def test_what_cannot_be_taken_back_is_told() -> None:
    with pytest.raises(KernelError, match='^add b: said no; could not be taken back: delete a: said no$'):
        send_changes(Kernel(b'add b', b'delete a'), CHANGES, message, str)


@pytest.mark.parametrize('change', CHANGES)
def test_the_inverse_of_the_inverse(change: Change) -> None:
    assert inverse(inverse(change)) == change != inverse(change)
