# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ten thousand services: what a policy costs a forwarded packet, and how long a run over all of them takes.

A pod's replies are forwarded by the node; the sender, the node and the sink share one processor, so the
time a packet takes is that of the whole path. Ratios against the same path without a policy, in turns.
"""

from __future__ import annotations

import ctypes
import os
import random
import socket
import statistics
import time
from typing import Any, Callable, Dict, Iterator, List

import pytest
from ansible_collections.returntraffic.net.plugins.module_utils.engine import ensure_absent, ensure_present
from ansible_collections.returntraffic.net.plugins.module_utils.rule_list import ensure_rules
from modules import run_module
from namespaces import Namespace

SERVICES = 10_000
PACKETS = 150_000
BURST = 500
REPETITIONS = 5
#: Beyond it a rule for each source is not worth waiting for: 10,000 rules make a packet 58 times as dear.
PACKETS_BY_RULES = 5_000
SENDER = '10.244.255.2'

_LIBC = ctypes.CDLL(None, use_errno=True)


class _Vector(ctypes.Structure):
    _fields_ = (('base', ctypes.c_char_p), ('length', ctypes.c_size_t))


class _Header(ctypes.Structure):
    _fields_ = (
        ('name', ctypes.c_void_p),
        ('name_length', ctypes.c_uint32),
        ('vectors', ctypes.POINTER(_Vector)),
        ('vector_count', ctypes.c_size_t),
        ('control', ctypes.c_void_p),
        ('control_length', ctypes.c_size_t),
        ('flags', ctypes.c_int),
    )


class _Message(ctypes.Structure):
    _fields_ = (('header', _Header), ('sent', ctypes.c_uint))


@pytest.fixture(scope='module')
def path() -> Iterator[Dict[str, Namespace]]:
    """pod - node - sink: the pod's packets go out by eth1 with or without a policy."""
    with Namespace() as pod, Namespace() as node, Namespace() as sink:
        link(node, 'cni0', '10.244.0.1/16', pod, f'{SENDER}/16')
        link(node, 'eth1', '10.111.221.11/24', sink, '10.111.221.21/24')
        pod.run('ip', 'route', 'add', 'default', 'via', '10.244.0.1')
        node.run('ip', 'route', 'add', 'default', 'via', '10.111.221.21')
        node.run('sysctl', '-qw', 'net.ipv4.ip_forward=1', 'net.ipv4.conf.all.rp_filter=0')
        sink.run('nft', '-f', '-', stdin='table ip s { chain c { type filter hook prerouting priority -400; drop; }; }')
        yield {'pod': pod, 'node': node, 'sink': sink}


