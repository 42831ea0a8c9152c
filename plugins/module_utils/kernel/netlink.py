# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""rtnetlink over Python's own socket: framing, dumps, and many changes in one system call.

Sources: netlink(7), rtnetlink(7), and the kernel's Documentation/userspace-api/netlink/intro.rst.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from types import TracebackType
from typing import Dict, Iterable, Iterator, List, NamedTuple, Optional, Sequence, Tuple, Type

from ..errors import KernelError

NLM_F_REQUEST = 0x1
NLM_F_ACK = 0x4
NLM_F_DUMP_INTR = 0x10
NLM_F_DUMP = 0x300
NLM_F_REPLACE = 0x100
NLM_F_EXCL = 0x200
NLM_F_CREATE = 0x400
NLM_F_APPEND = 0x800

_NLMSG_ERROR = 2
_NLMSG_DONE = 3
_NLM_F_CAPPED = 0x100
_NLM_F_ACK_TLVS = 0x200
_NLMSGERR_ATTR_MSG = 1
_NLA_TYPE_MASK = 0x3FFF

_SOL_NETLINK = 270
_NETLINK_CAP_ACK = 10
_NETLINK_EXT_ACK = 11
_NETLINK_GET_STRICT_CHK = 12
_SO_RCVBUFFORCE = 33

#: A datagram of a dump is at most 32 KiB (linux/netlink.h); twice that is never truncated.
_DATAGRAM = 65536
_RECEIVE_BUFFER = 8 << 20
#: What one acknowledgement with its text takes of the receive buffer at most (its skb included).
_ACK_COST = 2048
_MOST_PER_CALL = 2000
_DUMP_ATTEMPTS = 10
_ANSWER_SECONDS = 10

_HEADER = struct.Struct('=IHHII')
_HEADER_SIZE = _HEADER.size
_ATTRIBUTE = struct.Struct('=HH')
_ERROR = struct.Struct('=i')
_ACK = struct.Struct('=IHHIIi')


class Message(NamedTuple):
    """One request: an RTM_* type, NLM_F_* flags besides REQUEST and ACK, and header plus attributes."""

    type: int
    flags: int
    body: bytes


class Refusal(NamedTuple):
    """The kernel's no: its error number and its own words."""

    errno: int
    reason: str


def attribute(kind: int, payload: bytes) -> bytes:
    """One attribute, padded to four bytes."""
    length = 4 + len(payload)
    return _ATTRIBUTE.pack(length, kind) + payload + b'\0' * (-length % 4)


def each_attribute(data: bytes, offset: int = 0) -> Iterator[Tuple[int, bytes]]:
    """(type, payload) of every attribute from an offset on; nested and byte order flags are taken off."""
    end = len(data)
    while offset + 4 <= end:
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if length < 4 or offset + length > end:
            raise KernelError('parse', 'netlink attribute', f'length {length} at {offset} of {end} bytes')
        yield kind & _NLA_TYPE_MASK, data[offset + 4 : offset + length]
        offset += length + 3 & ~3


def attributes(data: bytes, offset: int = 0) -> Dict[int, bytes]:
    """All attributes from an offset on, by type."""
    return dict(each_attribute(data, offset))


def frame(message: Message, sequence: int, more_flags: int = NLM_F_ACK) -> bytes:
    """A message with its netlink header, padded to four bytes."""
    length = _HEADER_SIZE + len(message.body)
    head = _HEADER.pack(length, message.type, message.flags | NLM_F_REQUEST | more_flags, sequence, 0)
    return head + message.body + b'\0' * (-length % 4)


def each_frame(data: bytes) -> Iterator[Tuple[int, int, int, bytes]]:
    """(type, flags, sequence, body) of every message in a datagram."""
    offset, end = 0, len(data)
    while offset + _HEADER_SIZE <= end:
        length, kind, flags, sequence, _port = _HEADER.unpack_from(data, offset)
        if length < _HEADER_SIZE or offset + length > end:
            raise KernelError('parse', 'netlink message', f'length {length} at {offset} of {end} bytes')
        yield kind, flags, sequence, data[offset + _HEADER_SIZE : offset + length]
        offset += length + 3 & ~3


def refusal(number: int, flags: int, rest: bytes) -> Optional[Refusal]:
    """What an acknowledgement says; None is a yes. `rest` is what follows the error number.

    The text is the kernel's (NLMSGERR_ATTR_MSG) with the name of the error, or that name alone.
    """
    if number == 0:
        return None
    name = os.strerror(-number)
    said = _extended_text(flags, rest)
    return Refusal(-number, f'{said.rstrip(".")} ({name})' if said else name)


def _extended_text(flags: int, rest: bytes) -> str:
    if not flags & _NLM_F_ACK_TLVS or len(rest) < _HEADER_SIZE:
        return ''
    echoed = _HEADER_SIZE if flags & _NLM_F_CAPPED else _HEADER.unpack_from(rest)[0] + 3 & ~3
    return attributes(rest, echoed).get(_NLMSGERR_ATTR_MSG, b'').rstrip(b'\0').decode('utf-8', 'replace')


