# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Of devices on top of each other, the one that has the network is the NIC."""

from __future__ import annotations

from typing import Optional

import pytest
from ansible_collections.returntraffic.net.plugins.module_utils.objects import Link
from ansible_collections.returntraffic.net.plugins.module_utils.proof.frames import Frame
from ansible_collections.returntraffic.net.plugins.module_utils.proof.nics import only_nics


def link(name: str, kind: Optional[str] = None, master: Optional[str] = None, lower: Optional[str] = None) -> Link:
    return Link(1, name, kind=kind, master=master, lower=lower)


def frame(nic: str, vlan: bool = False) -> Frame:
    return Frame(0.0, nic, False, 'ipv4', 6, '10.0.0.1', '10.0.0.2', vlan=vlan)


@pytest.mark.parametrize(
    ('links', 'seen', 'nics'),
    [
        ([link('eth0'), link('eth1')], ['eth0', 'eth1'], ['eth0', 'eth1']),
        ([link('vrf1', 'vrf'), link('eth1', master='vrf1')], ['eth1', 'vrf1'], ['eth1']),
        ([link('br0', 'bridge'), link('eth0', master='br0')], ['eth0', 'br0'], ['br0']),
        (
            [link('bond0', 'bond'), link('eth0', None, 'bond0'), link('eth1', None, 'bond0')],
            ['eth1', 'bond0'],
            ['bond0'],
        ),
        ([link('a', 'veth', lower='b'), link('b', 'veth', lower='a'), link('eth1')], ['eth1', 'a', 'b'], ['eth1']),
        ([link('veth1', 'veth')], ['veth1'], ['veth1']),
        (
            [link('eth0', None, 'ovs-system'), link('ovs-system', 'openvswitch'), link('br-ex', 'openvswitch')],
            ['eth0', 'br-ex'],
            ['eth0'],
        ),
        (
            [link('eth1', 'veth', 'ovs-system'), link('ovs-system', 'openvswitch'), link('br1', 'openvswitch')],
            ['eth1', 'br1'],
            ['eth1'],
        ),
        (
            [link('tunnel', 'vxlan', 'ovs-system'), link('ovs-system', 'openvswitch'), link('br1', 'openvswitch')],
            ['br1'],
            ['br1'],
        ),
        ([], ['eth7'], ['eth7']),
    ],
    ids=[
        'plain',
        'vrf',
        'bridge',
        'bond',
        'veth inside',
        'veth outwards',
        'open vswitch',
        'open vswitch in a container',
        'open vswitch over a tunnel',
        'unknown',
    ],
)
def test_each_packet_counts_on_its_nic(links: list[Link], seen: list[str], nics: list[str]) -> None:
    assert [kept.nic for kept in only_nics([frame(nic) for nic in seen], links)] == nics


def test_what_bears_a_tag_belongs_to_the_vlan_and_the_rest_to_the_device_below() -> None:
    links = [link('eth0'), link('eth0.10', 'vlan', lower='eth0')]
    tagged = [frame('eth0', vlan=True), frame('eth0.10')]
    assert only_nics(tagged, links) == [frame('eth0.10')]
    assert only_nics([frame('eth0')], links) == [frame('eth0')]
    assert only_nics([frame('eth0', vlan=True)], [link('eth0')]) == [frame('eth0', vlan=True)]


def test_two_nics_of_one_vrf_stay_two() -> None:
    links = [link('vrf1', 'vrf'), link('eth1', master='vrf1'), link('eth2', master='vrf1')]
    assert {kept.nic for kept in only_nics([frame('eth1'), frame('vrf1'), frame('eth2')], links)} == {'eth1', 'eth2'}
