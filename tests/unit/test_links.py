# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Interfaces and their addresses between bytes and values."""

from __future__ import annotations

import struct

import pytest
from ansible_collections.returntraffic.net.plugins.module_utils.errors import KernelError
from ansible_collections.returntraffic.net.plugins.module_utils.kernel import addresses, links
from ansible_collections.returntraffic.net.plugins.module_utils.kernel.netlink import attribute
from ansible_collections.returntraffic.net.plugins.module_utils.objects import Address, Link
from hypothesis import given
from hypothesis import strategies as some
from test_rules import maybe

INDEXES = {'lo': 1, 'vrf1': 7}


@given(
    some.builds(
        Link,
        some.integers(0, 0x7FFFFFFF),
        some.text('abcxyz0189._-', min_size=1, max_size=15),
        maybe(some.binary(min_size=6, max_size=6).map(lambda data: data.hex(':'))),
        some.booleans(),
        some.integers(1, 0xFFFFFFFF),
        maybe(some.sampled_from(['bridge', 'veth', 'vrf'])),
        some.sampled_from([None, 'vrf1']),
        some.none(),
        some.none(),
        maybe(some.text(min_size=1, max_size=40).filter(lambda text: '\0' not in text)),
    )
)
def test_links_round_trip(link: Link) -> None:
    link = link._replace(vrf_table=77) if link.kind == 'vrf' else link
    again = links.decode(links.encode(link, INDEXES))
    assert again == link._replace(master=link.master and '7')


def test_names_take_the_place_of_indexes() -> None:
    read = [Link(1, 'lo'), Link(2, 'vrf1', kind='vrf'), Link(3, 'eth1', master='2', lower='9'), Link(9, 'eth0')]
    assert links.with_names(read)[2] == Link(3, 'eth1', master='vrf1', lower='eth0')
    assert links.with_names(read[2:3]) == [Link(3, 'eth1')]


def test_the_other_end_in_another_namespace_is_no_lower() -> None:
    body = links.encode(Link(3, 'eth1', mtu=1500), {}) + attribute(5, struct.pack('=I', 4))
    assert links.decode(body).lower == '4'
    assert links.decode(body + attribute(37, struct.pack('=i', 0))).lower is None


def test_only_ethernet_addresses_are_mac() -> None:
    assert links.decode(links.encode(Link(3, 'tun0', mtu=1500), {}) + attribute(1, b'\x0a\0\0\1')).mac is None


def test_an_unknown_master_is_named() -> None:
    with pytest.raises(KernelError, match='find master br9 of eth1: no such device; there are lo, vrf1'):
        links.encode(Link(3, 'eth1', master='br9'), INDEXES)


#: RTM_NEWADDR of 10.0.0.1/24 on interface 3, from Linux 6.18.
CAPTURED = bytes.fromhex(
    '0218800003000000080001000a000001080002000a000001090003006574683100000000'
    '080008008000000014000600ffffffffffffffffb88d0400b88d0400'
)


def test_a_captured_address() -> None:
    assert addresses.decode(CAPTURED, {3: 'eth1'}) == Address('ipv4', 'eth1', '10.0.0.1', 24)
    assert addresses.decode(CAPTURED, {}).device == 'if3'


@pytest.mark.parametrize(
    'address', [Address('ipv4', 'lo', '192.168.1.1', 32), Address('ipv6', 'vrf1', 'fd00:192:168::1', 64)]
)
def test_addresses_round_trip(address: Address) -> None:
    names = {index: name for name, index in INDEXES.items()}
    assert addresses.decode(addresses.encode(address, INDEXES), names) == address


def test_the_local_end_counts_where_there_is_a_peer() -> None:
    body = struct.pack('=BBBBI', 2, 32, 0, 0, 1) + attribute(1, b'\x0a\0\0\2') + attribute(2, b'\x0a\0\0\1')
    assert addresses.decode(body, {1: 'lo'}).address == '10.0.0.1'


def test_an_unknown_device_is_named() -> None:
    with pytest.raises(KernelError, match='find device eth9: no such device; there are lo, vrf1'):
        addresses.encode(Address('ipv4', 'eth9', '10.0.0.1', 32), INDEXES)


@given(some.binary(max_size=60))
def test_any_bytes_are_an_object_or_an_error(body: bytes) -> None:
    for decode in (links.decode, lambda data: addresses.decode(data, {})):
        try:
            assert isinstance(decode(body), (Link, Address))
        except KernelError as error:
            assert '\n' not in str(error)