class Netlink:
    """A NETLINK_ROUTE socket in the network namespace of the calling thread; use it with `with`.

    Every method raises KernelError when the socket itself fails (as opposed to a refused object).
    """

    def __init__(self) -> None:
        self._socket = _open()
        self._sequence = 0
        self._measure()

    def __enter__(self) -> Netlink:
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def dump(self, message_type: int, header: bytes) -> List[bytes]:
        """Bodies of all objects that RTM_GET* of this type and header (with attributes) answers.

        A dump during which the objects changed is inconsistent and made anew, ten times at most.
        """
        for _attempt in range(_DUMP_ATTEMPTS):
            bodies = self._dump_once(message_type, header)
            if bodies is not None:
                return bodies
        raise KernelError('dump', f'rtnetlink type {message_type}', f'changed under each of {_DUMP_ATTEMPTS} attempts')

    def request(self, message: Message) -> Optional[Refusal]:
        """Sends one change; None when the kernel took it."""
        return self.send([message])[0]

    def send(self, messages: Sequence[Message], stop: bool = False) -> List[Optional[Refusal]]:
        """Sends changes in bulk, in order; one outcome for each, None when the kernel took it.

        The kernel works on through refusals. With `stop` nothing is sent after the system call that
        held the first refusal (at most 2000 messages a call): the list is then shorter than `messages`.
        """
        outcomes: List[Optional[Refusal]] = []
        for start, end in _calls(messages, self._call_messages, self._call_bytes):
            answered = self._exchange(messages[start:end])
            outcomes += answered
            if stop and any(answered):
                break
        return outcomes

    def _measure(self) -> None:
        """Sizes one system call so that all of its acknowledgements fit in the receive buffer.

        The kernel queues them while it works, before sendmsg returns: what does not fit is lost.
        """
        room = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        self._call_messages = max(1, min(_MOST_PER_CALL, room // _ACK_COST))
        self._call_bytes = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) // 2

    def _exchange(self, messages: Sequence[Message]) -> List[Optional[Refusal]]:
        first = self._sequence + 1
        self._sequence += len(messages)
        framed = [frame(message, first + index) for index, message in enumerate(messages)]
        try:
            self._socket.sendall(b''.join(framed))
            return self._acknowledgements(first, len(messages))
        except OSError as error:
            raise _broken('send', error) from error

    def _acknowledgements(self, first: int, count: int) -> List[Optional[Refusal]]:
        outcomes: List[Optional[Refusal]] = [None] * count
        buffer = bytearray(_DATAGRAM)
        receive, unpack = self._socket.recv_into, _ACK.unpack_from
        missing = count
        while missing:
            size = receive(buffer)
            length, kind, flags, sequence, _port, number = unpack(buffer)
            if kind != _NLMSG_ERROR or not 0 <= sequence - first < count or length > size:
                continue
            missing -= 1
            if number:
                rest = bytes(buffer[_ACK.size : length])
                outcomes[sequence - first] = refusal(number, flags, rest)
        return outcomes

    def _dump_once(self, message_type: int, header: bytes) -> Optional[List[bytes]]:
        """None when the dump has to be made anew."""
        self._sequence += 1
        question = frame(Message(message_type, NLM_F_DUMP, header), self._sequence, 0)
        try:
            self._socket.sendall(question)
            return _collect(self._socket, self._sequence, message_type)
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise _broken('dump', error) from error
            self._socket.close()  # what was lost is unknown, also the end of the dump
            self._socket = _open()
            return None


def _collect(source: socket.socket, wanted: int, message_type: int) -> Optional[List[bytes]]:
    bodies: List[bytes] = []
    interrupted = 0
    while True:
        for kind, flags, sequence, body in each_frame(source.recv(_DATAGRAM)):
            if sequence != wanted:
                continue
            interrupted |= flags & NLM_F_DUMP_INTR
            if kind in (_NLMSG_DONE, _NLMSG_ERROR):
                _raise_refused(message_type, kind, flags, body)
                return None if interrupted else bodies
            bodies.append(body)


def _raise_refused(message_type: int, kind: int, flags: int, body: bytes) -> None:
    """A dump may be refused at its start (ERROR) or at its end (DONE with an error number)."""
    number = _ERROR.unpack_from(body)[0] if len(body) >= 4 else 0
    # DONE has no echo of the request between number and attributes, so give it an empty one.
    rest = body[4:] if kind == _NLMSG_ERROR else _HEADER.pack(_HEADER_SIZE, 0, 0, 0, 0) + body[4:]
    refused = refusal(min(number, 0), flags | (_NLM_F_CAPPED if kind == _NLMSG_DONE else 0), rest)
    if refused:
        raise KernelError('dump', f'rtnetlink type {message_type}', refused.reason, refused.errno)


def _calls(messages: Sequence[Message], most: int, most_bytes: int) -> Iterable[Tuple[int, int]]:
    """Bounds of what goes into one system call: limited in messages and in bytes, never empty."""
    start, size = 0, 0
    for index, message in enumerate(messages):
        length = len(message.body) + _HEADER_SIZE + 3
        if index > start and (index - start == most or size + length > most_bytes):
            yield start, index
            start, size = index, 0
        size += length
    if start < len(messages):
        yield start, len(messages)


def _open() -> socket.socket:
    try:
        made = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
    except OSError as error:
        raise _broken('open', error) from error
    for option in (_NETLINK_EXT_ACK, _NETLINK_CAP_ACK, _NETLINK_GET_STRICT_CHK):
        _set_if_known(made, _SOL_NETLINK, option, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
    # Only the initial user namespace may go over net.core.rmem_max; smaller calls are the price elsewhere.
    _set_if_known(made, socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BUFFER)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack('@ll', _ANSWER_SECONDS, 0))
    made.bind((0, 0))
    return made


def _set_if_known(target: socket.socket, level: int, option: int, value: int) -> None:
    """Sets what older kernels (before 4.20) or unprivileged callers cannot have, if it can be had."""
    try:
        target.setsockopt(level, option, value)
    except OSError as error:
        if error.errno not in (errno.ENOPROTOOPT, errno.EPERM, errno.EINVAL):
            raise _broken('open', error) from error


def _broken(operation: str, error: OSError) -> KernelError:
    return KernelError(operation, 'rtnetlink socket', os.strerror(error.errno or 0), error.errno or 0)
