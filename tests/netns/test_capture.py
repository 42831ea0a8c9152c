# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The capture: what it sees, what it leaves, what it admits to have lost; and its life in the background."""

from __future__ import annotations

import os
import socket
import time
from typing import Any, Callable, Dict, Iterator, List, Sequence, Tuple

import packets
import pytest
from ansible_collections.returntraffic.net.plugins.module_utils.errors import KernelError, PolicyError
from ansible_collections.returntraffic.net.plugins.module_utils.kernel.links import list_links
from ansible_collections.returntraffic.net.plugins.module_utils.kernel.netlink import Netlink
from ansible_collections.returntraffic.net.plugins.module_utils.objects import Link
from ansible_collections.returntraffic.net.plugins.module_utils.proof import daemon
from ansible_collections.returntraffic.net.plugins.module_utils.proof.capture import Capture, Captured
from ansible_collections.returntraffic.net.plugins.module_utils.proof.flows import fire
from ansible_collections.returntraffic.net.plugins.module_utils.proof.frames import Frame
from ansible_collections.returntraffic.net.plugins.module_utils.proof.verdict import INCOMPLETE, judge
from echoes import echo
from modules import run_module
from namespaces import Namespace
from small_lab import CLIENT_4, CLIENT_6, VIP_4, VIP_6, SmallLab, flows, small_lab


@pytest.fixture
def lab() -> Iterator[SmallLab]:
    with small_lab() as made, echo(made.node, (VIP_4, 8080), (VIP_6, 8080)):
        made.answer_by_eth1()
        yield made


def ask(lab: SmallLab, count: int = 1, timeout: float = 1.3) -> None:
    with lab.client.entered():
        # Fewer at a time than the receive buffer of the echo server holds (some 250), should it not get the processor.
        fire(flows({'kind': 'udp', 'port': 8080, 'count': count, 'timeout': timeout}), at_once=100)


def links() -> List[Link]:
    with Netlink() as netlink:
        return list_links(netlink)


