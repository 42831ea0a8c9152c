# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Devices that are no plain NICs as networks, and VIPs on a dummy interface."""

from __future__ import annotations

import pytest
from lab import Lab

from .changes import TAG, dummy, vlans
from .proofs import failed, networks, nics, policy, verdicts

VLANS = (('node', 'eth1'), ('node', 'eth2'), ('router', 'net1'), ('router', 'net2'))


@pytest.mark.parametrize('strategy', ['source', 'connmark', 'vrf-connmark'])
def test_vlans_are_networks(lab: Lab, strategy: str) -> None:
    """One found by its name, one by its subnet; what is below a VLAN is not taken for the NIC."""
    with vlans(lab, *VLANS):
        found = networks(lab, {'interface': f'eth1.{TAG}'}, {'subnet': '10.111.222.0/24'})
        with policy(lab, strategy, networks=found) as outcome:
            assert outcome.bound is not None
            assert [item.nic for item in outcome.bound.attachments] == [f'eth1.{TAG}', f'eth2.{TAG}']
            proof = verdicts(lab, lab.flows('own'))
        assert not failed(proof), '\n'.join(failed(proof))
        assert nics(proof) == {f'eth1.{TAG}', f'eth2.{TAG}'}


def test_without_a_policy_replies_leave_the_vlans(lab: Lab) -> None:
    """The control: IPv4 is dropped (strict rp_filter), IPv6 goes astray."""
    with vlans(lab, *VLANS):
        proof = verdicts(lab, lab.flows('own'))
    assert not [item for item in proof if item.passed]
    assert {nic for item in proof for nic in item.replies} == {'eth0'}


@pytest.mark.parametrize('strategy', ['source', 'connmark'])
def test_vips_on_a_dummy_interface(lab: Lab, strategy: str) -> None:
    vips = [f'{vip}/{128 if ":" in vip else 32}' for one in lab.data['node_services'] for vip in one['vips']]
    with dummy(lab, vips), policy(lab, strategy):
        proof = verdicts(lab, lab.flows('own'))
    assert not failed(proof), '\n'.join(failed(proof))
    assert nics(proof) == {'eth1', 'eth2'}
