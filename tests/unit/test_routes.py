# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Routes between bytes and values."""

from __future__ import annotations

from typing import Any, Dict, Mapping, Tuple

import pytest
from ansible_collections.returntraffic.net.plugins.module_utils.errors import KernelError
from ansible_collections.returntraffic.net.plugins.module_utils.kernel.changes import REPLACE, Change
from ansible_collections.returntraffic.net.plugins.module_utils.kernel.netlink import attributes
from ansible_collections.returntraffic.net.plugins.module_utils.kernel.routes import (
    DEAD_ENDS,
    TYPES,
    add_message,
    canonical,
    decode,
    delete_message,
    encode,
    identity,
    replace_message,
    route_changes,
    route_message,
    route_messages,
)
from ansible_collections.returntraffic.net.plugins.module_utils.objects import NextHop, Route
from hypothesis import given
from hypothesis import strategies as some
from test_rules import maybe, prefixes

NAMES: Mapping[int, str] = {1: 'lo', 3: 'eth1', 4: 'eth2'}
INDEXES: Dict[str, int] = {name: index for index, name in NAMES.items()}

#: Bodies of RTM_NEWROUTE as Linux 6.18 sent them.
CAPTURED = {
    '02000000fcc900010000000008000f00b90b000014000800080002001405000008000800f4010000080005000a0000020800040003000000':
        Route('ipv4', 3001, '0.0.0.0/0', next_hops=(NextHop('10.0.0.2', 'eth1'),), mtu=1300,
              other=((8, b'\x08\x00\x08\x00\xf4\x01\x00\x00'),)),
    '02100000fec900010000000008000f00fe000000080001000a050000240009001000000203000000080005000a0000021000040003000000'
    '0800050063000003':
        Route('ipv4', 254, '10.5.0.0/16',
              next_hops=(NextHop('10.0.0.2', 'eth1', 3), NextHop('99.0.0.3', 'eth1', 1, True))),
    '02100000fec900010000000008000f00fe000000080001000a060000160012000a00fe80000000000000000000000000000100000800040003'
    '000000':
        Route('ipv4', 254, '10.6.0.0/16', next_hops=(NextHop('fe80::1', 'eth1'),)),
    '0a000000fcc900070000000008000f00b90b000008000600002000ff080004000100000024000c00000000000000000000000000000000000'
    '00000000000000000000000000000000500140000000000':
        Route('ipv6', 3001, '::/0', 'unreachable', metric=4278198272),
    '0a404000fec900010000000008000f00fe00000014000100fd04000000000000000000000000000014000200fd0000000000000000000000000'
    '000000800060000040000080004000300000024000c0000000000000000000000000000000000000000000000000000000000000000000500'
    '140001000000':
        Route('ipv6', 254, 'fd04::/64', next_hops=(NextHop(None, 'eth1'),), metric=1024, other=((20, b'\x01'),),
              from_='fd00::/64'),
}  # fmt: skip
CACHED = '0a800000fec900010002000008000f00fe00000014000100fd000000000000000000000000000077'


@some.composite
def hops(draw: Any, family: str) -> Tuple[NextHop, ...]:
    addresses = prefixes(family).map(lambda prefix: prefix.partition('/')[0])
    foreign = prefixes('ipv6').map(lambda prefix: prefix.partition('/')[0])
    gateways = maybe(addresses | foreign if family == 'ipv4' else addresses)
    devices = some.sampled_from(sorted(INDEXES))
    count = draw(some.integers(1, 4))
    weights = some.integers(1, 256) if count > 1 else some.just(1)
    each = some.builds(NextHop, gateways, devices, weights, some.booleans())
    return tuple(draw(some.lists(each, min_size=count, max_size=count)))


@some.composite
def routes(draw: Any) -> Route:
    family = draw(some.sampled_from(['ipv4', 'ipv6']))
    kind = draw(some.sampled_from(sorted(TYPES)))
    return Route(
        family,
        draw(some.integers(1, 0xFFFFFFFF)),
        draw(prefixes(family) | some.just('::/0' if family == 'ipv6' else '0.0.0.0/0')),
        kind,
        () if kind in DEAD_ENDS else draw(hops(family)),
        draw(some.integers(0, 0xFFFFFFFF)),
        draw(maybe(prefixes(family).map(lambda prefix: prefix.partition('/')[0]))),
        draw(some.sampled_from([0, 253, 254])),
        draw(maybe(some.integers(68, 65520))),
        draw(some.integers(0, 255)),
        draw(some.integers(0, 255)),
        tuple(sorted(draw(some.dictionaries(some.integers(40, 60), some.binary(min_size=1, max_size=9))).items())),
        draw(maybe(prefixes('ipv6'))) if family == 'ipv6' else None,
    )


@pytest.mark.parametrize(('captured', 'route'), CAPTURED.items())
def test_captured_routes(captured: str, route: Route) -> None:
    assert decode(bytes.fromhex(captured), NAMES) == route


