# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A bridge of Open vSwitch, in the kernel's datapath, as a network's interface.

The bridge has the addresses; the proof names its port, by which packets enter the host.
"""

from __future__ import annotations

from typing import Iterator

import pytest
from lab import Lab

from .openvswitch import Switch, bridge
from .proofs import failed, networks, nics, policy, verdicts


@pytest.fixture(scope='module')
def switch(lab: Lab) -> Iterator[Switch]:
    """br1 with eth1 as its port."""
    with bridge(lab, 'br1', 'eth1') as made:
        yield made


def test_the_datapath_is_the_kernels(lab: Lab, switch: Switch) -> None:
    assert 'system@ovs-system' in switch.run('ovs-appctl', '-t', 'ovs-vswitchd', 'dpctl/dump-dps')
    assert [one['master'] for one in lab.node.ip('link', 'show', 'dev', 'eth1')] == ['ovs-system']


def test_without_a_policy_nothing_passes(lab: Lab, switch: Switch) -> None:
    proof = verdicts(lab, lab.flows('own'))
    assert not [item for item in proof if item.passed]
    assert {nic for item in proof for nic in item.replies} == {'eth0'}


@pytest.mark.parametrize('strategy', ['source', 'connmark'])
def test_a_bridge_is_a_network(lab: Lab, switch: Switch, strategy: str) -> None:
    with policy(lab, strategy, networks=networks(lab, {'interface': 'br1'}, {'interface': 'eth2'})):
        proof = verdicts(lab, lab.flows('own'))
    assert not failed(proof), '\n'.join(failed(proof))
    assert nics(proof) == {'eth1', 'eth2'}
