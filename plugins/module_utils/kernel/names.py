# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of routing tables and routing protocols, from the files that iproute2 reads."""

from __future__ import annotations

import glob
import os
from typing import Dict, Iterable, Mapping, Optional, Sequence

from ..errors import PolicyError

#: Where iproute2 looks: the administrator's files win over the distribution's (iproute2 6.5 and later).
DIRECTORIES = ('/usr/lib/iproute2', '/usr/share/iproute2', '/etc/iproute2')

#: Tables every kernel has; iproute2 knows them without any file.
TABLES: Mapping[str, int] = {'unspec': 0, 'default': 253, 'main': 254, 'local': 255}
#: Protocols of rtnetlink(7); likewise.
PROTOCOLS: Mapping[str, int] = {'unspec': 0, 'redirect': 1, 'kernel': 2, 'boot': 3, 'static': 4}

HIGHEST_TABLE = 0xFFFFFFFF


def parse_names(text: str) -> Dict[str, int]:
    """Name to number from lines `NUMBER NAME`; decimal or 0x, `#` begins a comment, other lines are passed over."""
    names: Dict[str, int] = {}
    for line in text.splitlines():
        words = line.partition('#')[0].split()
        number = _number(words[0]) if len(words) >= 2 else None
        if number is not None:
            names[words[1]] = number
    return names


def _number(word: str) -> Optional[int]:
    try:
        return int(word, 16 if word.lower().startswith('0x') else 10)
    except ValueError:
        return None


def table_names(directories: Sequence[str] = DIRECTORIES) -> Dict[str, int]:
    """Routing tables by name: rt_tables and rt_tables.d/*.conf."""
    return {**TABLES, **_read(directories, 'rt_tables')}


def protocol_names(directories: Sequence[str] = DIRECTORIES) -> Dict[str, int]:
    """Routing protocols by name: rt_protos and rt_protos.d/*.conf."""
    return {**PROTOCOLS, **_read(directories, 'rt_protos')}


def _read(directories: Sequence[str], base: str) -> Dict[str, int]:
    names: Dict[str, int] = {}
    for path in _files(directories, base):
        try:
            with open(path, encoding='utf-8', errors='replace') as stream:
                names.update(parse_names(stream.read()))
        except (FileNotFoundError, PermissionError, IsADirectoryError):
            continue
    return names


def _files(directories: Sequence[str], base: str) -> Iterable[str]:
    for directory in directories:
        yield os.path.join(directory, base)
        yield from sorted(glob.glob(os.path.join(glob.escape(directory), base + '.d', '*.conf')))


def table_id(key: str, value: object, names: Mapping[str, int]) -> int:
    """The number of a table given by number (also as text) or by name; PolicyError tells which names there are.

    Range 1 to 4294967295; 0 (unspec) is no table one can name.
    """
    number = value if isinstance(value, int) and not isinstance(value, bool) else None
    if isinstance(value, str):
        number = names.get(value)
        if number is None:
            number = _number(value)
    if number is None or not 1 <= number <= HIGHEST_TABLE:
        known = ', '.join(name for name, known_id in sorted(names.items(), key=lambda item: item[1]) if known_id)
        raise PolicyError(key, value, f'not a routing table; allowed are 1 to {HIGHEST_TABLE} and the names {known}')
    return number
