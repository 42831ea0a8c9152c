# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes that share VIPs are judged together: a flow is that of the node which had its request."""

from __future__ import annotations

from typing import Dict, List

from ansible_collections.returntraffic.net.plugins.module_utils.objects import Link
from ansible_collections.returntraffic.net.plugins.module_utils.proof.capture import Captured, merge
from ansible_collections.returntraffic.net.plugins.module_utils.proof.frames import TCP, Frame
from ansible_collections.returntraffic.net.plugins.module_utils.proof.nics import only_nics
from ansible_collections.returntraffic.net.plugins.module_utils.proof.spec import Answer
from ansible_collections.returntraffic.net.plugins.module_utils.proof.verdict import Verdict, judge

CLIENT, VIP = '10.111.223.23', '192.168.10.1'


def frame(time: float, nic: str, outgoing: bool, port: int) -> Frame:
    source, target = (VIP, CLIENT) if outgoing else (CLIENT, VIP)
    ports = (8080, port) if outgoing else (port, 8080)
    return Frame(time, nic, outgoing, 'ipv4', TCP, source, target, *ports)


def verdicts(frames: Dict[str, List[Frame]], ports: List[int], dropped: int = 0) -> List[Verdict]:
    merged = merge({host: Captured(seen, [], dropped) for host, seen in frames.items()})
    asked = Answer('client1', 'vip', VIP, 'ipv4', 'tcp', 'dnat', 8080, CLIENT, answered=True)
    return judge([asked._replace(local_port=port) for port in ports], merged.frames, merged.dropped)


def test_each_flow_is_judged_by_the_node_that_had_it() -> None:
    seen = {
        'worker': [frame(1, 'eth1', False, 5001), frame(2, 'eth1', True, 5001)],
        'worker2': [frame(1, 'eth1', False, 5002), frame(2, 'eth0', True, 5002)],
    }
    first, second = verdicts(seen, [5001, 5002])
    assert (first.verdict, first.replies) == ('PASS', {'worker eth1': 1})
    assert second.reason == 'reply left by worker2 eth0, request came by worker2 eth1'


def test_a_reply_by_the_same_nic_of_another_node_fails() -> None:
    seen = {'worker': [frame(1, 'eth1', False, 5001)], 'worker2': [frame(2, 'eth1', True, 5001)]}
    assert verdicts(seen, [5001])[0].reason == 'reply left by worker2 eth1, request came by worker eth1'


def test_a_flow_that_the_router_gave_to_two_nodes_is_judged_on_each() -> None:
    both = [frame(1, 'eth1', False, 5001), frame(2, 'eth1', True, 5001)]
    assert verdicts({'worker': both, 'worker2': both}, [5001])[0].verdict == 'PASS'
    strayed = [both[0], frame(2, 'eth0', True, 5001)]
    assert verdicts({'worker': both, 'worker2': strayed}, [5001])[0].verdict == 'FAIL'
    two_ways = [*both, frame(3, 'eth2', False, 5001)]
    assert 'more than one NIC' in verdicts({'worker': both, 'worker2': two_ways}, [5001])[0].reason


def test_what_any_node_lost_leaves_all_unknown() -> None:
    seen = {'worker': [frame(1, 'eth1', False, 5001), frame(2, 'eth1', True, 5001)], 'worker2': []}
    assert verdicts(seen, [5001], dropped=2)[0].reason == 'capture lost 4 packets'


def test_devices_are_hidden_on_their_own_node_only() -> None:
    links = {
        'one': [Link(1, 'eth1', kind='veth', master='br0'), Link(2, 'br0', kind='bridge')],
        'two': [Link(1, 'eth1')],
    }
    merged = merge({host: Captured([frame(1, 'eth1', False, 5001)], found, 0) for host, found in links.items()})
    assert [seen.nic for seen in only_nics(merged.frames, merged.links)] == ['two eth1']
