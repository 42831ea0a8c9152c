# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Values as users write them, checked and brought to the kernel's form.

Every function takes the key it speaks for, so that an error can name it.
"""

from __future__ import annotations

import re
from typing import Any, Dict, Iterable, List, Mapping, Optional, Set, Tuple

from .errors import PolicyError
from .kernel.prefixes import canonical_address, canonical_prefix, family_of, pack_address, unpack_address

_NAME = re.compile(r'[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}\Z')
#: dev_valid_name() of the kernel: 1-15 bytes, no slash, no colon, no white space.
_INTERFACE = re.compile(r'(?!\.{1,2}\Z)[!-.0-9;-~]{1,15}\Z')
_MAC = re.compile(r'[0-9a-f]{2}(:[0-9a-f]{2}){5}\Z')


def mapping(key: str, value: Any, known: Mapping[str, object], required: Iterable[str] = ()) -> Dict[str, Any]:
    """A mapping whose keys are all known; keys set to None count as not given."""
    if not isinstance(value, dict):
        raise PolicyError(key, value, 'must be a mapping')
    if not value.keys() <= known.keys():
        name = next(name for name in value if name not in known)
        where = f'{key}.{name}' if key else str(name)
        raise PolicyError(where, value[name], f'unknown key; known are {", ".join(known)}')
    for name in required:
        if value.get(name) is None:
            raise PolicyError(f'{key}.{name}' if key else name, None, 'is required')
    return {name: item for name, item in value.items() if item is not None}


def sequence(key: str, value: Any, least: int = 0) -> List[Any]:
    """A list with at least `least` entries; a missing one is an empty one."""
    value = [] if value is None else value
    if not isinstance(value, (list, tuple)):
        raise PolicyError(key, value, 'must be a list')
    if len(value) < least:
        raise PolicyError(key, list(value), f'needs at least {least} entr{"y" if least == 1 else "ies"}')
    return list(value)


def name(key: str, value: Any) -> str:
    """A name that can stand in nft, in a comment and in a file name."""
    if not isinstance(value, str) or not _NAME.match(value):
        raise PolicyError(key, value, 'must be 1-63 of the characters A-Z a-z 0-9 _ . - and not start with . or -')
    return str(value)


def interface(key: str, value: Any) -> str:
    """A name that the kernel would accept for a network interface."""
    if not isinstance(value, str) or not _INTERFACE.match(value):
        raise PolicyError(key, value, 'must be an interface name: 1-15 characters, no slash, colon or white space')
    return str(value)


def mac(key: str, value: Any) -> str:
    """A MAC address as the kernel prints it."""
    text = value.lower() if isinstance(value, str) else ''
    if not _MAC.match(text):
        raise PolicyError(key, value, 'must be a MAC address such as 02:00:00:00:00:01')
    return str(text)


def boolean(key: str, value: Any) -> bool:
    """A real boolean; Ansible has converted the words by now."""
    if not isinstance(value, bool):
        raise PolicyError(key, value, 'must be true or false')
    return value


def choice(key: str, value: Any, allowed: Iterable[str]) -> str:
    """One of a few words."""
    allowed = tuple(allowed)
    if not isinstance(value, str) or value not in allowed:
        raise PolicyError(key, value, f'must be one of {", ".join(allowed)}')
    return str(value)


def integer(key: str, value: Any, low: int, high: int) -> int:
    """A whole number in [low, high]; '0x..' is understood."""
    number: Optional[int] = None
    if isinstance(value, int) and not isinstance(value, bool):
        number = value
    elif isinstance(value, str):
        try:
            number = int(value, 0)
        except ValueError:
            number = None
    if number is None or not low <= number <= high:
        raise PolicyError(key, value, f'must be a whole number from {_number(low, high)} to {_number(high, high)}')
    return int(number)


def seconds(key: str, value: Any, high: float) -> float:
    """A time from 0 to `high` seconds."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= high:
        raise PolicyError(key, value, f'must be a number of seconds from 0 to {high:g}')
    return float(value)


def _number(value: int, high: int) -> str:
    return f'{value:#x}' if high > 0xFFFFFF else str(value)


def address(key: str, value: Any) -> str:
    """One address, canonical."""
    try:
        return canonical_address(value if isinstance(value, str) else '')
    except ValueError:
        raise PolicyError(key, value, 'must be an IPv4 or IPv6 address') from None


def prefix(key: str, value: Any) -> str:
    """One prefix, canonical, without host bits; a bare address is a prefix of full length."""
    try:
        return canonical_prefix(value if isinstance(value, str) else '')
    except ValueError as error:
        meant = f'has host bits set; the network is {error.args[1]}' if len(error.args) > 1 else ''
        raise PolicyError(key, value, meant or 'must be an IPv4 or IPv6 prefix such as 10.0.0.0/8') from None


def network_of(address_text: str, length: int) -> str:
    """The prefix of `length` bits that an address lies in."""
    packed = pack_address(address_text)
    bits = len(packed) * 8
    number = int.from_bytes(packed, 'big') >> (bits - length) << (bits - length)
    return f'{unpack_address(number.to_bytes(len(packed), "big"))}/{length}'


def contains(prefix_text: str, address_text: str) -> bool:
    """Whether an address lies in a prefix (never across families)."""
    if family_of(prefix_text) != family_of(address_text):
        return False
    length = int(prefix_text.rpartition('/')[2])
    return network_of(address_text, length) == prefix_text


def collapse(addresses: Iterable[str]) -> List[str]:
    """The fewest prefixes that hold exactly these addresses, which are of one family.

    ipaddress.collapse_addresses does the same in fifteen times the time.
    """
    packed = [pack_address(item) for item in addresses]
    bits = len(packed[0]) * 8 if packed else 0
    whole: Set[int] = {int.from_bytes(item, 'big') for item in packed}
    found: List[Tuple[int, int]] = []
    for length in range(bits, -1, -1):
        pairs = {number >> 1 for number in whole if number ^ 1 in whole}
        found += [(number << (bits - length), length) for number in whole if number >> 1 not in pairs]
        whole = pairs
        if not whole:
            break
    return [f'{unpack_address(number.to_bytes(bits // 8, "big"))}/{length}' for number, length in sorted(found)]


def by_family(key: str, addresses: Iterable[str]) -> Dict[str, str]:
    """At most one address a family."""
    found: Dict[str, str] = {}
    for item in addresses:
        if found.setdefault(family_of(item), item) != item:
            raise PolicyError(
                key, item, f'at most one {family_of(item)} address is allowed, {found[family_of(item)]} is there'
            )
    return found


def mark_mask(key: str, value: Any) -> int:
    """A mask that is one run of bits, so that marks can be counted up in it."""
    mask = integer(key, value, 1, 0xFFFFFFFF)
    run = mask // (mask & -mask)
    if run & (run + 1):
        raise PolicyError(key, value, 'must be one run of bits such as 0x00ff0000')
    return mask


def mask_values(mask: int) -> Tuple[int, int]:
    """The lowest set bit of a mask and how many values other than zero fit in it."""
    return mask & -mask, (1 << bin(mask).count('1')) - 1
