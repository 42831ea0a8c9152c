# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The same client address behind two networks, and even the same port, at the same time.

molecule/overlap has the flows whose ports differ. Here the connections are the same to the last bit.
"""

from __future__ import annotations

import contextlib
import socket
from typing import Dict, Iterator

import pytest
from ansible_collections.returntraffic.net.plugins.module_utils.proof.capture import Capture
from lab import ROOT, Lab, state_of

CLIENTS = ('client1', 'client2')
ADDRESS = {'ipv4': '10.9.9.9', 'ipv6': 'fd00:9:9::9'}
VIP = {'ipv4': '192.168.1.1', 'ipv6': 'fd00:192:168:1::1'}
FAMILY = {'ipv4': socket.AF_INET, 'ipv6': socket.AF_INET6}
TYPE = {'tcp': socket.SOCK_STREAM, 'udp': socket.SOCK_DGRAM}
PORTS = {'host': 8080, 'dnat': 9080}


@pytest.fixture(scope='module')
def lab() -> Iterator[Lab]:
    """The lab of inventory/overlap."""
    with Lab(ROOT / 'inventory/overlap') as made:
        yield made


class Twins:
    """Two sockets of the same address and port, one in each client, connected to the same VIP and port."""

    def __init__(self, lab: Lab, family: str, protocol: str, port: int, source: int) -> None:
        self.lab = lab
        self.family, self.protocol = family, protocol
        self.near, self.far = (ADDRESS[family], source), (VIP[family], port)

    def talk(self) -> Dict[str, bool]:
        """Both open, both say something, both hear; whether each heard just what it said, in three rounds."""
        with contextlib.ExitStack() as stack:
            sockets = {name: stack.enter_context(self._socket(name)) for name in CLIENTS}
            heard = {name: self._opens(sockets[name]) for name in CLIENTS}
            for turn in range(3):
                for name in CLIENTS:
                    word = f'{name} {turn}'.encode()
                    heard[name] = heard[name] and self._echoes(sockets[name], word)
        return heard

    def _socket(self, client: str) -> socket.socket:
        with self.lab.host(client).entered():
            made = socket.socket(FAMILY[self.family], TYPE[self.protocol])
        # Reset at the end: the next two may have the same port again.
        if self.protocol == 'tcp':
            made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b'\1\0\0\0\0\0\0\0')
        made.settimeout(1.5)
        made.bind(self.near)
        return made

    def _opens(self, one: socket.socket) -> bool:
        try:
            one.connect(self.far)
        except OSError:
            return False
        return True

    @staticmethod
    def _echoes(one: socket.socket, word: bytes) -> bool:
        try:
            one.sendall(word)
            return one.recv(100) == word
        except OSError:
            return False


CASES = [
    (family, protocol, path) for family in ('ipv4', 'ipv6') for protocol in ('tcp', 'udp') for path in ('host', 'dnat')
]


#: A source port for each case: conntrack remembers those of before for a while.
PORT = iter(range(30000, 30100))


@pytest.mark.parametrize(('family', 'protocol', 'path'), CASES)
def test_with_zones_both_are_answered_by_their_own_nic(lab: Lab, family: str, protocol: str, path: str) -> None:
    lab.apply('connmark', zones=True)
    try:
        with lab.node.entered(), Capture([ADDRESS[family]]) as capture:
            heard = Twins(lab, family, protocol, PORTS[path], next(PORT)).talk()
            frames = [frame for frame in capture.captured().frames if frame.nic.startswith('eth')]
    finally:
        lab.absent()
    assert heard == {'client1': True, 'client2': True}
    # Three words each way for each of them, and they cannot have been heard in the wrong network.
    for nic in ('eth1', 'eth2'):
        assert len([frame for frame in frames if frame.nic == nic and frame.outgoing]) >= 3
    assert {frame.nic for frame in frames} == {'eth1', 'eth2'}


@pytest.mark.parametrize(('family', 'path'), [case[::2] for case in CASES if case[1] == 'tcp'])
def test_without_zones_two_equal_connections_are_one(lab: Lab, family: str, path: str) -> None:
    """Why there are zones: conntrack cannot tell them apart, so one ends up in the other's network."""
    lab.apply('connmark')
    try:
        heard = Twins(lab, family, 'tcp', PORTS[path], next(PORT)).talk()
    finally:
        lab.absent()
    assert list(heard.values()) != [True, True]


def test_zones_leave_no_trace(lab: Lab) -> None:
    before = state_of(lab.node)
    lab.apply('connmark', zones=True)
    assert not lab.apply('connmark', zones=True)['changed']
    lab.absent()
    assert state_of(lab.node) == before
