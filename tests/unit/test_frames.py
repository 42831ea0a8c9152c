# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packets become frames; whatever the bytes are, nothing is raised."""

from __future__ import annotations

import json
import struct

import packets
from ansible_collections.returntraffic.net.plugins.module_utils.proof.frames import (
    ICMP,
    ICMPV6,
    TCP,
    UDP,
    Quote,
    from_row,
    parse,
)
from hypothesis import given
from hypothesis import strategies as st

CLIENT4, VIP4, ROUTER4 = '10.0.3.23', '192.168.1.1', '10.0.1.21'
CLIENT6, VIP6, ROUTER6 = 'fd00:3::23', 'fd00:9::1', 'fd00:1::21'

SAMPLES = [
    packets.ip(CLIENT4, VIP4, TCP, packets.tcp(40000, 8080)),
    packets.ip(CLIENT6, VIP6, TCP, packets.tcp(40000, 8080, 'SA')),
    packets.ip(CLIENT4, VIP4, UDP, packets.udp(40000, 8080), options=b'\1' * 8),
    packets.ip(CLIENT4, VIP4, ICMP, packets.echo(8, 77)),
    packets.ip(CLIENT6, VIP6, ICMPV6, packets.echo(128, 77)),
    packets.ip(VIP4, CLIENT4, ICMP, packets.icmp_error(3, 3, packets.ip(CLIENT4, VIP4, UDP, packets.udp(40000, 8089)))),
    packets.ip(ROUTER6, VIP6, ICMPV6, packets.icmp_error(2, 0, packets.ip(VIP6, CLIENT6, TCP, b'\x1f\x90\0\4'))),
    packets.ip(CLIENT6, VIP6, packets.FRAGMENT, packets.fragment_header(UDP, 1232, 99) + b'rest of it'),
]


def test_tcp_has_ports_and_flags() -> None:
    frame = parse(SAMPLES[0], 5.5, 'eth1', False)
    assert frame is not None
    assert (frame.time, frame.nic, frame.outgoing, frame.family, frame.proto) == (5.5, 'eth1', False, 'ipv4', TCP)
    assert (frame.src, frame.sport, frame.dst, frame.dport, frame.flags) == (CLIENT4, 40000, VIP4, 8080, 'S')
    assert frame.length == 40
    six = parse(SAMPLES[1])
    assert six is not None
    assert (six.family, six.src, six.dst, six.flags, six.length) == ('ipv6', CLIENT6, VIP6, 'SA', 60)


def test_ports_are_found_behind_ip_options() -> None:
    frame = parse(SAMPLES[2])
    assert frame is not None
    assert (frame.proto, frame.sport, frame.dport) == (UDP, 40000, 8080)


def test_echo_has_its_identifier() -> None:
    for sample, kind in ((SAMPLES[3], 8), (SAMPLES[4], 128)):
        frame = parse(sample)
        assert frame is not None
        assert (frame.icmp_type, frame.icmp_id, frame.quote) == (kind, 77, None)


def test_an_icmp_error_tells_which_packet_it_is_about() -> None:
    unreachable = parse(SAMPLES[5])
    assert unreachable is not None
    assert unreachable.quote == Quote(UDP, CLIENT4, VIP4, 40000, 8089)
    assert (unreachable.icmp_type, unreachable.icmp_code, unreachable.too_big) == (3, 3, False)


def test_an_icmp_error_about_an_echo_quotes_its_identifier() -> None:
    inner = packets.ip(CLIENT4, VIP4, ICMP, packets.echo(8, 77))
    frame = parse(packets.ip(ROUTER4, CLIENT4, ICMP, packets.icmp_error(11, 0, inner)))
    assert frame is not None
    assert frame.quote == Quote(ICMP, CLIENT4, VIP4, icmp_id=77)


def test_packet_too_big_is_recognised_in_both_families() -> None:
    six = parse(SAMPLES[6])
    quoted = packets.ip(VIP4, CLIENT4, TCP, b'\x1f\x90\0\4')
    four = parse(packets.ip(ROUTER4, VIP4, ICMP, packets.icmp_error(3, 4, quoted)))
    assert six is not None
    assert four is not None
    assert six.too_big
    assert four.too_big
    assert six.quote == Quote(TCP, VIP6, CLIENT6, 8080, 4)
    assert four.quote == Quote(TCP, VIP4, CLIENT4, 8080, 4)


def test_later_fragments_have_no_ports_but_an_identity() -> None:
    four = parse(packets.ip(CLIENT4, VIP4, UDP, b'not a header', ident=99, offset=1480))
    six = parse(SAMPLES[7])
    for frame, offset in ((four, 1480), (six, 1232)):
        assert frame is not None
        assert (frame.proto, frame.ident, frame.offset, frame.sport, frame.dport) == (UDP, 99, offset, 0, 0)


def test_the_first_fragment_has_ports() -> None:
    frame = parse(packets.ip(CLIENT6, VIP6, packets.FRAGMENT, packets.fragment_header(UDP, 0, 99) + packets.udp(4, 5)))
    assert frame is not None
    assert (frame.proto, frame.ident, frame.sport, frame.dport) == (UDP, 99, 4, 5)


def test_ipv6_extension_headers_are_stepped_over() -> None:
    hop_by_hop = struct.pack('!BB6x', 60, 0)
    destination = struct.pack('!BB14x', TCP, 1)
    frame = parse(packets.ip(CLIENT6, VIP6, 0, hop_by_hop + destination + packets.tcp(4, 5)))
    assert frame is not None
    assert (frame.proto, frame.sport, frame.dport) == (TCP, 4, 5)


def test_what_is_not_ip_is_no_frame() -> None:
    arp = bytes.fromhex('0001080006040001') + bytes(20)
    assert parse(arp) is None
    assert parse(b'') is None
    assert parse(SAMPLES[0][:19]) is None
    assert parse(b'\x41' + SAMPLES[0][1:]) is None


def test_frames_survive_json() -> None:
    for sample in SAMPLES:
        frame = parse(sample, 1.25, 'eth1', True, True)
        assert frame is not None
        assert from_row(json.loads(json.dumps(frame))) == frame


@given(st.binary(max_size=300))
def test_any_bytes_are_taken(data: bytes) -> None:
    frame = parse(data)
    assert frame is None or frame.family in ('ipv4', 'ipv6')


_CHANGES = st.lists(st.tuples(st.integers(0, 119), st.integers(0, 255)), max_size=8)


@given(st.sampled_from(SAMPLES), st.integers(0, 120), _CHANGES)
def test_packets_cut_off_or_forged_are_taken(sample: bytes, size: int, changes: list[tuple[int, int]]) -> None:
    forged = bytearray(sample[:size])
    for place, value in changes:
        if place < len(forged):
            forged[place] = value
    frame = parse(bytes(forged))
    assert (frame is not None) == (len(forged) > 0 and _whole_header(bytes(forged)))


def _whole_header(data: bytes) -> bool:
    if data[0] >> 4 == 4:
        return len(data) >= 20 and data[0] & 15 >= 5
    return data[0] >> 4 == 6 and len(data) >= 40
