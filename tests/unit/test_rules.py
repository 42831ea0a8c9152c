# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules between bytes and values, and deletions that hit exactly what is meant."""

from __future__ import annotations

import struct
from typing import Any, List, Optional, Sequence

import pytest
from ansible_collections.returntraffic.net.plugins.module_utils.errors import KernelError
from ansible_collections.returntraffic.net.plugins.module_utils.kernel.changes import ADD, DELETE, Change
from ansible_collections.returntraffic.net.plugins.module_utils.kernel.netlink import NLM_F_CREATE, attributes
from ansible_collections.returntraffic.net.plugins.module_utils.kernel.prefixes import canonical_prefix, unpack_address
from ansible_collections.returntraffic.net.plugins.module_utils.kernel.rules import (
    ACTIONS,
    add_message,
    decode,
    delete_message,
    encode,
    rule_changes,
    rule_messages,
)
from ansible_collections.returntraffic.net.plugins.module_utils.objects import Rule
from hypothesis import given
from hypothesis import strategies as some

#: Bodies of RTM_NEWRULE as Linux 6.18 sent them.
CAPTURED = {
    '02002000fc0000010000000008000f00b90b000008000e00ffffffff05001500c900000008000600b80b000008000200c0a80101': Rule(
        'ipv4', 3000, from_='192.168.1.1/32', table=3001
    ),
    '02080010090000010200000008000f000900000008000e000000000005001500c9000000070003006c6f0000090011006574683100000000'
    '08000600b90b000008000a001000000008001000ff0000000c001400000000000900000008001700050005000600'
    '1c00ffff00000800180050005a000500160006000000080001000a000000': Rule(
        'ipv4', 3001, to='10.0.0.0/8', fwmark=0x10, fwmask=0xFF, iif='lo', oif='eth1', invert=True, ipproto=6,
        sport=(5, 5), dport=(80, 90), tos=16, uid=(0, 9), suppress_prefixlength=0, table=9,
    ),
    '02000000000000020000000008000f000000000008000e00ffffffff05001500c900000008000600ba0b000008000400bb0b0000': Rule(
        'ipv4', 3002, 'goto', goto=3003
    ),
    '02002000000000010000000008000f000000000008000e00ffffffff05001500c900000008000600bc0b00000500130001000000'
    '080002000101010108000b0006000500': Rule(
        'ipv4', 3004, from_='1.1.1.1/32', l3mdev=True, other=((11, b'\x06\x00\x05\x00'),)
    ),
    '0a000800000000070000000008000f000000000008000e00ffffffff05001500c9000000080006000500000014000200'
    'fd000000000000000000000000000000': Rule('ipv6', 5, 'unreachable', from_='fd00::/8'),
}  # fmt: skip


@some.composite
def prefixes(draw: Any, family: str) -> str:
    bits = 128 if family == 'ipv6' else 32
    length = draw(some.integers(1, bits))
    number = draw(some.integers(0, (1 << length) - 1)) << (bits - length)
    return f'{unpack_address(number.to_bytes(bits // 8, "big"))}/{length}'


def maybe(values: Any) -> Any:
    return some.none() | values


def ranges(low: int, high: int) -> Any:
    return some.tuples(some.integers(low, high), some.integers(low, high)).map(sorted).map(tuple)


@some.composite
def rules(draw: Any) -> Rule:
    family = draw(some.sampled_from(['ipv4', 'ipv6']))
    fwmask = draw(maybe(some.integers(1, 0xFFFFFFFF)))
    names = some.text('abcdefghijklmnop0123456789.', min_size=1, max_size=15)
    action = draw(some.sampled_from(sorted(ACTIONS)))
    return Rule(
        family,
        draw(some.integers(0, 0xFFFFFFFF)),
        action,
        draw(maybe(prefixes(family))),
        draw(maybe(prefixes(family))),
        None if fwmask is None else draw(some.integers(0, 0xFFFFFFFF)),
        fwmask,
        draw(maybe(names)),
        draw(maybe(names)),
        draw(some.booleans()),
        draw(maybe(some.integers(1, 255))),
        draw(maybe(ranges(1, 65534))),
        draw(maybe(ranges(1, 65534))),
        draw(maybe(some.integers(1, 255))),
        draw(maybe(ranges(0, 0xFFFFFFFE))),
        draw(maybe(some.integers(0, 128))),
        draw(some.booleans()),
        draw(maybe(some.integers(1, 0xFFFFFFFF))),
        draw(some.integers(0, 0xFFFFFFFF)),
        draw(some.integers(0, 255)),
        tuple(sorted(draw(some.dictionaries(some.integers(40, 60), some.binary(min_size=1, max_size=9))).items())),
    )


@pytest.mark.parametrize(('captured', 'rule'), CAPTURED.items())
def test_captured_rules(captured: str, rule: Rule) -> None:
    assert decode(bytes.fromhex(captured)) == rule


@pytest.mark.parametrize('captured', CAPTURED)
def test_what_is_sent_has_what_was_captured(captured: str) -> None:
    body = bytes.fromhex(captured)
    sent, got = attributes(encode(decode(body)), 12), attributes(body, 12)
    # The kernel adds what says nothing: no suppression, and from 6.15 on the mask of a single port.
    assert {kind: value for kind, value in got.items() if kind != 28 and value != b'\xff' * 4} == sent