@pytest.mark.parametrize('captured', CAPTURED)
def test_what_is_sent_has_what_was_captured(captured: str) -> None:
    body = bytes.fromhex(captured)
    route = decode(body, NAMES)
    assert route is not None
    sent, got = attributes(encode(route, INDEXES), 12), attributes(body, 12)
    # Cache state, the absent preference and a dead end's `lo` are only for showing; metrics may change their order.
    shown = {12, 20 if got.get(20) == b'\0' else 12, 4 if route.type in DEAD_ENDS else 12}
    assert set(got) - shown == set(sent)
    assert all(sent[kind] == got[kind] for kind in sent if kind != 8)
    assert attributes(sent.get(8, b'')) == attributes(got.get(8, b''))


@given(routes())
def test_round_trip(route: Route) -> None:
    assert decode(encode(route, INDEXES), NAMES) == route


@given(routes())
def test_canonical_is_canonical(route: Route) -> None:
    once = canonical(route)
    assert canonical(once) == once
    assert once.metric or once.family == 'ipv4'


def test_a_cached_route_is_none() -> None:
    assert decode(bytes.fromhex(CACHED), NAMES) is None


def test_a_device_that_went_away_keeps_its_number() -> None:
    route = decode(bytes.fromhex(next(iter(CAPTURED))), {})
    assert route is not None and route.next_hops[0].device == 'if3'


def test_a_device_that_is_not_there_is_named() -> None:
    with pytest.raises(KernelError, match='find device eth9: no such device; there are lo, eth1, eth2'):
        encode(Route('ipv4', 5, '10.0.0.0/8', next_hops=(NextHop(None, 'eth9'),)), INDEXES)


def test_a_device_is_looked_up_here_by_default() -> None:
    assert (
        encode(Route('ipv4', 5, '10.0.0.0/8', next_hops=(NextHop(None, 'lo'),)))[-4:]
        == encode(Route('ipv4', 5, '10.0.0.0/8', next_hops=(NextHop(None, 'lo'),)), {'lo': 1})[-4:]
    )
    with pytest.raises(KernelError, match='find device notthere0: no such device; there are .*lo'):
        encode(Route('ipv4', 5, '10.0.0.0/8', next_hops=(NextHop(None, 'notthere0'),)))


@pytest.mark.parametrize(
    ('route', 'scope'),
    [
        (Route('ipv4', 5, '10.0.0.0/8', next_hops=(NextHop('1.1.1.1', 'eth1'),)), 0),
        (Route('ipv4', 5, '10.0.0.0/8', next_hops=(NextHop(None, 'eth1'),)), 253),
        (Route('ipv4', 5, '10.0.0.0/8', 'local', (NextHop(None, 'lo'),)), 254),
        (Route('ipv4', 5, '10.0.0.0/8', 'broadcast', (NextHop(None, 'eth1'),)), 253),
        (Route('ipv4', 5, '10.0.0.0/8', 'throw'), 0),
        (Route('ipv4', 5, '10.0.0.0/8', other=((30, b'\1\0\0\0'),)), 0),
        (Route('ipv6', 5, 'fd00::/8', next_hops=(NextHop(None, 'eth1'),)), 0),
    ],
)
def test_scopes(route: Route, scope: int) -> None:
    assert canonical(route).scope == scope


def test_a_next_hop_object_stands_for_the_next_hops() -> None:
    route = Route('ipv4', 5, '10.0.0.0/8', next_hops=(NextHop('1.1.1.1', 'eth1'),), other=((30, b'\1\0\0\0'),))
    assert set(attributes(encode(route, INDEXES), 12)) == {1, 15, 30}


@pytest.mark.parametrize(
    'body',
    [b'', b'\2' * 11, bytes.fromhex('63000000000000010000000008000f0005000000'),
     bytes.fromhex('0210000000000001000000000600090001020000')],
)  # fmt: skip
def test_junk_is_an_error_and_no_traceback(body: bytes) -> None:
    with pytest.raises(KernelError, match='parse'):
        decode(body, NAMES)


@given(some.binary(max_size=80))
def test_any_bytes_are_a_route_or_an_error(body: bytes) -> None:
    try:
        assert isinstance(decode(body, NAMES), (Route, type(None)))
    except KernelError as error:
        assert '\n' not in str(error)


def test_changes_and_their_messages() -> None:
    far = Route('ipv4', 5, '10.1.0.0/16', next_hops=(NextHop('10.0.0.9', None),))
    near = Route('ipv4', 5, '10.0.0.0/24', next_hops=(NextHop(None, 'lo'),))
    other = far._replace(next_hops=(NextHop('10.0.0.8', None),))
    changes = route_changes([far, near], [(far, other)], [near])
    assert [(change.operation, change.subject) for change in changes] == [
        ('add', near), ('add', far), ('replace', other), ('delete', near),
    ]  # fmt: skip
    flags = [(message.type, message.flags) for message in route_messages([far, near], [(far, other)], [near], INDEXES)]
    assert flags == [(24, 0x600), (24, 0x600), (24, 0x500), (25, 0)]
    assert route_message(Change(REPLACE, other, far), INDEXES) == replace_message(other, INDEXES)
    assert add_message(far).body == delete_message(far).body


def test_identity_knows_no_next_hops() -> None:
    route = Route('ipv6', 5, 'fd00::/8', next_hops=(NextHop('fe80::1', 'lo'),), metric=1024)
    assert identity(route) == identity(route._replace(next_hops=(), type='throw'))
    assert identity(route) != identity(route._replace(from_='fd01::/16'))
