# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an echo server listens on, checked, as plain values. Pure."""

from __future__ import annotations

from typing import Any, List, NamedTuple, Set

from .. import values
from ..errors import PolicyError

PROTOCOLS = ('tcp', 'udp')
LISTENER_KEYS = dict.fromkeys(('address', 'port', 'protocols'))
WILDCARDS = ('0.0.0.0', '::')


class Listener(NamedTuple):
    """One socket to listen on. The address is canonical; 0.0.0.0 and :: stand for all of their family."""

    address: str
    port: int
    protocol: str

    def __str__(self) -> str:
        host = f'[{self.address}]' if ':' in self.address else self.address
        return f'{self.protocol} {host}:{self.port}'


def parse_listeners(data: Any) -> List[Listener]:
    """Sorted listeners; PolicyError names the first key that is wrong."""
    found: Set[Listener] = set()
    for index, item in enumerate(values.sequence('listeners', data, least=1)):
        key = f'listeners[{index}]'
        given = values.mapping(key, item, LISTENER_KEYS, ('address', 'port'))
        address = values.address(f'{key}.address', given['address'])
        port = values.integer(f'{key}.port', given['port'], 1, 65535)
        protocols = values.sequence(f'{key}.protocols', given.get('protocols', PROTOCOLS), least=1)
        for protocol in protocols:
            listener = Listener(address, port, values.choice(f'{key}.protocols', protocol, PROTOCOLS))
            if listener in found:
                raise PolicyError(key, str(listener), 'is there twice')
            found.add(listener)
    return sorted(found)