@given(rules())
def test_round_trip(rule: Rule) -> None:
    again = decode(encode(rule))
    assert again == rule
    assert isinstance(again, Rule)
    assert Rule(*again) == again and hash(Rule(*again)) == hash(again)


@given(prefixes('ipv6') | prefixes('ipv4'))
def test_prefixes_are_canonical(prefix: str) -> None:
    assert canonical_prefix(prefix) == prefix


def test_a_mark_without_mask_is_the_whole_mark() -> None:
    assert decode(encode(Rule('ipv4', 1, fwmark=0, table=5))) == Rule('ipv4', 1, fwmark=0, fwmask=0xFFFFFFFF, table=5)


def test_the_protocol_is_always_sent() -> None:
    assert attributes(encode(Rule('ipv4', 1)), 12)[21] == bytes([201])


@pytest.mark.parametrize(
    'body',
    [
        b'',
        b'\2' * 11,
        bytes.fromhex('63000000000000010000000008000f0005000000'),
        bytes.fromhex('020000000000000100000000080006'),
        bytes.fromhex('02000000000000010000000000000600'),
        bytes.fromhex('0200000000000001000000000600020001020000'),
        bytes.fromhex('0200000000000001000000000500160006'),
    ],
)
def test_junk_is_an_error_and_no_traceback(body: bytes) -> None:
    with pytest.raises(KernelError, match='parse rule: '):
        decode(body)


@given(some.binary(max_size=80))
def test_any_bytes_are_a_rule_or_an_error(body: bytes) -> None:
    try:
        assert isinstance(decode(body), Rule)
    except KernelError as error:
        assert '\n' not in str(error)


def rule(priority: int, from_: Optional[str] = None, **fields: Any) -> Rule:
    return Rule('ipv4', priority, from_=from_, **{'table': 5, **fields})


def test_additions_go_from_the_highest_priority_number_and_keep_their_order() -> None:
    wanted = [rule(2, '10.0.0.1/32'), rule(1), rule(2), rule(9)]
    assert [change.subject for change in rule_changes(add=wanted)] == [wanted[3], wanted[0], wanted[2], wanted[1]]


def test_flags_have_no_exclusive() -> None:
    assert add_message(rule(1))[:2] == (32, NLM_F_CREATE)
    assert delete_message(rule(1))[:2] == (33, 0)
    assert rule_messages(add=[rule(1)], delete=[rule(2)]) == [add_message(rule(1)), delete_message(rule(2))]


def deletes(changes: Sequence[Change]) -> List[Rule]:
    return [change.subject for change in changes if change.operation == DELETE]


def kernel_after(there: Sequence[Rule], changes: Sequence[Change]) -> List[Rule]:
    """A kernel that takes for a deletion the first rule that has all that the message has."""
    listed = list(there)
    for change in changes:
        if change.operation == ADD:
            place = sum(1 for other in listed if other.priority <= change.subject.priority)
            listed.insert(place, change.subject)
        else:
            listed.remove(next(other for other in listed if has_all_of(change.subject, other)))
    return listed


def has_all_of(message: Rule, other: Rule) -> bool:
    same = ('family', 'priority', 'action', 'protocol')
    given_ = ('from_', 'to', 'iif', 'oif', 'fwmask', 'ipproto', 'table')
    return all(getattr(message, name) == getattr(other, name) for name in same) and all(
        getattr(message, name) in (None, 0, getattr(other, name)) for name in given_
    )


def test_a_deletion_that_could_hit_another_rule_replaces_that_one_first() -> None:
    there = [rule(7, '10.0.0.1/32'), rule(7), rule(7, '10.0.0.2/32')]
    changes = rule_changes(delete=[there[1]], among=there)
    assert kernel_after(there, changes) == [there[0], there[2]]
    missing_meanwhile = [kernel_after(there, changes[:step]) for step in range(len(changes) + 1)]
    assert all(there[0] in listed and there[2] in listed for listed in missing_meanwhile)


def test_a_plain_deletion_is_one_message() -> None:
    there = [rule(7, '10.0.0.1/32'), rule(7, '10.0.0.2/32'), rule(7, '10.0.0.3/32')]
    assert rule_changes(delete=[there[1]], among=there) == [Change(DELETE, there[1])]


def test_all_of_a_priority_go_in_the_kernels_order() -> None:
    there = [rule(7, '10.0.0.1/32'), rule(7), rule(7, '10.0.0.2/32')]
    assert deletes(rule_changes(delete=reversed(there), among=there)) == there


small = some.builds(
    rule,
    some.integers(1, 2),
    some.sampled_from([None, '10.0.0.1/32', '10.0.0.2/32']),
    iif=some.sampled_from([None, 'lo']),
    protocol=some.sampled_from([201, 5]),
    table=some.sampled_from([5, 6]),
)


@given(some.lists(small, max_size=8), some.data())
def test_exactly_the_unwanted_rules_go(listed: List[Rule], data: Any) -> None:
    there = sorted(listed, key=lambda one: one.priority)
    mine = [one for one in there if one.protocol == 201]
    unwanted = data.draw(some.lists(some.sampled_from(mine), max_size=4, unique=True)) if mine else []
    left = list(there)
    for one in unwanted:
        left.remove(one)
    assert sorted(kernel_after(there, rule_changes(delete=unwanted, among=there)), key=repr) == sorted(left, key=repr)


def test_numbers_are_in_the_machines_byte_order() -> None:
    assert attributes(encode(rule(0x01020304)), 12)[6] == struct.pack('=I', 0x01020304)
