# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Flows as a client sees them: what counts as an answer, what does not, and how long it lasts."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Dict, Iterator, List, Tuple

import pytest
from ansible_collections.returntraffic.net.plugins.module_utils.proof.flows import fire
from ansible_collections.returntraffic.net.plugins.module_utils.proof.spec import TIMEOUT, Answer, Flow
from echoes import echo
from modules import run_module
from namespaces import Namespace
from small_lab import CLIENT_4, CLIENT_6, VIP_4, VIP_6, SmallLab, flows, small_lab

INPUT = 'table inet test {{ chain input {{ type filter hook input priority 0; {} ; }} ; }}'


@pytest.fixture
def lab() -> Iterator[SmallLab]:
    with small_lab() as made, echo(made.node, (VIP_4, 8080), (VIP_6, 8080)):
        made.answer_by_eth1()
        yield made


def fire_in(namespace: Namespace, wanted: List[Flow], **options: Any) -> List[Answer]:
    with namespace.entered():
        return fire(wanted, **options)


def outcomes(answers: List[Answer]) -> List[Tuple[bool, str]]:
    return [(answer.answered, answer.detail) for answer in answers]


def test_every_kind_has_its_answer_in_both_families(lab: SmallLab) -> None:
    wanted = flows(
        {'kind': 'tcp', 'port': 8080, 'payload': 'hello'},
        {'kind': 'udp', 'port': 8080, 'payload': 'hello'},
        {'kind': 'icmp', 'payload': 'hello'},
        {'kind': 'tcp_closed', 'port': 8089},
        {'kind': 'udp_closed', 'port': 8089},
        {'kind': 'pmtu', 'port': 8080},
    )
    details = ['5 octets came back'] * 3 + ['Connection refused', 'port unreachable', '60000 octets came back']
    answers = fire_in(lab.client, wanted)
    assert outcomes(answers) == [(True, detail) for detail in details] * 2
    assert all(0 < answer.rtt_ms < TIMEOUT * 1000 for answer in answers)


def test_answers_tell_the_clients_side_of_each_flow(lab: SmallLab) -> None:
    kinds: List[Dict[str, Any]] = [
        {'kind': 'tcp', 'port': 8080},
        {'kind': 'tcp_closed', 'port': 8089},
        {'kind': 'udp', 'port': 8080},
    ]
    answers = fire_in(lab.client, flows(*kinds, {'kind': 'icmp'}, count=5))
    assert {answer.local_address for answer in answers} == {CLIENT_4, CLIENT_6}
    near = [(answer.vip, answer.kind, answer.local_port, answer.icmp_id) for answer in answers]
    assert len(set(near)) == len(answers) == 40
    assert all(
        (port == 0 and ident >= 0) if kind == 'icmp' else (port > 0 and ident == -1) for _, kind, port, ident in near
    )


@pytest.mark.parametrize(
    ('flow', 'detail'),
    [
        ({'kind': 'tcp', 'port': 8089}, 'Connection refused'),
        ({'kind': 'udp', 'port': 8089}, 'port unreachable'),
        ({'kind': 'pmtu', 'port': 8089}, 'Connection refused'),
        ({'kind': 'tcp_closed', 'port': 8080}, 'the port is open'),
        ({'kind': 'udp_closed', 'port': 8080}, 'the port is open'),
    ],
)
def test_the_wrong_answer_is_none(lab: SmallLab, flow: Dict[str, Any], detail: str) -> None:
    assert outcomes(fire_in(lab.client, flows(flow))) == [(False, detail)] * 2


def test_another_icmp_error_than_port_unreachable_is_no_answer_of_a_closed_port(lab: SmallLab) -> None:
    lab.node.run('nft', '-f', '-', stdin=INPUT.format('udp dport 8089 reject with icmpx admin-prohibited'))
    four, six = fire_in(lab.client, flows({'kind': 'udp_closed', 'port': 8089}))
    assert (four.answered, four.detail) == (False, 'ICMP error, type 3 code 13')
    assert (six.answered, six.detail) == (False, 'ICMP error, type 1 code 1')


def test_unanswered_flows_end_together_at_their_time(lab: SmallLab) -> None:
    lab.node.run('nft', '-f', '-', stdin=INPUT.format('th dport 8089 meta l4proto { tcp, udp } drop'))
    started = time.monotonic()
    kinds = [{'kind': 'tcp_closed', 'port': 8089}, {'kind': 'udp_closed', 'port': 8089}]
    answers = fire_in(lab.client, flows(*kinds, count=20, timeout=0.5))
    assert 0.5 <= time.monotonic() - started < 1.0
    assert outcomes(answers) == [(False, 'no answer in 0.5 s')] * 80


def test_more_flows_than_sockets_at_once_are_all_fired(lab: SmallLab) -> None:
    answers = fire_in(
        lab.client, flows({'kind': 'udp', 'port': 8080}, {'kind': 'tcp', 'port': 8080}, count=60), at_once=7
    )
    assert [answer.answered for answer in answers] == [True] * 240
    assert [answer.vip for answer in answers] == [VIP_4] * 120 + [VIP_6] * 120


