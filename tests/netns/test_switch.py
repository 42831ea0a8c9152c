# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From each strategy to each other under load: no packet lost, none by the wrong NIC."""

from __future__ import annotations

import contextlib
import itertools
from typing import Any, Dict, List, Tuple

import pytest
from ansible_collections.returntraffic.net.plugins.module_utils.proof.capture import Capture, Captured
from lab import Lab
from steady import Steady, Stream, Target

STRATEGIES = ('static', 'source', 'mark', 'connmark')
PORTS = (8080, 9080)  # a process on the node, and a pod behind DNAT


@pytest.fixture
def lab(bare_lab: Lab) -> Lab:
    """A lab with strict rp_filter, where a switch has sysctls to change, too."""
    bare_lab.set_rp_filter('1')
    return bare_lab


def own_targets(lab: Lab) -> Dict[str, List[Target]]:
    """For each client the VIPs of its own network, both families, on both data paths."""
    return {
        client: [
            (vip, port)
            for target in lab.data['proof_targets_own']
            if client in target['clients']
            for vip in target['addresses']
            for port in PORTS
        ]
        for client in lab.clients
    }


@pytest.mark.parametrize(('first', 'second'), list(itertools.combinations(STRATEGIES, 2)))
def test_a_switch_loses_nothing(lab: Lab, first: str, second: str) -> None:
    """There and back, three times: both ordered pairs, in one stream."""
    lab.apply(first)
    targets = own_targets(lab)
    try:
        streams, captured = under_load(lab, targets, [second, first] * 3)
    finally:
        lab.absent()
    # The six switches take most of a second: 100 requests in each stream are the least that shows anything.
    assert min(stream.sent for stream in streams) > 100
    assert {stream.target: stream.lost for stream in streams if stream.lost} == {}
    nics = {vip: f'eth{number}' for number, client in enumerate(targets, start=1) for vip, _port in targets[client]}
    replies = [frame for frame in captured.frames if frame.outgoing and frame.src in nics]
    assert len(replies) >= sum(stream.sent for stream in streams)
    assert [frame for frame in replies if frame.nic != nics[frame.src]] == []
    assert captured.dropped == 0


def under_load(
    lab: Lab, targets: Dict[str, List[Target]], strategies: List[str], **changes: Any
) -> Tuple[List[Stream], Captured]:
    """Apply one strategy after the other while all clients ask; each of them must be a change."""
    addresses = [address for client in lab.data['proof_clients'] for address in client['addresses']]
    with lab.node.entered(), Capture(addresses) as capture:
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(Steady(lab.host(name), targets[name])) for name in targets]
            for strategy in strategies:
                assert lab.apply(strategy, **changes)['changed']
                capture.read()
        return [stream for client in clients for stream in client.streams.values()], capture.captured()
