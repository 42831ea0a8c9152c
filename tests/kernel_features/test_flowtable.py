# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A flowtable of others in the node's way to its pods: what happens to replies that take the short way.

The kernel asks for both directions' routes when a packet puts its connection into the flowtable. If that is a request,
the way back is looked up with the request's mark, which is none, and the answer is kept for the connection's life.
"""

from __future__ import annotations

from typing import List

import pytest
from ansible_collections.returntraffic.net.plugins.module_utils.proof.spec import Flow
from lab import Lab

from .changes import flowtable, passed_hooks
from .proofs import failed, nics, policy, verdicts

#: What nft's documentation shows, and what keeps the mark.
ANY, REPLY = 'ct state established', 'ct direction reply ct state established'


def to_pods(lab: Lab) -> List[Flow]:
    """The flows that are forwarded; a flowtable does not concern others."""
    return [flow for flow in lab.flows('own') if flow.path == 'dnat' and flow.kind in ('tcp', 'udp', 'pmtu')]


@pytest.mark.parametrize(
    ('strategy', 'rule'),
    [
        ('static', ANY),
        ('source', ANY),
        ('vrf-connmark', ANY),
        ('mark', REPLY),
        ('connmark', REPLY),
        ('vrf-connmark', REPLY),
    ],
    ids=lambda value: {ANY: 'any', REPLY: 'reply'}.get(value, value),
)
def test_replies_by_the_short_way_leave_by_the_right_nic(lab: Lab, strategy: str, rule: str, notes: List[str]) -> None:
    with flowtable(lab, rule), policy(lab, strategy) as outcome:
        proof = verdicts(lab, to_pods(lab))
        hooked = passed_hooks(lab)
    replies = sum(sum(item.replies.values()) for item in proof)
    assert failed(proof) == []
    assert nics(proof) == {'eth1', 'eth2'}
    assert hooked < replies
    assert [item for item in outcome.findings if item.check == 'flowtable'] == []
    notes.append(f'flowtable: {strategy}, {rule}: {replies} reply packets, {replies - hooked} of them past the hooks')


@pytest.mark.parametrize('strategy', ['mark', 'connmark'])
def test_a_flowtable_that_requests_fill_leads_replies_astray(lab: Lab, strategy: str, notes: List[str]) -> None:
    """The trap, as docs/strategies.md tells it, and the warning about it."""
    with flowtable(lab, ANY), policy(lab, strategy) as outcome:
        proof = verdicts(lab, to_pods(lab))
    connections = [item for item in proof if item.kind != 'udp']
    assert not [item for item in connections if item.answered]
    # IPv4: the client is taken for a neighbour on the network, and nobody there has its address.
    # IPv6: the way back is the default route.
    astray = {family: {nic for item in connections if item.family == family for nic in item.wrong_replies}
              for family in ('ipv4', 'ipv6')}  # fmt: skip
    assert astray == {'ipv4': set(), 'ipv6': {'eth0'}}
    assert failed([item for item in proof if item.kind == 'udp']) == []
    told = [item for item in outcome.findings if item.check == 'flowtable']
    assert [(item.level, item.subject) for item in told] == [('warning', 'nft inet fastpath forward')]
    notes.append(f'flowtable: {strategy}, {ANY}: {len(connections)} connections, none answered')