def test_what_this_host_cannot_send_is_told_from_what_is_not_answered(lab: SmallLab, namespace: Namespace) -> None:
    for answer in fire_in(namespace, flows({'kind': 'tcp', 'port': 1}, {'kind': 'udp', 'port': 1}, {'kind': 'icmp'})):
        assert (answer.sent, answer.answered) == (False, False)
        assert answer.detail == 'not sent: Network is unreachable'
    (foreign,) = fire_in(lab.client, flows({'kind': 'tcp', 'port': 8080, 'source': '10.9.8.8'}))
    assert (foreign.sent, foreign.detail) == (False, 'not sent: Cannot assign requested address')


def test_a_source_address_can_be_chosen(lab: SmallLab) -> None:
    kinds: List[Dict[str, Any]] = [{'kind': 'tcp', 'port': 8080}, {'kind': 'udp', 'port': 8080}, {'kind': 'icmp'}]
    answers = fire_in(lab.client, flows(*[{**kind, 'source': '10.9.1.2'} for kind in kinds]))
    assert [(answer.answered, answer.local_address) for answer in answers] == [(True, '10.9.1.2')] * 3


def test_servers_that_do_not_echo(lab: SmallLab) -> None:
    """A server that greets and hangs up, as a real one may do."""
    with lab.node.entered():
        greeter = socket.create_server((VIP_4, 8070))
    with greeter, ThreadPoolExecutor() as threads:
        threads.submit(_greet, greeter, 3)
        expectations = ['any', 'connect', 'echo']
        wanted = flows(*[{'kind': 'tcp', 'port': 8070, 'expect': expect} for expect in expectations], payload='hello')
        answers = [answer for flow in wanted if flow.family == 'ipv4' for answer in fire_in(lab.client, [flow])]
    assert outcomes(answers) == [
        (True, '8 octets came back'),
        (True, 'connected'),
        (False, '8 octets came back, not those that were sent'),
    ]


def _greet(greeter: socket.socket, times: int) -> None:
    for _ in range(times):
        connection, _ = greeter.accept()
        with connection, contextlib.suppress(OSError):
            connection.sendall(b'welcome\n')
            connection.recv(100)


def test_the_first_packets_wait_for_the_neighbour_to_be_found(lab: SmallLab) -> None:
    """The neighbour is silent at first: its second solicitation, after a second, is still in time for all kinds."""
    lab.node.run('ip', 'link', 'set', 'eth1', 'arp', 'off')
    kinds: List[Dict[str, Any]] = [{'kind': 'tcp', 'port': 8080}, {'kind': 'udp', 'port': 8080}, {'kind': 'icmp'}]
    wanted = [flow for flow in flows(*kinds) if flow.family == 'ipv4']
    with ThreadPoolExecutor() as threads:
        running = threads.submit(fire_in, lab.client, wanted)
        while 'INCOMPLETE' not in lab.client.run('ip', 'neigh', 'show', 'dev', 'eth0', 'nud', 'all'):
            assert not running.done()
        lab.node.run('ip', 'link', 'set', 'eth1', 'arp', 'on')
        answers = running.result()
    assert [answer.answered for answer in answers] == [True] * 3
    assert all(answer.rtt_ms > 900 for answer in answers)


def test_pings_need_no_privilege_where_the_host_allows_groups_to_ping(lab: SmallLab) -> None:
    lab.client.run('sysctl', '-qw', 'net.ipv4.ping_group_range=0 2147483647')
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        with lab.client.entered():
            os.setgid(65534)
            os.setuid(65534)
            os.write(writing, json.dumps(fire(flows({'kind': 'icmp', 'count': 3}))).encode())
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as stream:
        answers = [Answer(*row) for row in json.loads(stream.read())]
    os.waitpid(pid, 0)
    assert [answer.answered for answer in answers] == [True] * 6
    assert len({(answer.vip, answer.icmp_id) for answer in answers}) == 6


TARGET = {'name': 'vip', 'addresses': [VIP_4, VIP_6], 'flows': [{'kind': 'tcp', 'port': 8080}, {'kind': 'icmp'}]}


def test_the_module_returns_answers_and_changes_nothing(lab: SmallLab) -> None:
    result = run_module(lab.client, 'return_flows', client='client', targets=[TARGET])
    assert not result['changed']
    assert [(answer['client'], answer['vip'], answer['kind'], answer['answered']) for answer in result['answers']] == [
        ('client', vip, kind, True) for vip in (VIP_4, VIP_6) for kind in ('tcp', 'icmp')
    ]


def test_the_module_fires_nothing_in_check_mode(lab: SmallLab) -> None:
    result = run_module(lab.client, 'return_flows', check=True, client='client', targets=[TARGET])
    assert (result['skipped'], result['msg']) == (True, '4 flows are not fired in check mode')
    assert 'answers' not in result


@pytest.mark.parametrize(
    ('target', 'words'),
    [
        ({'addresses': ['nowhere']}, "targets[0].addresses[0]: 'nowhere': an IPv4 or IPv6 address"),
        ({'flows': [{'kind': 'tcp'}]}, 'targets[0].flows[0].port: 0: a number from 1 to 65535'),
        ({'flows': [{'kind': 'smoke'}]}, 'smoke'),
        ({'flows': [{'kind': 'icmp', 'prot': 1}]}, 'prot'),
    ],
)
def test_the_module_refuses_in_one_line(namespace: Namespace, target: Dict[str, Any], words: str) -> None:
    result = run_module(namespace, 'return_flows', client='client', targets=[{**TARGET, **target}])
    assert result['failed']
    assert words in result['msg']
    assert '\n' not in result['msg']
