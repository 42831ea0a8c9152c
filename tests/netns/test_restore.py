# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Back to what was: after many changes, after the kernel's refusal, after somebody's hands.

That each strategy alone leaves no trace, test_matrix.py shows for each value of rp_filter.
"""

from __future__ import annotations

import re
from typing import Callable, Iterator, Tuple

import pytest
from lab import Lab, state_of
from modules import run_module

STRATEGIES = ('static', 'source', 'mark', 'connmark')


@pytest.fixture
def lab(bare_lab: Lab) -> Iterator[Lab]:
    """The lab, without a policy before and after; strict, so that there are sysctls to give back."""
    bare_lab.set_rp_filter('1')
    yield bare_lab
    bare_lab.absent()


@pytest.fixture
def eth2_down(lab: Lab) -> Iterator[Callable[[], None]]:
    """Takes eth2 down when called. It keeps its IPv6 addresses, so that the gateways still look right."""
    lab.node.run('sysctl', '-qw', 'net.ipv6.conf.eth2.keep_addr_on_down=1')

    def take_down() -> None:
        lab.node.run('ip', 'link', 'set', 'eth2', 'down')

    yield take_down
    lab.node.run('ip', 'link', 'set', 'eth2', 'up')
    lab.node.run('sysctl', '-qw', 'net.ipv6.conf.eth2.keep_addr_on_down=0')


def test_many_changes_leave_no_trace(lab: Lab) -> None:
    before = state_of(lab.node)
    for strategy in (*STRATEGIES, *reversed(STRATEGIES)):
        lab.apply(strategy)
    lab.apply('connmark', zones=True)
    lab.apply('connmark', mark_mask='0x0f000000', priority_base=4000, table_base=5000)
    lab.apply('mark', networks=lab.data['node_networks'][:1], services=lab.data['node_services'][:1])
    assert state_of(lab.node) != before
    lab.absent()
    assert state_of(lab.node) == before


def test_absent_of_nothing_changes_nothing(lab: Lab) -> None:
    before = state_of(lab.node)
    assert not lab.absent()['changed']
    assert state_of(lab.node) == before


@pytest.mark.parametrize('strategy', STRATEGIES)
def test_what_the_kernel_refuses_is_told_and_put_back(lab: Lab, eth2_down: Callable[[], None], strategy: str) -> None:
    """No route can lead by an interface that is down; the first network's objects are already there by then."""
    eth2_down()
    before = state_of(lab.node)
    answer = run_module(lab.node, 'return_policy', **lab.intent(strategy))
    assert answer['failed']
    said = r'add ipv4 table \d+: 10\.111\.22[24]\.0/24 .*dev eth2 .*: \w.* \(Network is (down|unreachable)\); '
    assert re.fullmatch(f'{said}nothing was changed', answer['msg'])
    assert state_of(lab.node) == before


def test_the_policy_of_before_survives_a_refused_switch(lab: Lab, eth2_down: Callable[[], None]) -> None:
    lab.apply('connmark')
    eth2_down()
    before = state_of(lab.node)
    assert run_module(lab.node, 'return_policy', **lab.intent('source'))['failed']
    assert state_of(lab.node) == before


@pytest.mark.parametrize(
    'damage',
    [
        ('ip', '-4', 'rule', 'del', 'fwmark', '0x10000/0xff0000'),
        ('ip', '-6', 'rule', 'del', 'fwmark', '0x20000/0xff0000'),
        ('ip', '-4', 'route', 'flush', 'table', '3001'),
        ('ip', '-6', 'route', 'del', 'default', 'table', '3002'),
        ('nft', 'flush', 'chain', 'inet', 'returntraffic', 'output'),
        ('nft', 'add', 'rule', 'inet', 'returntraffic', 'output', 'drop'),
        ('sysctl', '-qw', 'net.ipv4.conf.eth1.rp_filter=1'),
    ],
    ids=' '.join,
)
def test_damage_is_mended_and_the_values_of_before_are_not_forgotten(lab: Lab, damage: Tuple[str, ...]) -> None:
    before = state_of(lab.node)
    lab.apply('connmark')
    whole = state_of(lab.node)
    lab.node.run(*damage)
    assert lab.apply('connmark')['changed']
    # An nft table that was mended has other handles; all else is as it was.
    assert [text for text in state_of(lab.node) if 'nftables' not in text] == [
        text for text in whole if 'nftables' not in text
    ]
    assert not lab.apply('connmark')['changed']
    lab.absent()
    assert state_of(lab.node) == before
