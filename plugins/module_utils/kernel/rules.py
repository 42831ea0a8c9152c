# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Policy rules as rtnetlink has them (linux/fib_rules.h, ip-rule(8))."""

from __future__ import annotations

import struct
from collections import Counter
from typing import Any, Dict, Iterable, List, Optional, Sequence, Tuple

from ..errors import KernelError
from ..objects import Attributes, Rule
from .changes import ADD, DELETE, Change
from .netlink import NLM_F_CREATE, Message, Netlink, attribute
from .prefixes import FAMILY_NAMES, FAMILY_NUMBERS, pack_prefix, unpack_address

RTM_NEWRULE, RTM_DELRULE, RTM_GETRULE = 32, 33, 34

#: Numbers of actions; 'to-table' is a table lookup (FR_ACT_TO_TBL).
ACTIONS: Dict[str, int] = {'to-table': 1, 'goto': 2, 'nop': 3, 'blackhole': 6, 'unreachable': 7, 'prohibit': 8}
_ACTION_NAMES = {number: name for name, number in ACTIONS.items()}
_INVERT = 0x2
#: The mask of a mark that was given none: all of it must be equal.
WHOLE_MARK = 0xFFFFFFFF

_DST, _SRC, _IIFNAME, _GOTO, _PRIORITY, _FWMARK = 1, 2, 3, 4, 6, 10
_SUPPRESS_PREFIXLEN, _TABLE, _FWMASK, _OIFNAME, _PAD, _L3MDEV = 14, 15, 16, 17, 18, 19
_UID_RANGE, _PROTOCOL, _IP_PROTO, _SPORT_RANGE, _DPORT_RANGE = 20, 21, 22, 23, 24
_SPORT_MASK, _DPORT_MASK = 28, 29
#: Linux 6.15 and later add it to a single port by themselves: the same as no mask.
_WHOLE_PORT = struct.pack('=H', 0xFFFF)
_NOT_SUPPRESSED = 0xFFFFFFFF
_NUMBERS = frozenset((_GOTO, _PRIORITY, _FWMARK, _SUPPRESS_PREFIXLEN, _TABLE, _FWMASK))
_FIELDS = frozenset(
    (_DST, _SRC, _IIFNAME, _OIFNAME, _PAD, _L3MDEV, _UID_RANGE, _PROTOCOL, _IP_PROTO, _SPORT_RANGE, _DPORT_RANGE)
)

_HEADER = struct.Struct('=8BI')
_HEADER_SIZE = _HEADER.size
#: An attribute's head and the first four bytes of its payload: all of it, when it is a number.
_ATTRIBUTE = struct.Struct('=HHI')
_EVERY_RULE = struct.Struct('=HHIHHIHHB3x')
_PORTS = struct.Struct('=HH')
_UIDS = struct.Struct('=II')

#: Where the selectors that few rules have begin and end in a Rule, and what they are in the others.
_FEW = slice(Rule._fields.index('fwmark'), Rule._fields.index('table'))
_NONE_OF_FEW: Tuple[Any, ...] = tuple(Rule('ipv4', 0))[_FEW]
_NOTHING_RARE: Tuple[Tuple[Any, ...], Attributes] = (_NONE_OF_FEW, ())


def encode(rule: Rule) -> bytes:
    """Header and attributes for RTM_NEWRULE and RTM_DELRULE.

    The protocol is always among them: RTM_DELRULE without it hits a rule of anybody.
    """
    to_bits = from_bits = 0
    parts = [b'', _EVERY_RULE.pack(8, _PRIORITY, rule.priority, 8, _TABLE, rule.table, 5, _PROTOCOL, rule.protocol)]
    if rule.from_ is not None:
        packed, from_bits = pack_prefix(rule.from_)
        parts.append(attribute(_SRC, packed))
    if rule.to is not None:
        packed, to_bits = pack_prefix(rule.to)
        parts.append(attribute(_DST, packed))
    family, table, tos, flags = FAMILY_NUMBERS[rule.family], rule.table, rule.tos or 0, _INVERT if rule.invert else 0
    head_table = table if table < 256 else 0
    parts[0] = _HEADER.pack(family, to_bits, from_bits, tos, head_table, 0, 0, ACTIONS[rule.action], flags)
    if rule[_FEW] != _NONE_OF_FEW or rule.other:
        parts += _encode_few(rule)
    return b''.join(parts)


