# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Interfaces that go into a VRF and out of it, under load. Needs a kernel with VRF: `make test-kernels`."""

from __future__ import annotations

import contextlib
from collections import Counter
from typing import Any, Dict, Iterator, List, Sequence

import pytest
from lab import Lab, has_vrf, state_of
from steady import Steady, Stream, Target

#: A route of somebody else through an interface that moves.
STATIC = ('172.20.0.0/16', 'via', '10.111.221.99', 'dev', 'eth1', 'proto', 'static')
#: The node by the network that no policy is for; the lab's gateway is the client there.
UNTOUCHED: List[Target] = [('10.111.220.11', 8081), ('fd00:10:111:220::11', 8081)]


@pytest.fixture(scope='module')
def lab() -> Iterator[Lab]:
    """A lab whose node has a route of somebody else on network1."""
    with Lab() as made:
        if not has_vrf(made.node):
            pytest.skip('this kernel has no VRF; `make test-kernels` runs this on kernels that do')
        made.node.run('ip', 'route', 'add', *STATIC)
        yield made


def only(lab: Lab, *names: str) -> Dict[str, Any]:
    """The lab's networks and services, but only these networks."""
    intent = lab.intent('vrf-connmark')
    return {
        'networks': [item for item in intent['networks'] if item['name'] in names],
        'services': [item for item in intent['services'] if item['network'] in names],
    }


def targets(lab: Lab, client: str) -> List[Target]:
    """The VIPs of a client's own network, on both data paths."""
    found = [item for item in lab.data['proof_targets_own'] if client in item['clients']]
    return [(vip, port) for item in found for vip in item['addresses'] for port in (8080, 9080)]


def lost(streams: Sequence[Stream]) -> Dict[Target, int]:
    return {stream.target: stream.lost for stream in streams if stream.lost}


def test_a_network_comes_and_goes_while_the_other_is_asked(lab: Lab) -> None:
    lab.apply('vrf-connmark', **only(lab, 'network2'))
    before = state_of(lab.node)
    with Steady(lab.host('client2'), targets(lab, 'client2')) as client:
        for _time in range(2):
            assert lab.apply('vrf-connmark')['changed']
            assert lab.apply('vrf-connmark', **only(lab, 'network2'))['changed']
    assert lost(list(client.streams.values())) == {}
    assert state_of(lab.node) == before
    lab.absent()


@pytest.mark.parametrize('strategy', ['static', 'source', 'mark', 'connmark'])
def test_a_switch_to_vrf_and_back(lab: Lab, strategy: str, notes: List[str]) -> None:
    """Nothing is lost on the network that is not moved; on those that are, what the kernel drops is counted."""
    before = state_of(lab.node)
    lab.apply(strategy)
    with contextlib.ExitStack() as stack:
        aside = stack.enter_context(Steady(lab.host('gateway'), UNTOUCHED))
        moved = [stack.enter_context(Steady(lab.host(name), targets(lab, name))) for name in lab.clients]
        assert lab.apply('vrf-connmark')['changed']
        assert lab.apply(strategy)['changed']
    lab.absent()
    assert lost(list(aside.streams.values())) == {}
    assert state_of(lab.node) == before
    streams = [stream for client in moved for stream in client.streams.values()]
    worst = max(streams, key=lambda stream: stream.lost)
    # Two moves of an interface; half a second each would be another fault than the one that is known.
    assert worst.lost < 200
    counted = Counter({'lost': sum(stream.lost for stream in streams), 'sent': sum(stream.sent for stream in streams)})
    notes.append(
        f'{strategy} to vrf and back: {counted["lost"]} of {counted["sent"]} requests lost on the networks that moved, '
        f'{worst.lost} at most in one stream of 200 a second; 0 on the network that did not'
    )
