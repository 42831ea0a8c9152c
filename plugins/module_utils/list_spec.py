# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the lists of ip_rule and ip_route have in common: keys, families, our protocol, the scope of a purge.

Ansible's own check of suboptions takes 0.1 ms an entry, so that of ten thousand rules would
take a second; the functions here take some microseconds. Parsers get the bare key of an entry,
and only an error is given the entry's place in the list.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, Iterable, List, Mapping, NamedTuple, Optional, Sequence, Tuple, TypeVar

from . import values
from .errors import PolicyError
from .kernel.names import table_id
from .objects import LIST_PROTOCOL, PROTOCOL

_Parsed = TypeVar('_Parsed')
Parser = Callable[[str, Any], Any]

#: Routing protocols of the kernel and of routing daemons (rtnetlink.h, FRR's rt_netlink.h, rt_protos): their
#: owners delete such rules and routes at will. So does return_policy with its own.
TAKEN_PROTOCOLS = frozenset((*range(19), 42, 84, 99, *range(186, 199), PROTOCOL))

FAMILY_CHOICES = ('ipv4', 'ipv6', 'both')


#: How many entries of a list a module echoes in its result.
ECHOED = 100


class Context(NamedTuple):
    """What holds for all entries of a list."""

    tables: Mapping[str, int]
    protocol: int = LIST_PROTOCOL
    family: str = 'ipv4'


def parse_context(options: Mapping[str, Any], tables: Mapping[str, int]) -> Context:
    """The context that a module's options `protocol` and `family` describe."""
    return Context(tables, parse_protocol('protocol', options['protocol']), family_parser('family', options['family']))


def parse_list(
    name: str, items: Any, parse: Callable[[Mapping[str, Any]], Iterable[_Parsed]]
) -> List[Tuple[int, _Parsed]]:
    """(place, parsed) of every entry; an error names the list, the place and the entry's key."""
    if not isinstance(items, (list, tuple)):
        raise PolicyError(name, items, 'must be a list of mappings')
    parsed: List[Tuple[int, _Parsed]] = []
    for place, item in enumerate(items):
        try:
            for one in parse(item):
                parsed.append((place, one))
        except PolicyError as error:
            key = f'{name}[{place}].{error.key}' if error.key else f'{name}[{place}]'
            raise PolicyError(key, error.value, error.allowed) from None
    return parsed


def parse_keys(item: Any, parsers: Mapping[str, Parser], what: str) -> Dict[str, Any]:
    """Values of the keys that are given (None means not given), each by its parser."""
    if not isinstance(item, dict):
        raise PolicyError('', item, f'must be a mapping that describes a {what}')
    found: Dict[str, Any] = {}
    for key, value in item.items():
        parser = parsers.get(key)
        if parser is None:
            raise PolicyError(str(key), value, f'unknown key; known are {", ".join(parsers)}')
        if value is not None:
            found[key] = parser(key, value)
    return found


def table_parser(tables: Mapping[str, int]) -> Parser:
    """A parser of tables that looks each up once."""
    known: Dict[Any, int] = {}

    def parse(key: str, value: Any) -> int:
        if value.__class__ not in (int, str):
            return table_id(key, value, tables)
        if value not in known:
            known[value] = table_id(key, value, tables)
        return known[value]

    return parse


def family_parser(key: str, value: Any) -> str:
    """ipv4, ipv6 or both."""
    return values.choice(key, value, FAMILY_CHOICES)


def one_family(given: Optional[str], addresses: Sequence[Tuple[str, str]], default: str) -> str:
    """The family of an entry: what its addresses (key, canonical text) say, else its own key, else the default.

    PolicyError when they contradict each other.
    """
    if given == 'both' and addresses:
        raise PolicyError('family', given, f'only for an entry without addresses; {addresses[0][0]} has one')
    family = given
    for key, address in addresses:
        said = 'ipv6' if ':' in address else 'ipv4'
        if family is None:
            family = said
        elif family != said:
            raise PolicyError(key, address, f'must be of family {family}, as the other keys of this entry are')
    return family or default


def families(family: str) -> Tuple[str, ...]:
    """The families of an entry without addresses."""
    return ('ipv4', 'ipv6') if family == 'both' else (family,)


def parse_protocol(key: str, value: Any) -> int:
    """The protocol that tags what is ours: 1-255 without those of the kernel and of routing daemons."""
    number = values.integer(key, value, 0, 255)
    if number in TAKEN_PROTOCOLS:
        raise PolicyError(
            key, value, f'taken by the kernel, a routing daemon or return_policy; allowed are {_allowed_protocols()}'
        )
    return number


def _allowed_protocols() -> str:
    return _runs([number for number in range(256) if number not in TAKEN_PROTOCOLS])


def _runs(numbers: Sequence[int]) -> str:
    """'19-41, 43' for 19 to 41 and 43."""
    starts = [number for number in numbers if number - 1 not in numbers]
    ends = [number for number in numbers if number + 1 not in numbers]
    return ', '.join(str(low) if low == high else f'{low}-{high}' for low, high in zip(starts, ends))


def parse_range(key: str, value: Any, low: int, high: int) -> Tuple[int, int]:
    """A number or 'LOW-HIGH', both inclusive."""
    first, dash, last = value.partition('-') if isinstance(value, str) else (value, '', value)
    try:
        limits = values.integer(key, first, low, high), values.integer(key, last if dash else first, low, high)
    except PolicyError:
        limits = (1, 0)
    if limits[0] > limits[1]:
        raise PolicyError(key, value, f'must be a number or LOW-HIGH, from {low} to {high}')
    return limits


def parse_ranges(name: str, items: Any, low: int, high: int) -> Optional[List[Tuple[int, int]]]:
    """A list of numbers and ranges; None when not given."""
    if items is None:
        return None
    return [parse_range(f'{name}[{place}]', item, low, high) for place, item in enumerate(values.sequence(name, items))]


def parse_tables(name: str, items: Any, tables: Mapping[str, int]) -> Optional[List[int]]:
    """A list of tables by number or name; None when not given."""
    if items is None:
        return None
    return [table_id(f'{name}[{place}]', item, tables) for place, item in enumerate(values.sequence(name, items))]


def short_invocation(options: Mapping[str, Any], name: str) -> Dict[str, Any]:
    """What a module says it was called with; a long list is cut, because Ansible scans all of it for secrets."""
    echoed = dict(options)
    if len(options[name]) > ECHOED:
        echoed[name] = [*options[name][:ECHOED], f'and {len(options[name]) - ECHOED} more']
    return {'module_args': echoed}