def in_child(action: Callable[[], None]) -> int:
    """The exit code of a process that does it: 0 unless it raised."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            action()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def places(frames: Sequence[Frame]) -> List[Tuple[str, bool, str, str]]:
    return [(frame.nic, frame.outgoing, frame.src, frame.dst) for frame in frames]


def test_each_packet_is_seen_on_its_nic_with_its_direction(lab: SmallLab) -> None:
    with lab.node.entered(), Capture([CLIENT_4, CLIENT_6]) as capture:
        ask(lab)
        captured = capture.captured()
    assert sorted(places(captured.frames)) == sorted(
        [
            ('eth1', False, CLIENT_4, VIP_4),
            ('eth1', True, VIP_4, CLIENT_4),
            ('eth1', False, CLIENT_6, VIP_6),
            ('eth1', True, VIP_6, CLIENT_6),
        ]
    )
    assert captured.dropped == 0
    assert all(abs(frame.time - time.time()) < 60 for frame in captured.frames)


def test_only_the_given_addresses_are_seen(lab: SmallLab) -> None:
    with lab.node.entered(), Capture([CLIENT_4]) as one, Capture(['10.9.7.8', 'fd09::99']) as none, Capture(
        []
    ) as every:
        ask(lab)
        assert {frame.family for frame in one.captured().frames} == {'ipv4'}
        assert none.captured().frames == []
        assert len(places(every.captured().frames)) >= 4


def test_a_capture_of_another_namespace_sees_nothing(lab: SmallLab, namespace: Namespace) -> None:
    with namespace.entered(), Capture([]) as capture:
        ask(lab)
        assert capture.captured().frames == []


def test_a_tag_is_noticed_even_where_it_was_taken_off(lab: SmallLab) -> None:
    packet = packets.ip(CLIENT_4, VIP_4, packets.UDP, packets.udp(4, 5))
    with lab.node.entered(), Capture([CLIENT_4]) as capture:
        with lab.client.entered(), socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as wire:
            wire.bind(('eth0', 0))
            wire.send(b'\xff' * 6 + b'\x02' + bytes(5) + b'\x81\x00\x00\x0a\x08\x00' + packet)
            wire.send(b'\xff' * 6 + b'\x02' + bytes(5) + b'\x08\x00' + packet)
        frames = capture.captured().frames
    assert [(frame.vlan, frame.dport) for frame in frames] == [(True, 5), (False, 5)]


def test_what_is_for_another_station_does_not_come_in_here(lab: SmallLab) -> None:
    packet = packets.ip(CLIENT_4, VIP_4, packets.UDP, packets.udp(4, 5))
    lab.node.run('ip', 'link', 'set', 'eth1', 'promisc', 'on')
    with lab.node.entered(), Capture([CLIENT_4]) as capture:
        with lab.client.entered(), socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as wire:
            wire.bind(('eth0', 0))
            wire.send(b'\x02\x99\x99\x99\x99\x99' + b'\x02' + bytes(5) + b'\x08\x00' + packet)
        assert capture.captured().frames == []


def test_packets_lost_by_the_kernel_are_counted_and_forbid_a_pass(lab: SmallLab) -> None:
    """The buffer is the smallest there is, and nobody reads while hundreds of packets come."""
    with lab.node.entered(), Capture([CLIENT_4, CLIENT_6], buffer=1) as capture:
        with lab.client.entered():
            answers = fire(flows({'kind': 'udp', 'port': 8080, 'count': 100}))
        captured = capture.captured()
    assert all(answer.answered for answer in answers)
    assert captured.dropped > 0
    assert {verdict.verdict for verdict in judge(answers, captured.frames, captured.dropped)} == {INCOMPLETE}


def test_frames_beyond_the_most_are_counted_as_lost(lab: SmallLab) -> None:
    with lab.node.entered(), Capture([CLIENT_4, CLIENT_6], most_frames=3) as capture:
        ask(lab)
        captured = capture.captured()
    assert (len(captured.frames), captured.dropped) == (3, 1)


def test_a_burst_is_kept_whole_without_being_read(lab: SmallLab) -> None:
    with lab.node.entered(), Capture([CLIENT_4, CLIENT_6]) as capture:
        ask(lab, count=1000)
        captured = capture.captured()
    assert (len(captured.frames), captured.dropped) == (4000, 0)


def test_reading_ends_with_what_was_there_when_it_began(lab: SmallLab, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a host that is busier than the reader it would not end otherwise."""
    with lab.node.entered(), Capture([CLIENT_4, CLIENT_6]) as capture:
        ask(lab)
        keep = capture._keep

        def while_more_come(*frame: Any) -> None:
            ask(lab)
            keep(*frame)

        with monkeypatch.context() as patched:
            patched.setattr(capture, '_keep', while_more_come)
            assert len(capture.captured().frames) == 4
        assert len(capture.captured().frames) == 20


def test_a_nic_that_goes_down_does_not_end_the_capture(lab: SmallLab) -> None:
    with lab.node.entered(), Capture([CLIENT_4, CLIENT_6]) as capture:
        lab.node.run('ip', 'link', 'set', 'eth0', 'down')
        ask(lab)
        assert len(capture.captured().frames) == 4


def test_without_the_right_to_capture_one_line_says_so() -> None:
    def refused() -> None:
        os.setuid(65534)
        with pytest.raises(KernelError, match='^open packet socket: needs CAP_NET_RAW .root. in the network namespace'):
            Capture([])

    assert in_child(refused) == 0


def test_links_tell_a_veth_within_the_node_from_one_that_leaves_it(lab: SmallLab) -> None:
    lab.node.batch('link add name in0 type veth peer name in1\n')
    with lab.node.entered():
        lower = {found.name: found.lower for found in links()}
    assert (lower['in0'], lower['in1'], lower['eth1']) == ('in1', 'in0', None)


def begin(lab: SmallLab, token: str, max_seconds: int = 60) -> None:
    with lab.node.entered():
        daemon.start(token, [CLIENT_4, CLIENT_6], links, max_seconds)


def end(lab: SmallLab, token: str) -> Captured:
    with lab.node.entered():
        return daemon.stop(token)


def test_a_capture_in_the_background_misses_nothing_after_its_start(lab: SmallLab) -> None:
    begin(lab, 'one')
    ask(lab, count=50)
    captured = end(lab, 'one')
    assert (len(captured.frames), captured.dropped) == (200, 0)
    assert {'eth0', 'eth1', 'lo'} <= {found.name for found in captured.links}


