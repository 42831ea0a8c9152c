# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A NIC that somebody has put into a VRF: strategy vrf takes the VRF as it is, the others say why they cannot."""

from __future__ import annotations

from typing import Any, Dict, Iterator

import pytest
from lab import Lab, has_vrf, state_of
from modules import run_module
from proving import prove

#: As a router's configuration would: a VRF with a default route of its own, in both families.
MAKE = """
sysctl -qw net.ipv6.conf.eth1.keep_addr_on_down=1
ip link add blue type vrf table 77
ip link set blue up
ip link set eth1 master blue
ip -4 route add default via 10.111.221.21 dev eth1 vrf blue proto static
ip -6 route add default via fd00:10:111:221::21 dev eth1 vrf blue proto static
"""
UNMAKE = """
ip link set eth1 nomaster
ip link del blue
sysctl -qw net.ipv6.conf.eth1.keep_addr_on_down=0
"""


@pytest.fixture
def lab(bare_lab: Lab) -> Iterator[Lab]:
    """The lab with eth1 of its node in the VRF."""
    if not has_vrf(bare_lab.node):
        pytest.skip('this kernel is built without VRF')
    bare_lab.set_rp_filter('1')
    bare_lab.node.run('sh', '-ec', MAKE)
    yield bare_lab
    bare_lab.node.run('sh', '-ec', UNMAKE)


def intent(lab: Lab, strategy: str, **first: Any) -> Dict[str, Any]:
    """The lab's policy, with more to say of the first network."""
    whole = lab.intent(strategy)
    return {**whole, 'networks': [{**whole['networks'][0], **first}, *whole['networks'][1:]]}


def test_it_is_taken_as_it_is_and_left_as_it_was(lab: Lab) -> None:
    before = state_of(lab.node)
    answer = run_module(lab.node, 'return_policy', **intent(lab, 'vrf-connmark', vrf='blue'))
    assert not answer.get('failed'), answer['msg']
    assert [line for line in answer['changes'] if line.startswith(('add vrf', 'move eth1'))] == [
        'add vrf vrf-network2 table 3002'
    ]
    verdicts = prove(lab.node, lab.clients, lab.flows('own', 'shared', 'cross'))
    assert [(item.target, item.reason) for item in verdicts if not item.passed] == []
    assert not run_module(lab.node, 'return_policy', **intent(lab, 'vrf-connmark', vrf='blue'))['changed']
    lab.absent()
    assert state_of(lab.node) == before


@pytest.mark.parametrize('strategy', ['static', 'source', 'mark', 'connmark', 'vrf-connmark'])
def test_others_are_refused_with_what_to_do(lab: Lab, strategy: str) -> None:
    before = state_of(lab.node)
    answer = run_module(lab.node, 'return_policy', **intent(lab, strategy))
    assert "networks[0]: 'eth1': is in VRF blue of others; use strategy vrf with vrf: blue" in answer['msg']
    assert state_of(lab.node) == before