def _encode_few(rule: Rule) -> List[bytes]:
    """Attributes of the selectors that few rules have."""
    fwmask = WHOLE_MARK if rule.fwmask is None and rule.fwmark is not None else rule.fwmask
    values: Tuple[Tuple[int, Optional[bytes]], ...] = (
        (_FWMARK, _number(rule.fwmark)),
        (_FWMASK, _number(fwmask)),
        (_SUPPRESS_PREFIXLEN, _number(rule.suppress_prefixlength)),
        (_GOTO, _number(rule.goto)),
        (_IIFNAME, rule.iif.encode() + b'\0' if rule.iif else None),
        (_OIFNAME, rule.oif.encode() + b'\0' if rule.oif else None),
        (_IP_PROTO, bytes((rule.ipproto,)) if rule.ipproto else None),
        (_L3MDEV, b'\1' if rule.l3mdev else None),
        (_SPORT_RANGE, _PORTS.pack(*rule.sport) if rule.sport else None),
        (_DPORT_RANGE, _PORTS.pack(*rule.dport) if rule.dport else None),
        (_UID_RANGE, _UIDS.pack(*rule.uid) if rule.uid else None),
    )
    return [attribute(kind, value) for kind, value in values + rule.other if value is not None]


def _number(value: Optional[int]) -> Optional[bytes]:
    return None if value is None else struct.pack('=I', value)


def decode(body: bytes) -> Rule:
    """The rule of an RTM_NEWRULE body; KernelError when the bytes are no rule."""
    try:
        numbers, texts = _split(body)
        family, to_bits, from_bits, tos, head_table, _res1, _res2, action, flags = _HEADER.unpack_from(body)
        source, destination = texts.pop(_SRC, None), texts.pop(_DST, None)
        priority, table = numbers.pop(_PRIORITY, 0), numbers.pop(_TABLE, head_table)
        protocol = texts.pop(_PROTOCOL, b'\0')[0]
        if numbers.get(_SUPPRESS_PREFIXLEN) == _NOT_SUPPRESSED:
            del numbers[_SUPPRESS_PREFIXLEN]
        rare = numbers or texts or tos or flags & _INVERT
        few, other = _decode_few(numbers, texts, tos, flags) if rare else _NOTHING_RARE
        before = (
            FAMILY_NAMES[family],
            priority,
            _ACTION_NAMES.get(action) or f'action-{action}',
            None if source is None else f'{unpack_address(source)}/{from_bits}',
            None if destination is None else f'{unpack_address(destination)}/{to_bits}',
        )
        # Rule(...) would be three times slower; a test compares both.
        return tuple.__new__(Rule, (*before, *few, table, protocol, other))
    except (struct.error, KeyError, IndexError, ValueError, OSError) as error:
        raise KernelError('parse', 'rule', f'{body.hex()}: {error!r}') from error


def _split(body: bytes) -> Tuple[Dict[int, int], Dict[int, bytes]]:
    """Attributes that are numbers, and all others."""
    numbers: Dict[int, int] = {}
    texts: Dict[int, bytes] = {}
    unpack, offset, end = _ATTRIBUTE.unpack_from, _HEADER_SIZE, len(body)
    while offset < end:
        length, kind, number = unpack(body, offset)
        if length < 4 or offset + length > end:
            raise ValueError(f'attribute of length {length} at {offset}')
        if kind in _NUMBERS:
            numbers[kind] = number
        else:
            texts[kind] = body[offset + 4 : offset + length]
        offset += length + 3 & ~3
    return numbers, texts


def _decode_few(
    numbers: Dict[int, int], texts: Dict[int, bytes], tos: int, flags: int
) -> Tuple[Tuple[Any, ...], Attributes]:
    """The fields from fwmark to goto, and what has no field."""
    sport, dport, uid = texts.get(_SPORT_RANGE), texts.get(_DPORT_RANGE), texts.get(_UID_RANGE)
    fwmask = numbers.get(_FWMASK)
    few = (
        None if fwmask is None else numbers.get(_FWMARK, 0),
        fwmask,
        _name(texts.get(_IIFNAME)),
        _name(texts.get(_OIFNAME)),
        bool(flags & _INVERT),
        texts[_IP_PROTO][0] if _IP_PROTO in texts else None,
        _PORTS.unpack(sport) if sport else None,
        _PORTS.unpack(dport) if dport else None,
        tos or None,
        _UIDS.unpack(uid) if uid else None,
        numbers.get(_SUPPRESS_PREFIXLEN),
        texts.get(_L3MDEV, b'\0') != b'\0',
        numbers.get(_GOTO),
    )
    return few, tuple(item for item in sorted(texts.items()) if item[0] not in _FIELDS and not _says_nothing(*item))


def _name(text: Optional[bytes]) -> Optional[str]:
    return None if text is None else text.rstrip(b'\0').decode('utf-8', 'surrogateescape')


