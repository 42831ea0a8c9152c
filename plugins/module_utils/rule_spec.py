# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules as users write them (the keys of linux-system-roles/network's routing_rule) to rules as the kernel has them."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Optional, Tuple

from . import values
from .errors import PolicyError
from .kernel.prefixes import canonical_prefix
from .kernel.rules import WHOLE_MARK
from .list_spec import (
    Context,
    Parser,
    families,
    family_parser,
    one_family,
    parse_keys,
    parse_list,
    parse_range,
    table_parser,
)
from .objects import Rule

HIGHEST_PRIORITY = 0xFFFFFFFF
#: The kernel takes no port above this in a rule (fib_rule_port_range_valid).
HIGHEST_PORT = 65534
#: The last user id; -1 means none.
HIGHEST_UID = 0xFFFFFFFE

ACTION_CHOICES = ('to-table', 'goto', 'nop', 'blackhole', 'prohibit', 'unreachable')
#: IP protocols that have a name here (numbers by IANA); all others go by number.
IP_PROTOCOLS = {
    'icmp': 1,
    'igmp': 2,
    'tcp': 6,
    'udp': 17,
    'dccp': 33,
    'gre': 47,
    'esp': 50,
    'ah': 51,
    'icmpv6': 58,
    'ipv6-icmp': 58,
    'sctp': 132,
    'udplite': 136,
}
#: Fields that say nothing about others; a rule with a table and only these needs no further look.
_INDEPENDENT = frozenset(('priority', 'from_', 'to', 'iif', 'oif', 'invert', 'table'))
#: Prefixes that select all packets, which is to say nothing.
_EVERYTHING = ('0.0.0.0/0', '::/0')
#: Keys that Python does not take for a name.
_FIELD_NAMES = {'from': 'from_'}


def parse_rules(name: str, items: Any, context: Context) -> List[Rule]:
    """The rules of a list, canonical, each once, in the list's order. PolicyError names `name[place].key`."""
    parsers = rule_parsers(context)
    parsed = parse_list(name, items, lambda item: parse_rule(item, context, parsers))
    return list(dict.fromkeys([rule for _place, rule in parsed]))


def rule_parsers(context: Context) -> Dict[str, Parser]:
    """The parser of every key."""
    return {**_PARSERS, 'table': table_parser(context.tables)}


def parse_rule(item: Any, context: Context, parsers: Mapping[str, Parser]) -> Tuple[Rule, ...]:
    """One rule, or two alike for `family: both`."""
    found = parse_keys(item, parsers, 'rule')
    if 'priority' not in found:
        raise PolicyError('priority', None, f'is required: 0 to {HIGHEST_PRIORITY}')
    addresses = [(key, found[key]) for key in ('from', 'to') if key in found]
    family = one_family(found.pop('family', None), addresses, context.family)
    fields = {_FIELD_NAMES.get(key, key): value for key, value in found.items() if value not in _EVERYTHING}
    if 'table' not in fields or not _INDEPENDENT.issuperset(fields):
        fields = _related(fields, family)
    return tuple([Rule(one, protocol=context.protocol, **fields) for one in families(family)])


def _related(fields: Dict[str, Any], family: str) -> Dict[str, Any]:
    """Checks keys that depend on each other, and fills in what one says about another."""
    action = fields.setdefault('action', 'goto' if 'goto' in fields else 'to-table')
    _need_target(fields, action)
    if 'suppress_prefixlength' in fields:
        longest = 128 if family == 'ipv6' else 32
        values.integer('suppress_prefixlength', fields['suppress_prefixlength'], 0, longest)
        _only_with('suppress_prefixlength', fields, action, 'to-table')
    return {**fields, **_mark(fields.pop('fwmark', None), fields.pop('fwmask', None))}


