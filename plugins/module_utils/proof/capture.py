# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One socket that sees the packets of every NIC of this network namespace (packet(7)).

`Capture` is the only class here that talks to the kernel's packet socket; it keeps
what it read undigested, so that a burst is drained as fast as Python can.
"""

from __future__ import annotations

import array
import errno
import socket
import struct
from types import TracebackType
from typing import Any, List, Mapping, NamedTuple, Optional, Sequence, Tuple, Type

from ..errors import KernelError
from ..objects import Link
from .bpf import SNAP_LENGTH, compile_filter, pack
from .frames import Frame, from_row, parse
from .nics import switch_ports

# linux/if_ether.h, linux/if_packet.h, asm-generic/socket.h: not named by Python's socket module.
_ETH_P_ALL = 0x0003
_VLAN_PROTOCOLS = (0x8100, 0x88A8)
_SOL_PACKET = 263
_PACKET_STATISTICS = 6
_PACKET_AUXDATA = 8
_AUXDATA = struct.Struct('=IIIHHHH')
_STATUS_VLAN_VALID = 1 << 4
_OTHER_HOST = 3
_OUTGOING = 4
_SO_TIMESTAMPNS = 35
_SO_ATTACH_FILTER = 26
_SO_RCVBUFFORCE = 33

#: Octets the kernel may hold for us; a packet takes about a thousand with its bookkeeping.
BUFFER = 16 << 20
#: More frames than this are counted as dropped: a proof needs dozens.
MOST_FRAMES = 500000

#: Time, NIC, outgoing, VLAN tag, for another station, the packet's first octets.
_Raw = Tuple[float, str, bool, bool, bool, bytes]


class Captured(NamedTuple):
    """What one capture saw. `dropped` counts packets that matched and were lost: then nothing is proven."""

    frames: List[Frame]
    links: List[Link]
    dropped: int


class Capture:
    """Captures from its making until `close`; `read` takes what the kernel has queued.

    Only packets from, to, or in ICMP errors about, the given addresses are seen (none
    given: all IP packets). KernelError when the socket is refused: it needs CAP_NET_RAW
    in the network namespace.
    """

    def __init__(self, addresses: Sequence[str], buffer: int = BUFFER, most_frames: int = MOST_FRAMES) -> None:
        self._raw: List[_Raw] = []
        self._most = most_frames
        self._dropped = 0
        self.socket = _open(pack(compile_filter(addresses)), buffer)
        #: Packets that the kernel has queued for us, as far as it told, less those that were read.
        self._queued = _discard_unfiltered(self.socket)

    def __enter__(self) -> Capture:
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.close()

    def fileno(self) -> int:
        return self.socket.fileno()

    def close(self) -> None:
        self.socket.close()

    def read(self) -> None:
        """Takes all that is queued when it begins, without waiting. On a busy host what comes meanwhile has no end.

        By count and not by time stamp: the kernel begins to stamp a moment after it was asked to, and until then the
        stamp is that of the reading.
        """
        self._ask()
        while self._queued > 0:
            try:
                self._keep(*self.socket.recvmsg(SNAP_LENGTH, 128))
                self._queued -= 1
            except BlockingIOError:
                self._queued = 0
            except OSError as problem:
                # A NIC that goes down is told to every packet socket once; the others go on.
                if problem.errno != errno.ENETDOWN:
                    raise KernelError('read', 'packet socket', problem.strerror or '', problem.errno or 0) from problem

    def _ask(self) -> None:
        packets, drops = _statistics(self.socket)
        self._queued += packets - drops
        self._dropped += drops

    def captured(self, links: Sequence[Link] = ()) -> Captured:
        """All frames so far, after a last `read`.

        A frame for another station's MAC, seen only since the NIC is promiscuous, does not come in here, unless the
        NIC is a port of Open vSwitch: then the MAC is that of the bridge, which may be another one than the NIC's.
        """
        self.read()
        ports = switch_ports(links)
        here = (row for row in self._raw if not row[4] or row[1] in ports)
        parsed = (parse(data, time, nic, outgoing, vlan) for time, nic, outgoing, vlan, _other, data in here)
        return Captured([frame for frame in parsed if frame is not None], list(links), self._dropped)

    def _keep(self, data: bytes, ancillary: List[Tuple[int, int, bytes]], _flags: int, address: Any) -> None:
        nic, protocol, packet_type = address[:3]
        if len(self._raw) >= self._most:
            self._dropped += 1
            return
        time, vlan = _read_ancillary(ancillary)
        outgoing, other = packet_type == _OUTGOING, packet_type == _OTHER_HOST
        self._raw.append((time, nic, outgoing, vlan or protocol in _VLAN_PROTOCOLS, other, data))


def to_json(captured: Captured) -> Any:
    """As plain lists, which `from_json` takes back."""
    return {'frames': captured.frames, 'links': captured.links, 'dropped': captured.dropped}


def from_json(value: Any) -> Captured:
    """KeyError, TypeError or ValueError on anything that `to_json` did not make."""
    links = [Link(*row) for row in value['links']]
    return Captured([from_row(row) for row in value['frames']], links, value['dropped'])


def merge(captures: Mapping[str, Captured]) -> Captured:
    """The captures of several hosts as one, each NIC called `host nic`. Their clocks have to agree."""
    frames = [frame._replace(nic=f'{host} {frame.nic}') for host, one in captures.items() for frame in one.frames]
    links = [_of_host(host, link) for host, one in captures.items() for link in one.links]
    return Captured(frames, links, sum(one.dropped for one in captures.values()))


def _of_host(host: str, link: Link) -> Link:
    name, master, lower = (value and f'{host} {value}' for value in (link.name, link.master, link.lower))
    return link._replace(name=str(name), master=master, lower=lower)


def _open(program: bytes, buffer: int) -> socket.socket:
    try:
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ETH_P_ALL))
    except OSError as problem:
        reason = str(problem.strerror)
        if isinstance(problem, PermissionError):
            reason = 'needs CAP_NET_RAW (root) in the network namespace of this host'
        raise KernelError('open', 'packet socket', reason, problem.errno or 0) from problem
    _attach(sock, program)
    sock.setblocking(False)
    sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    sock.setsockopt(_SOL_PACKET, _PACKET_AUXDATA, 1)
    _enlarge(sock, buffer)
    return sock


def _attach(sock: socket.socket, program: bytes) -> None:
    """SO_ATTACH_FILTER wants the address of the program (struct sock_fprog), which an array can tell."""
    kept = array.array('B', program)
    address, length = kept.buffer_info()
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack('@HP', length // 8, address))


def _enlarge(sock: socket.socket, buffer: int) -> None:
    """Beyond net.core.rmem_max only with CAP_NET_ADMIN outside of user namespaces."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, buffer)
    except PermissionError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)


def _discard_unfiltered(sock: socket.socket) -> int:
    """What came between the socket's making and its filter is nobody's, lost or not; how many came since and wait."""
    discarded = 0
    try:
        while True:
            sock.recv(1)
            discarded += 1
    except BlockingIOError:
        packets, drops = _statistics(sock)
        return packets - drops - discarded


def _statistics(sock: socket.socket) -> Tuple[int, int]:
    """Packets, the dropped among them, and drops since the last call (PACKET_STATISTICS of packet(7) resets them)."""
    packets, drops = struct.unpack('=II', sock.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8))
    return packets, drops


def _read_ancillary(ancillary: List[Tuple[int, int, bytes]]) -> Tuple[float, bool]:
    """The kernel's time stamp, and whether it took a VLAN tag off."""
    time, vlan = 0.0, False
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == _SO_TIMESTAMPNS:
            seconds, nanoseconds = struct.unpack_from('@ll', data)
            time = seconds + nanoseconds / 1e9
        elif level == _SOL_PACKET and kind == _PACKET_AUXDATA:
            vlan = bool(_AUXDATA.unpack_from(data)[0] & _STATUS_VLAN_VALID)
    return time, vlan