def _says_nothing(kind: int, payload: bytes) -> bool:
    return kind in (_SPORT_MASK, _DPORT_MASK) and payload == _WHOLE_PORT


def list_rules(netlink: Netlink, family: Optional[str] = None) -> List[Rule]:
    """All rules in the kernel's order (by priority), of one family or of both."""
    rules: List[Rule] = []
    for name in [family] if family else list(FAMILY_NUMBERS):
        header = bytes((FAMILY_NUMBERS[name],)) + bytes(_HEADER_SIZE - 1)
        rules += map(decode, netlink.dump(RTM_GETRULE, header))
    return rules


def add_message(rule: Rule) -> Message:
    """Adds a rule, even if an equal one is there: so look first.

    NLM_F_EXCL would guard, but with it the kernel compares the rule with every other one.
    """
    return Message(RTM_NEWRULE, NLM_F_CREATE, encode(rule))


def delete_message(rule: Rule) -> Message:
    """Deletes the first rule that has everything this one has; `rule_changes` says how to hit exactly one."""
    return Message(RTM_DELRULE, 0, encode(rule))


def rule_message(change: Change) -> Message:
    """The message of one change."""
    return (add_message if change.operation == ADD else delete_message)(change.subject)


def rule_messages(add: Iterable[Rule] = (), delete: Iterable[Rule] = (), among: Sequence[Rule] = ()) -> List[Message]:
    """The messages of `rule_changes`."""
    return [rule_message(change) for change in rule_changes(add, delete, among)]


def rule_changes(add: Iterable[Rule] = (), delete: Iterable[Rule] = (), among: Sequence[Rule] = ()) -> List[Change]:
    """Additions, then deletions.

    `among`: all rules the kernel has now, in its order; without it a
    deletion may take another rule of the same priority and protocol.

    Highest priority number first: the kernel then finds each slot at the head of its list; any
    other order costs time that grows with the square of the number of rules. Rules of one
    priority keep their order, because the kernel evaluates them in the order they came.
    """
    changes = [Change(ADD, rule) for rule in sorted(add, key=lambda rule: -rule.priority)]
    unwanted = Counter(delete)
    groups: Dict[Tuple[str, int, int], List[Rule]] = {_group(rule): [] for rule in unwanted}
    for rule in among if unwanted else ():
        if _group(rule) in groups:
            groups[_group(rule)].append(rule)
    for key in sorted(groups, key=lambda group: group[1]):
        changes += _exact_deletions(groups[key], unwanted)
    return changes + [Change(DELETE, rule) for rule, count in unwanted.items() if count > 0]


def _group(rule: Rule) -> Tuple[str, int, int]:
    """Rules of different groups are never taken for one another by RTM_DELRULE."""
    return rule.family, rule.priority, rule.protocol


def _exact_deletions(group: Sequence[Rule], unwanted: Counter[Rule]) -> List[Change]:
    """Steps after which the unwanted rules are gone, and no other one of the group was missing meanwhile.

    In the kernel's own order each deletion hits the head of what is left, whatever else it might
    match. So where a staying rule could be hit, all staying ones are added once more behind, and
    then the whole group is deleted in order.
    """
    leaving: List[Rule] = []
    staying: List[Rule] = []
    for rule in group:
        (leaving if unwanted[rule] > 0 else staying).append(rule)
        unwanted[rule] -= 1
    if staying and _any_taken(leaving, staying):
        return [Change(ADD, rule) for rule in staying] + [Change(DELETE, rule) for rule in group]
    return [Change(DELETE, rule) for rule in leaving]


def _any_taken(leaving: Sequence[Rule], staying: Sequence[Rule]) -> bool:
    """Whether RTM_DELRULE for a leaving rule might take a staying one; yes when in doubt."""
    by_source: Dict[Optional[str], List[Rule]] = {}
    for rule in staying:
        by_source.setdefault(rule.from_, []).append(rule)
    return any(
        may_be_taken(rule, other)
        for rule in leaving
        for other in (by_source.get(rule.from_, []) if rule.from_ else staying)
    )


def may_be_taken(message: Rule, candidate: Rule) -> bool:
    """Whether a deletion with everything `message` has might hit another rule of its group.

    What the message does not have is not compared (fib_nl_delrule in net/core/fib_rules.c).
    """
    if message == candidate or message.action != candidate.action:
        return False
    compared = ('from_', 'to', 'fwmask', 'iif', 'oif', 'ipproto', 'sport', 'dport', 'uid', 'table')
    pairs = ((getattr(message, name), getattr(candidate, name)) for name in compared)
    return all(mine == theirs for mine, theirs in pairs if mine)