def _need_target(fields: Mapping[str, Any], action: str) -> None:
    """A lookup needs a table (or l3mdev, which finds it), a goto its target."""
    if action == 'to-table' and 'table' not in fields and not fields.get('l3mdev'):
        raise PolicyError('table', None, 'is required for action to-table')
    if action == 'goto' and fields.get('goto', 0) <= fields['priority']:
        raise PolicyError('goto', fields.get('goto'), f"must be a priority above {fields['priority']}, this one's own")
    for key, only in (('table', 'to-table'), ('goto', 'goto'), ('l3mdev', 'to-table')):
        if fields.get(key):
            _only_with(key, fields, action, only)
    if fields.get('l3mdev') and 'table' in fields:
        raise PolicyError('table', fields['table'], 'not together with l3mdev, which finds the table by the VRF')


def _only_with(key: str, fields: Mapping[str, Any], action: str, only: str) -> None:
    if action != only:
        raise PolicyError(key, fields[key], f'only with action {only}, not with {action}')


def _mark(fwmark: Optional[Tuple[int, Optional[int]]], fwmask: Optional[int]) -> Dict[str, int]:
    """Mark and mask; the mask may stand in either key, and without one all bits count."""
    if fwmark is None:
        if fwmask is not None:
            raise PolicyError('fwmask', hex(fwmask), 'needs fwmark')
        return {}
    mark, inner = fwmark
    if inner is not None and fwmask not in (None, inner):
        raise PolicyError('fwmask', hex(fwmask or 0), f'differs from the mask {inner:#x} in fwmark')
    mask = inner if inner is not None else WHOLE_MARK if fwmask is None else fwmask
    if mark & ~mask:
        raise PolicyError('fwmark', hex(mark), f'has bits outside its mask {mask:#x}')
    return {'fwmark': mark, 'fwmask': mask}


def _parse_prefix(key: str, value: Any) -> str:
    try:
        return canonical_prefix(value)
    except (ValueError, TypeError, AttributeError):
        return values.prefix(key, value)  # says what is wrong with it


def _parse_priority(key: str, value: Any) -> int:
    if value.__class__ is int and 0 <= value <= HIGHEST_PRIORITY:
        return int(value)
    return values.integer(key, value, 0, HIGHEST_PRIORITY)


def _parse_mark(key: str, value: Any) -> Tuple[int, Optional[int]]:
    """A number, or 'MARK/MASK'."""
    mark, slash, mask = value.partition('/') if isinstance(value, str) else (value, '', None)
    return (
        values.integer(key, mark, 0, WHOLE_MARK),
        values.integer(key, mask, 1, WHOLE_MARK) if slash else None,
    )


def _parse_ip_protocol(key: str, value: Any) -> int:
    if isinstance(value, str) and value.lower() in IP_PROTOCOLS:
        return IP_PROTOCOLS[value.lower()]
    try:
        return values.integer(key, value, 1, 255)
    except PolicyError:
        raise PolicyError(key, value, f'must be 1 to 255 or one of {", ".join(IP_PROTOCOLS)}') from None


_PARSERS: Dict[str, Parser] = {
    'priority': _parse_priority,
    'action': lambda key, value: values.choice(key, value, ACTION_CHOICES),
    'family': family_parser,
    'from': _parse_prefix,
    'to': _parse_prefix,
    'fwmark': _parse_mark,
    'fwmask': lambda key, value: values.integer(key, value, 1, WHOLE_MARK),
    'iif': values.interface,
    'oif': values.interface,
    'invert': values.boolean,
    'ipproto': _parse_ip_protocol,
    'sport': lambda key, value: parse_range(key, value, 1, HIGHEST_PORT),
    'dport': lambda key, value: parse_range(key, value, 1, HIGHEST_PORT),
    'tos': lambda key, value: values.integer(key, value, 0, 255) or None,
    'uid': lambda key, value: parse_range(key, value, 0, HIGHEST_UID),
    'suppress_prefixlength': lambda key, value: values.integer(key, value, 0, 128),
    'l3mdev': values.boolean,
    'goto': lambda key, value: values.integer(key, value, 1, HIGHEST_PRIORITY),
    'table': lambda key, value: value,
}
