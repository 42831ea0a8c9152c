# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Netlink messages: framing, attributes, what acknowledgements and dumps say; with a socket that plays the kernel."""

from __future__ import annotations

import errno
import struct
from typing import Any, List, Optional

import pytest
from ansible_collections.returntraffic.net.plugins.module_utils.errors import KernelError
from ansible_collections.returntraffic.net.plugins.module_utils.kernel import netlink as wire
from ansible_collections.returntraffic.net.plugins.module_utils.kernel.netlink import Message, Netlink, Refusal
from hypothesis import given
from hypothesis import strategies as some

#: Answers of Linux 6.18 to a route by way of 9.9.9.9, to a rule that is not there, and to one it took.
REFUSED = bytes.fromhex(
    '44000000020000034d000000bd6200009bffffff34000000180005064d000000000000002000'
    '01004e657874686f702068617320696e76616c6964206761746577617900'
)
NOT_THERE = bytes.fromhex('24000000020000014e000000bd620000feffffff34000000210005004e00000000000000')
TAKEN = bytes.fromhex('24000000020000014f000000bd6200000000000034000000200005044f00000000000000')

DONE, ERROR = 3, 2


class Kernel:
    """A socket: keeps what is sent, and answers with the datagrams that `answer` makes of each send."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.sent: List[bytes] = []
        self.waiting: List[Any] = []
        self.opened = 1

    def sendall(self, data: bytes) -> None:
        self.sent.append(data)
        self.waiting += self.answer(data)

    def recv(self, _size: int) -> bytes:
        found = self.waiting.pop(0)
        if isinstance(found, OSError):
            raise found
        return bytes(found)

    def recv_into(self, buffer: bytearray) -> int:
        found = self.recv(len(buffer))
        buffer[: len(found)] = found
        return len(found)

    def getsockopt(self, _level: int, _option: int) -> int:
        return 8192

    def close(self) -> None:
        self.opened -= 1


def connected(monkeypatch: pytest.MonkeyPatch, answer: Any) -> Kernel:
    kernel = Kernel(answer)
    monkeypatch.setattr(wire, '_open', lambda: kernel)
    return kernel


def header(kind: int, sequence: int, body: bytes, flags: int = 0) -> bytes:
    return struct.pack('=IHHII', 16 + len(body), kind, flags, sequence, 0) + body + bytes(-len(body) % 4)


def sequences(data: bytes) -> List[int]:
    return [sequence for _kind, _flags, sequence, _body in wire.each_frame(data)]


def acknowledge(data: bytes, refuse: Optional[int] = None) -> List[bytes]:
    return [
        header(ERROR, sequence, struct.pack('=i', -17 if sequence == refuse else 0) + bytes(16))
        for sequence in sequences(data)
    ]


@given(some.lists(some.tuples(some.integers(0, 0x3FFF), some.binary(max_size=40))))
def test_attributes_round_trip(items: List[Any]) -> None:
    data = b''.join(wire.attribute(kind, payload) for kind, payload in items)
    assert len(data) % 4 == 0
    assert list(wire.each_attribute(data)) == items


@given(some.lists(some.binary(max_size=40), max_size=5))
def test_frames_round_trip(bodies: List[bytes]) -> None:
    data = b''.join(wire.frame(Message(24, 0x400, body), number) for number, body in enumerate(bodies))
    expected = [(24, 0x405, number, body) for number, body in enumerate(bodies)]
    assert list(wire.each_frame(data)) == expected


@pytest.mark.parametrize('data', [b'\2\0\1\0', b'\x09\0\1\0abcd', b'\0\0\1\0'])
def test_a_broken_attribute_is_an_error(data: bytes) -> None:
    with pytest.raises(KernelError, match='netlink attribute'):
        list(wire.each_attribute(data))


def test_a_broken_frame_is_an_error() -> None:
    with pytest.raises(KernelError, match='netlink message'):
        list(wire.each_frame(struct.pack('=IHHII', 99, 2, 0, 1, 0)))


@pytest.mark.parametrize(
    ('answer', 'expected'),
    [
        (REFUSED, Refusal(errno.ENETUNREACH, 'Nexthop has invalid gateway (Network is unreachable)')),
        (NOT_THERE, Refusal(errno.ENOENT, 'No such file or directory')),
        (TAKEN, None),
    ],
)
def test_what_captured_acknowledgements_say(answer: bytes, expected: Optional[Refusal]) -> None:
    [(kind, flags, _sequence, body)] = wire.each_frame(answer)
    assert kind == ERROR
    assert wire.refusal(struct.unpack_from('=i', body)[0], flags, body[4:]) == expected


def test_a_refusal_that_echoes_the_whole_request() -> None:
    request = header(24, 5, b'12345')
    body = request + wire.attribute(1, b'said so.\0')
    assert wire.refusal(-1, 0x200, body) == Refusal(1, 'said so (Operation not permitted)')


def test_every_message_has_its_outcome(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = connected(monkeypatch, lambda data: acknowledge(data, refuse=7))
    outcomes = Netlink().send([Message(32, 0, b'rule') for _number in range(10)])
    assert [number + 1 for number, outcome in enumerate(outcomes) if outcome] == [7]
    assert outcomes[6] == Refusal(errno.EEXIST, 'File exists')
    assert len(outcomes) == 10
    # 8192 bytes of receive buffer hold four acknowledgements, so no more may be asked for at once
    assert [len(sequences(data)) for data in kernel.sent] == [4, 4, 2]


def test_nothing_is_sent_after_the_call_with_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = connected(monkeypatch, lambda data: acknowledge(data, refuse=2))
    outcomes = Netlink().send([Message(32, 0, b'rule') for _number in range(10)], stop=True)
    assert [bool(outcome) for outcome in outcomes] == [False, True, False, False]
    assert len(kernel.sent) == 1


def test_answers_to_other_requests_are_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    stray = header(ERROR, 999, struct.pack('=i', -1) + bytes(16))
    connected(monkeypatch, lambda data: [stray, header(24, 1, bytes(20)), *acknowledge(data)])
    assert Netlink().request(Message(32, 0, b'')) is None


def test_large_messages_share_a_call_by_their_size(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = connected(monkeypatch, acknowledge)
    Netlink().send([Message(32, 0, bytes(size)) for size in (3000, 3000, 9000, 10)])
    assert [len(sequences(data)) for data in kernel.sent] == [1, 1, 1, 1]
    assert Netlink().send([]) == []


def multipart(data: bytes, flags: int = 0, number: int = 0) -> List[bytes]:
    [sequence] = sequences(data)
    parts = [header(32, sequence, body, flags) for body in (b'one1', b'two2')]
    return [b''.join(parts), header(32, sequence, b'six6'), header(DONE, sequence, struct.pack('=i', number))]


def test_a_dump_of_many_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = connected(monkeypatch, lambda data: [header(32, 12345, b'not ours'), *multipart(data)])
    assert Netlink().dump(34, b'head') == [b'one1', b'two2', b'six6']
    [(kind, flags, _sequence, body)] = wire.each_frame(kernel.sent[0])
    assert (kind, flags, body) == (34, 0x301, b'head')


def test_an_inconsistent_dump_is_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    flags = [wire.NLM_F_DUMP_INTR, wire.NLM_F_DUMP_INTR, 0]
    kernel = connected(monkeypatch, lambda data: multipart(data, flags.pop(0)))
    assert Netlink().dump(34, b'') == [b'one1', b'two2', b'six6']
    assert len(kernel.sent) == 3


def test_a_dump_that_never_is_consistent_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = connected(monkeypatch, lambda data: multipart(data, wire.NLM_F_DUMP_INTR))
    with pytest.raises(KernelError, match='changed under each of 10 attempts'):
        Netlink().dump(34, b'')
    assert len(kernel.sent) == 10


def test_a_dump_that_lost_datagrams_is_made_anew_on_a_new_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    lost = [[OSError(errno.ENOBUFS, 'lost')], []]
    kernel = connected(monkeypatch, lambda data: lost.pop(0) + multipart(data) if len(lost) == 2 else multipart(data))

    def opened_anew() -> Kernel:
        kernel.waiting.clear()
        return kernel

    monkeypatch.setattr(wire, '_open', opened_anew)
    assert Netlink().dump(34, b'') == [b'one1', b'two2', b'six6']
    assert kernel.opened == 0


@pytest.mark.parametrize('kind', [DONE, ERROR])
def test_a_refused_dump_tells_why(monkeypatch: pytest.MonkeyPatch, kind: int) -> None:
    said = wire.attribute(1, b'no such table\0')
    echo = b'' if kind == DONE else struct.pack('=IHHII', 16, 34, 0, 1, 0)
    flags = 0x200 | (0x100 if kind == ERROR else 0)
    connected(monkeypatch, lambda _data: [header(kind, 1, struct.pack('=i', -errno.ENOENT) + echo + said, flags)])
    with pytest.raises(KernelError, match='no such table') as caught:
        Netlink().dump(26, b'')
    assert caught.value.errno == errno.ENOENT


def test_a_broken_socket_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    connected(monkeypatch, lambda _data: [OSError(errno.EAGAIN, 'late')])
    with pytest.raises(KernelError, match='send rtnetlink socket: '):
        Netlink().request(Message(32, 0, b''))