def test_captures_are_told_by_their_tokens_and_end_once(lab: SmallLab) -> None:
    begin(lab, 'one')
    ask(lab)
    begin(lab, 'two')
    with pytest.raises(PolicyError, match="^token: 'two': another capture has it"):
        begin(lab, 'two')
    assert len(end(lab, 'one').frames) == 4
    assert len(end(lab, 'two').frames) == 0
    with pytest.raises(PolicyError, match="^token: 'one': no such capture is running here"):
        end(lab, 'one')


def test_a_capture_is_out_of_reach_from_another_namespace(lab: SmallLab, namespace: Namespace) -> None:
    begin(lab, 'one')
    with namespace.entered(), pytest.raises(PolicyError, match='no such capture is running here'):
        daemon.stop('one')
    end(lab, 'one')


def test_another_user_gets_nothing_and_ends_nothing(lab: SmallLab) -> None:
    def refused() -> None:
        with lab.node.entered():
            os.setuid(65534)
            with pytest.raises(KernelError, match='gave no answer'):
                daemon.stop('one')
            os._exit(0)

    begin(lab, 'one')
    ask(lab)
    assert in_child(refused) == 0
    assert len(end(lab, 'one').frames) == 4


def test_a_capture_that_nobody_stops_ends_by_itself(lab: SmallLab) -> None:
    begin(lab, 'one', max_seconds=1)
    started = time.monotonic()
    while 'returntraffic-capture-one' in lab.node.run('cat', '/proc/net/unix'):
        assert time.monotonic() - started < 10
        time.sleep(0.05)
    assert time.monotonic() - started > 0.5
    with pytest.raises(PolicyError, match='ended after its max_seconds'):
        end(lab, 'one')


def test_the_module_captures_across_two_calls_and_changes_nothing(lab: SmallLab) -> None:
    started = run_module(lab.node, 'return_capture', state='started', addresses=[CLIENT_4, CLIENT_6])
    ask(lab)
    stopped = run_module(lab.node, 'return_capture', state='stopped', token=started['token'])
    assert not started['changed']
    assert not stopped['changed']
    assert (len(stopped['frames']), stopped['dropped']) == (4, 0)
    assert 'returntraffic' not in lab.node.run('cat', '/proc/net/unix')


@pytest.mark.parametrize(
    ('options', 'words'),
    [
        ({'state': 'stopped', 'token': 'nobody'}, "token: 'nobody': no such capture"),
        ({'state': 'stopped'}, 'token'),
        ({'state': 'started', 'addresses': ['10.0.0.300']}, "addresses[0]: '10.0.0.300': an IPv4 or IPv6 address"),
        ({'state': 'started', 'token': 'a/b'}, "token: 'a/b': 1 to 64 letters"),
        ({'state': 'started', 'max_seconds': 0}, 'max_seconds: 0: a number from 1 to 3600'),
        ({'state': 'paused'}, 'started, stopped'),
    ],
)
def test_the_module_refuses_in_one_line(namespace: Namespace, options: Dict[str, Any], words: str) -> None:
    answer = run_module(namespace, 'return_capture', **options)
    assert answer['failed']
    assert words in answer['msg']
    assert '\n' not in answer['msg']


def test_the_module_captures_nothing_in_check_mode(namespace: Namespace) -> None:
    answer = run_module(namespace, 'return_capture', check=True, state='started')
    assert (answer['skipped'], answer['changed']) == (True, False)
    assert 'returntraffic' not in namespace.run('cat', '/proc/net/unix')


def test_on_a_port_of_open_vswitch_the_bridge_is_the_station(lab: SmallLab) -> None:
    """Its MAC may be another one than the NIC's, which is promiscuous then."""
    packet = packets.ip(CLIENT_4, VIP_4, packets.UDP, packets.udp(4, 5))
    switch = [Link(90, 'ovs-system', kind='openvswitch'), Link(91, 'eth1', kind='veth', master='ovs-system')]
    lab.node.run('ip', 'link', 'set', 'eth1', 'promisc', 'on')
    with lab.node.entered(), Capture([CLIENT_4]) as capture:
        with lab.client.entered(), socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as wire:
            wire.bind(('eth0', 0))
            wire.send(b'\x02\x99\x99\x99\x99\x99' + b'\x02' + bytes(5) + b'\x08\x00' + packet)
        assert places(capture.captured(switch).frames) == [('eth1', False, CLIENT_4, VIP_4)]
        assert capture.captured().frames == []
