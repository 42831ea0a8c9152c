# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Loss and delay on the links: what is sent again leaves by the same NIC as what was lost."""

from __future__ import annotations

from typing import List

import pytest
from ansible_collections.returntraffic.net.plugins.module_utils.proof.spec import Flow, expand
from lab import Lab

from .changes import loss
from .proofs import failed, nics, policy, verdicts

#: Half of them IPv4, half IPv6, half to the host, half to pods.
CONNECTIONS = 96
#: The SYN of a connection may be lost five times before that is over (1, 2, 4, 8, 16 s, RFC 6298).
PATIENCE = 40.0


def connections(lab: Lab, count: int, patience: float) -> List[Flow]:
    """TCP connections to both VIPs, each from its own network."""
    each = count // 8
    asked = [
        {'kind': 'tcp', 'port': 8080, 'count': each},
        {'kind': 'tcp', 'port': 9080, 'path': 'dnat', 'count': each},
    ]
    targets = [{**target, 'flows': asked} for target in lab.data['proof_targets_own']]
    return [flow for client in lab.clients for flow in expand(client, targets, patience)]


def sent_again(lab: Lab) -> int:
    """Segments that the node and the pods have sent more than once (proc_net_tcp: RetransSegs)."""
    total = 0
    for name in ('node', 'pod1', 'pod2'):
        names, values = [line.split() for line in lab.host(name).run('grep', '^Tcp:', '/proc/net/snmp').splitlines()]
        total += int(values[names.index('RetransSegs')])
    return total


@pytest.mark.parametrize('strategy', ['static', 'source', 'mark', 'connmark', 'vrf-connmark'])
def test_retransmissions_leave_by_the_right_nic(lab: Lab, strategy: str, notes: List[str]) -> None:
    with policy(lab, strategy), loss(lab):
        before = sent_again(lab)
        proof = verdicts(lab, connections(lab, CONNECTIONS, PATIENCE))
        again = sent_again(lab) - before
    assert failed(proof) == []
    assert len(proof) == CONNECTIONS
    assert nics(proof) == {'eth1', 'eth2'}
    assert again > 0
    replies = sum(sum(item.replies.values()) for item in proof)
    notes.append(
        f'loss: {strategy}: {len(proof)} answered, {replies} reply packets, {again} sent again, 0 by a wrong NIC'
    )


def test_without_a_policy_no_connection_survives(lab: Lab, notes: List[str]) -> None:
    lab.node.run('sysctl', '-qw', 'net.ipv4.conf.all.rp_filter=2')
    try:
        with loss(lab):
            proof = verdicts(lab, connections(lab, 16, 6.0))
    finally:
        lab.node.run('sysctl', '-qw', 'net.ipv4.conf.all.rp_filter=1')
    assert not [item for item in proof if item.answered]
    assert {nic for item in proof for nic in item.replies} == {'eth0'}
    replies = sum(sum(item.replies.values()) for item in proof)
    notes.append(f'loss: no policy: 0 of {len(proof)} answered, {replies} reply packets, all by eth0')
