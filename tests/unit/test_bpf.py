# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter program, run by a small interpreter, lets through exactly what it should."""

from __future__ import annotations

import struct

import packets
from ansible_collections.returntraffic.net.plugins.module_utils.proof.bpf import (
    MAXIMUM,
    SNAP_LENGTH,
    Instruction,
    compile_filter,
    pack,
)
from hypothesis import given
from hypothesis import strategies as st

A4, B4, C4 = '10.0.3.23', '192.168.1.1', '10.0.1.21'
A6, B6, C6 = 'fd00:3::23', 'fd00:9::1', 'fd00:1::21'

_ADDRESSES = [A4, B4, C4, '10.0.3.24', A6, B6, C6, 'fd00:3::24', 'fe00:3::23']

#: Octets that each load instruction reads.
_WIDTHS = {0x20: 4, 0x28: 2, 0x30: 1, 0x40: 4, 0x50: 1, 0xB1: 1}


def run(program: list[Instruction], packet: bytes) -> int:
    """How many octets of a packet the kernel would keep."""
    accumulator = index = at = 0
    while True:
        code, jt, jf, k = program[at]
        at += 1
        if code == 0x06:
            return k
        if code == 0x05:
            at += k
        elif code in (0x15, 0x25, 0x45):
            taken = {0x15: accumulator == k, 0x25: accumulator > k, 0x45: bool(accumulator & k)}[code]
            at += jt if taken else jf
        elif code == 0x54:
            accumulator &= k
        else:
            place = index + k if code & 0x40 else k
            width = _WIDTHS[code]
            if place + width > len(packet):
                return 0
            value = int.from_bytes(packet[place : place + width], 'big')
            if code == 0xB1:
                index = (value & 15) * 4
            else:
                accumulator = value


def kept(addresses: list[str], packet: bytes) -> bool:
    return run(compile_filter(addresses), packet) > 0


def test_source_and_destination_are_compared_in_both_families() -> None:
    for client, vip, other in ((A4, B4, C4), (A6, B6, C6)):
        assert kept([client], packets.ip(client, vip, packets.TCP, packets.tcp(1, 2)))
        assert kept([client], packets.ip(vip, client, packets.TCP, packets.tcp(1, 2)))
        assert not kept([client], packets.ip(vip, other, packets.TCP, packets.tcp(1, 2)))


def test_icmp_errors_are_kept_for_the_packet_they_quote() -> None:
    about_client = packets.ip(B4, A4, packets.TCP, packets.tcp(1, 2))
    about_other = packets.ip(B4, '10.0.3.24', packets.TCP, packets.tcp(1, 2))
    for kind in (3, 11, 12):
        assert kept([A4], packets.ip(C4, B4, packets.ICMP, packets.icmp_error(kind, 4, about_client), options=bytes(4)))
        assert not kept([A4], packets.ip(C4, B4, packets.ICMP, packets.icmp_error(kind, 4, about_other)))
    assert kept([A6], packets.ip(C6, B6, packets.ICMPV6, packets.icmp_error(2, 0, packets.ip(B6, A6, 6, b'1234'))))
    assert not kept([A6], packets.ip(C6, B6, packets.ICMPV6, packets.icmp_error(2, 0, packets.ip(B6, C6, 6, b'1234'))))


def test_what_only_looks_like_an_icmp_error_is_not_kept() -> None:
    quoted = packets.ip(B4, A4, packets.TCP, packets.tcp(1, 2))
    assert not kept([A4], packets.ip(C4, B4, packets.UDP, packets.icmp_error(3, 4, quoted)))
    assert not kept([A4], packets.ip(C4, B4, packets.ICMP, packets.icmp_error(8, 0, quoted)))
    assert not kept([A4], packets.ip(C4, B4, packets.ICMP, packets.icmp_error(3, 4, quoted), offset=8))
    six = packets.ip(B6, A6, packets.TCP, packets.tcp(1, 2))
    assert not kept([A6], packets.ip(C6, B6, packets.ICMPV6, packets.icmp_error(129, 0, six)))
    assert not kept([A6], packets.ip(C6, B6, packets.UDP, packets.icmp_error(2, 0, six)))


def test_no_address_keeps_every_ip_packet_and_nothing_else() -> None:
    assert kept([], packets.ip(A4, B4, packets.UDP, b''))
    assert kept([], packets.ip(A6, B6, packets.UDP, b''))
    assert not kept([], bytes.fromhex('0001080006040001') + bytes(20))


def test_a_family_without_addresses_is_not_kept() -> None:
    assert not kept([A4], packets.ip(A6, B6, packets.UDP, b''))
    assert not kept([A6], packets.ip(A4, B4, packets.UDP, b''))


def test_the_head_of_a_packet_is_kept() -> None:
    assert run(compile_filter([A4]), packets.ip(A4, B4, packets.UDP, bytes(1400))) == SNAP_LENGTH


def test_a_thousand_addresses_let_all_ip_through_rather_than_be_refused() -> None:
    many = [f'10.1.{number // 250}.{number % 250}' for number in range(1000)]
    program = compile_filter(many)
    assert len(program) <= MAXIMUM
    assert run(program, packets.ip(C4, B4, packets.UDP, b'')) > 0


def test_a_hundred_of_each_family_fit() -> None:
    four = [f'10.1.0.{number}' for number in range(100)]
    program = compile_filter(four + [f'fd00:5::{number:x}' for number in range(80)])
    assert len(program) <= MAXIMUM
    assert run(program, packets.ip('10.1.0.99', B4, packets.UDP, b'')) > 0
    assert run(program, packets.ip(B6, 'fd00:5::4f', packets.UDP, b'')) > 0
    assert run(program, packets.ip(C4, B4, packets.UDP, b'')) == 0


def test_packed_as_the_kernel_wants_it() -> None:
    assert pack([Instruction(0x15, 1, 2, 0x01020304)]) == struct.pack('=HBBI', 0x15, 1, 2, 0x01020304)


_ADDRESS = st.sampled_from(_ADDRESSES)


@given(st.sets(_ADDRESS), _ADDRESS, _ADDRESS, st.integers(0, 60))
def test_kept_if_and_only_if_an_address_is_the_clients(wanted: set[str], src: str, dst: str, size: int) -> None:
    if (':' in src) != (':' in dst):
        src = dst
    packet = packets.ip(src, dst, packets.UDP, bytes(size))
    assert kept(sorted(wanted), packet) == (not wanted or src in wanted or dst in wanted)


@given(st.sets(_ADDRESS), st.binary(max_size=120))
def test_any_bytes_end_the_program(wanted: set[str], packet: bytes) -> None:
    assert run(compile_filter(sorted(wanted)), packet) in (0, SNAP_LENGTH)
