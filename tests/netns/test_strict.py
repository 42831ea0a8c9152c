# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Option strict_reverse_path: what clients send passes as without it, what only pretends to be a pod does not."""

from __future__ import annotations

import json
import socket
from typing import Any, Dict, List, Tuple

import pytest
from lab import Lab, has_vrf, state_of
from namespaces import Namespace
from proving import prove
from test_matrix import RELATIONS, STRATEGIES
from test_switch import own_targets, under_load

PORT = 7777
#: Addresses of the pods, which no client can have, and the VIP they are sent to.
SPOOFED = {'10.244.0.2': '192.168.1.1', 'fd00:10:244::2': 'fd00:192:168:1::1'}
#: linux/in.h IP_TRANSPARENT, linux/in6.h IPV6_TRANSPARENT: send from an address that is not one's own.
TRANSPARENT = {socket.AF_INET: (socket.IPPROTO_IP, 19), socket.AF_INET6: (socket.IPPROTO_IPV6, 75)}


@pytest.fixture(params=['0', '1'])
def lab(request: pytest.FixtureRequest, bare_lab: Lab) -> Lab:
    """Once without rp_filter, once with strict rp_filter."""
    bare_lab.set_rp_filter(request.param)
    return bare_lab


@pytest.mark.parametrize('strategy', STRATEGIES)
def test_clients_pass_and_what_pretends_to_be_a_pod_does_not(lab: Lab, strategy: str) -> None:
    if strategy.startswith('vrf') and not has_vrf(lab.node):
        pytest.skip('this kernel is built without VRF')
    before = state_of(lab.node)
    lab.apply(strategy, strict_reverse_path=True)
    try:
        lab.forget_path_mtu()
        verdicts = prove(lab.node, lab.clients, lab.flows(*RELATIONS[strategy]))
        assert [(item.target, item.reason) for item in verdicts if not item.passed] == []
        assert dropped(lab.node) == {'network1': 0, 'network2': 0}
        assert spoofed_that_arrive(lab) == []
        assert dropped(lab.node) == {'network1': len(SPOOFED), 'network2': 0}
        assert not lab.apply(strategy, strict_reverse_path=True)['changed']
    finally:
        lab.absent()
    assert state_of(lab.node) == before


def test_without_the_option_it_arrives(lab: Lab) -> None:
    """The control: nothing else in the lab drops these packets, but the kernel's rp_filter those of IPv4."""
    lab.apply('connmark')
    try:
        assert spoofed_that_arrive(lab) == list(SPOOFED)
    finally:
        lab.absent()


def test_a_switch_with_the_option_loses_nothing(lab: Lab) -> None:
    """Every marking and every plain check comes after the other kind once, and once after its own."""
    changes: Dict[str, Any] = {'strict_reverse_path': True}
    lab.apply('static', **changes)
    order = ['source', 'connmark', 'mark', 'source', 'static', 'connmark', 'static']
    try:
        streams, captured = under_load(lab, own_targets(lab), order, **changes)
    finally:
        lab.absent()
    assert {stream.target: stream.lost for stream in streams if stream.lost} == {}
    assert captured.dropped == 0


def spoofed_that_arrive(lab: Lab) -> List[str]:
    """Which of the spoofed sources get a datagram to the node, sent from where its first network's clients come."""
    with lab.node.entered():
        receivers = {source: receiver(vip) for source, vip in SPOOFED.items()}
    for source, vip in SPOOFED.items():
        send_as(lab.host('router'), source, vip)
    arrived = []
    for sock in receivers.values():
        with sock:
            try:
                arrived.append(str(sock.recvfrom(64)[1][0]))
            except socket.timeout:
                continue
    return arrived


def receiver(vip: str) -> socket.socket:
    """A socket at the VIP, that waits a second."""
    sock = socket.socket(family_of(vip), socket.SOCK_DGRAM)
    sock.bind((vip, PORT))
    sock.settimeout(1.0)
    return sock


def send_as(router: Namespace, source: str, vip: str) -> None:
    """One datagram with a source of somebody else."""
    with router.entered(), socket.socket(family_of(vip), socket.SOCK_DGRAM) as sock:
        sock.setsockopt(*TRANSPARENT[family_of(vip)], 1)
        sock.bind((source, 0))
        sock.sendto(b'spoofed', (vip, PORT))


def family_of(address: str) -> socket.AddressFamily:
    """The socket family of an address."""
    return socket.AF_INET6 if ':' in address else socket.AF_INET


def dropped(node: Namespace) -> Dict[str, int]:
    """Packets that the check has dropped, by network, as its counters say."""
    listed = json.loads(node.run('nft', '-j', 'list', 'chain', 'inet', 'returntraffic', 'reverse_path'))
    rules: List[Tuple[str, Any]] = [(r['comment'], r['expr']) for item in listed['nftables'] if (r := item.get('rule'))]
    counted = [(comment, part['counter']) for comment, parts in rules for part in parts if 'counter' in part]
    return {comment.partition(':')[0]: int(counter['packets']) for comment, counter in counted}
