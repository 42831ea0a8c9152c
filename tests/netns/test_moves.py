# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Interfaces into VRFs and out of them under load: what is lost where, and that nothing is lost elsewhere.

To move an interface the kernel takes it down for a moment, so its own network does lose packets; how many is told.
"""

from __future__ import annotations

import contextlib
from typing import Any, Dict, Iterator, List, Sequence

import pytest
from ansible_collections.returntraffic.net.plugins.module_utils.proof.capture import Capture
from ansible_collections.returntraffic.net.plugins.module_utils.proof.frames import Frame
from lab import Lab, has_vrf, state_of
from steady import Steady, Stream, Target
from test_switch import own_targets

#: A process on all addresses of the node, asked by that of the default route's network, which no strategy touches.
ELSEWHERE: List[Target] = [('10.111.220.11', 8081), ('fd00:10:111:220::11', 8081)]
#: 200 packets a second in all, from two clients, over two families, to a process and to a pod.
RATE = 25


@pytest.fixture
def lab(bare_lab: Lab) -> Lab:
    """A lab with strict rp_filter, where a switch has sysctls to change, too."""
    if not has_vrf(bare_lab.node):
        pytest.skip('this kernel is built without VRF')
    bare_lab.set_rp_filter('1')
    return bare_lab


@contextlib.contextmanager
def load(lab: Lab, targets: Dict[str, Sequence[Target]]) -> Iterator[Dict[str, Steady]]:
    """Every host asks its targets meanwhile."""
    with contextlib.ExitStack() as stack:
        yield {name: stack.enter_context(Steady(lab.host(name), asked, RATE)) for name, asked in targets.items()}


def test_a_move_is_not_felt_on_the_other_network(lab: Lab, notes: List[str]) -> None:
    """network2 joins and leaves the policy three times, and eth2 its VRF, while network1 is asked."""
    whole = lab.intent('vrf-connmark')
    first = {'networks': whole['networks'][:1], 'services': whole['services'][:1]}
    lab.apply('vrf-connmark', **first)
    before = state_of(lab.node)
    targets = own_targets(lab)
    with load(lab, {'client1': targets['client1'], 'gateway': ELSEWHERE}) as asking:
        for _turn in range(3):
            assert moved(lab.apply('vrf-connmark')) == ['eth2']
            assert moved(lab.apply('vrf-connmark', **first)) == ['eth2']
    after = state_of(lab.node)
    lab.absent()
    streams = [stream for client in asking.values() for stream in client.streams.values()]
    notes.append(f'moves: eth2 into its VRF and out, 3 times: {told(streams)} on network1 and elsewhere')
    assert min(stream.sent for stream in streams) > 50
    assert {stream.target: stream.lost for stream in streams if stream.lost} == {}
    # The nft table is the policy's own, and made anew has other handles.
    assert [text for text in after if 'nftables' not in text] == [text for text in before if 'nftables' not in text]


@pytest.mark.parametrize('other', ['static', 'source', 'mark', 'connmark', 'vrf-connmark-veth'])
def test_a_switch_to_vrf_and_back_is_felt_for_a_moment_and_only_there(lab: Lab, other: str, notes: List[str]) -> None:
    before = state_of(lab.node)
    lab.apply(other)
    addresses = [address for client in lab.data['proof_clients'] for address in client['addresses']]
    with lab.node.entered(), Capture(addresses) as capture:
        with load(lab, {**own_targets(lab), 'gateway': ELSEWHERE}) as asking:
            for strategy in ('vrf-connmark', other):
                assert lab.apply(strategy)['changed']
                capture.read()
        replies = replies_of_vips(lab, capture.captured().frames)
    nic_of = nics_of_vips(lab)
    wrong = [frame for frame in replies if frame.nic != nic_of[frame.src]]
    lab.absent()
    moving = [stream for name in ('client1', 'client2') for stream in asking[name].streams.values()]
    still = list(asking['gateway'].streams.values())
    notes.append(
        f'moves: {other} to vrf-connmark and back: {told(moving)} on the networks that move'
        f' ({len(wrong)} replies by the wrong NIC); {told(still)} elsewhere'
    )
    assert min(stream.sent for stream in [*moving, *still]) > 50
    assert {stream.target: stream.lost for stream in still if stream.lost} == {}
    assert all(stream.answered > stream.lost for stream in moving)
    # The last reply of each VIP: by then all is as it should be again.
    assert {frame.src: frame.nic for frame in replies} == nic_of
    assert state_of(lab.node) == before


def nics_of_vips(lab: Lab) -> Dict[str, str]:
    """The interface of each VIP's network."""
    interfaces = {item['name']: item['interface'] for item in lab.data['node_networks']}
    return {vip: interfaces[item['network']] for item in lab.data['node_services'] for vip in item['vips']}


def replies_of_vips(lab: Lab, frames: Sequence[Frame]) -> List[Frame]:
    """What left by a NIC with a VIP as its source, in order; VRFs and pairs are ways inside the host."""
    vips = nics_of_vips(lab)
    return [
        frame for frame in frames if frame.outgoing and frame.src in vips and not frame.nic.startswith(('vrf', 'veth'))
    ]


def moved(answer: Dict[str, Any]) -> List[str]:
    """The interfaces that an application has moved."""
    return [line.split()[1] for line in answer['changes'] if line.startswith('move ')]


def told(streams: Sequence[Stream]) -> str:
    """Sums of streams, for a person."""
    sent, lost = sum(stream.sent for stream in streams), sum(stream.lost for stream in streams)
    return f'{lost} of {sent} requests lost, at most {max(stream.dark for stream in streams):.3f} s without an answer'