def link(node: Namespace, name: str, address: str, peer: Namespace, peer_address: str) -> None:
    node.run('ip', 'link', 'add', name, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', peer.name)
    for namespace, nic, own in ((node, name, address), (peer, 'eth0', peer_address)):
        namespace.run('ip', 'address', 'add', own, 'dev', nic)
        namespace.run('ip', 'link', 'set', nic, 'up')


def intent(strategy: str, count: int = SERVICES) -> Dict[str, Any]:
    """Services whose pods' addresses no prefix holds together; the sender is one of them."""
    numbers = random.Random(1).sample(range(1 << 16), count)
    backends = [SENDER, *(f'10.245.{number >> 8}.{number & 255}' for number in numbers[1:])]
    return {
        'strategy': strategy,
        'networks': [{'name': 'network1', 'interface': 'eth1', 'gateways': ['10.111.221.21']}],
        'services': [{'network': 'network1', 'vips': ['10.111.221.11'], 'backends': [item]} for item in backends],
        'exclude': ['10.96.0.0/12'],
    }


def nanoseconds(path: Dict[str, Namespace], packets: int = PACKETS) -> float:
    """Nanoseconds a packet, on one processor; AssertionError unless all have left by eth1."""
    counter = '/sys/class/net/eth1/statistics/tx_packets'
    before = int(path['node'].run('cat', counter))
    with path['pod'].entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.connect(('198.51.100.1', 9))
        elapsed = pumped(sender, packets)
    assert int(path['node'].run('cat', counter)) - before >= packets
    return elapsed / packets * 1e9


def pumped(sender: socket.socket, packets: int) -> float:
    """Seconds of processor time that so many packets take: sendmmsg(2), and the forwarding that is done in its context.

    Not wall time, which is that of whatever else runs on the machine.
    """
    vector = _Vector(b'x' * 18, 18)
    messages = (_Message * BURST)(
        *(_Message(_Header(vectors=ctypes.pointer(vector), vector_count=1)) for _ in range(BURST))
    )
    start = time.process_time()
    for _burst in range(packets // BURST):
        assert _LIBC.sendmmsg(sender.fileno(), messages, BURST, 0) == BURST
    return time.process_time() - start


def configurations(path: Dict[str, Namespace]) -> Dict[str, Callable[[], float]]:
    """What is measured, each from a node without any policy to a node without any policy."""

    def with_policy(strategy: str) -> Callable[[], float]:
        def run() -> float:
            with path['node'].entered():
                ensure_present(intent(strategy), check=False)
            cost = nanoseconds(path)
            with path['node'].entered():
                ensure_absent(check=False)
            return cost

        return run

    return {
        'no policy': lambda: nanoseconds(path),
        **{strategy: with_policy(strategy) for strategy in ('source', 'mark', 'connmark')},
    }


def by_rules(path: Dict[str, Namespace]) -> float:
    """The naive way: a `from` rule for each service, that of the sender last."""
    sources = [service['backends'][0] for service in intent('mark')['services']]
    rules = [{'priority': 1000 + at, 'from': item, 'table': 254} for at, item in enumerate(reversed(sources))]
    options = {'rules': rules, 'state': 'present', 'purge': True, 'tables': None, 'priorities': None, 'protocol': 199}
    with path['node'].entered():
        ensure_rules({**options, 'family': 'ipv4'}, False, False)
    cost = nanoseconds(path, PACKETS_BY_RULES)
    with path['node'].entered():
        ensure_rules({**options, 'family': 'ipv4', 'rules': []}, False, False)
    return cost


def test_packets_with_ten_thousand_services(path: Dict[str, Namespace]) -> None:
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        report(measure(path))
    finally:
        os.sched_setaffinity(0, allowed)


def measure(path: Dict[str, Namespace]) -> Dict[str, List[float]]:
    """Nanoseconds a packet in each configuration, in turns."""
    measured: Dict[str, List[float]] = {}
    nanoseconds(path)  # neighbours and caches are warm from here on
    for _round in range(REPETITIONS):
        for name, run in configurations(path).items():
            measured.setdefault(name, []).append(run())
    measured['a rule each'] = [by_rules(path)]
    return measured


def report(measured: Dict[str, List[float]]) -> None:
    base = statistics.median(measured['no policy'])
    print(f'\n{SERVICES} services: time of a forwarded packet, and its rate against that without a policy')
    for name, found in measured.items():
        middle = statistics.median(found)
        print(f'  {name:12} {middle:9.0f} ns [{min(found):.0f}..{max(found):.0f}]   rate x {base / middle:.3f}')


def test_runs_with_ten_thousand_services(path: Dict[str, Namespace]) -> None:
    print(f'\n{SERVICES} services: seconds of a whole process of return_policy')
    for strategy in ('source', 'mark'):
        runs = (('first', SERVICES), ('nothing to do', SERVICES), ('one service more', SERVICES + 1))
        for name, count in runs:
            start = time.perf_counter()
            answer = run_module(path['node'], 'return_policy', **intent(strategy, count))
            elapsed = time.perf_counter() - start
            changes = len(answer['changes']) if name == 'one service more' else ''
            print(f'  {strategy:9} {name:16} {elapsed:.2f} s {changes and f"{changes} change"}')
        run_module(path['node'], 'return_policy', state='absent')
