# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a flow is and what came of it: the words that clients, verdict and report share.

Pure. A flow is data: a target (VIP addresses of a service) and a kind. One target
becomes a flow for each of its addresses and each of its kinds.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass, fields
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence

from ..errors import PolicyError

KINDS = ('tcp', 'udp', 'icmp', 'tcp_closed', 'udp_closed', 'pmtu')
PATHS = ('host', 'dnat')
EXPECTATIONS = ('echo', 'any', 'connect')

#: Seconds. A lost SYN (RFC 6298) and an unanswered neighbour solicitation (RFC 4861, arp(7)) are both
#: repeated after one second, so a shorter deadline fails flows that the kernel was about to save.
#: What is sent before a neighbour is resolved is queued by the kernel, not lost.
TIMEOUT = 1.3
LONGEST_TIMEOUT = 60.0
MOST_REPETITIONS = 10000


@dataclass(frozen=True)
class Flow:
    """One exchange that a client starts with a VIP.

    `port` is 0 for icmp. `path` says how the VIP's service is reached behind it: a
    socket of the host, or DNAT to a pod. `source` binds the client's address.
    `expect` (tcp, udp): 'echo' the payload comes back, 'any' bytes do, 'connect'
    (tcp) the handshake is enough. `timeout` is in seconds, `count` repetitions,
    each with its own source port.
    """

    client: str
    target: str
    vip: str
    kind: str
    port: int = 0
    path: str = 'host'
    source: Optional[str] = None
    payload: str = ''
    expect: str = 'echo'
    timeout: float = TIMEOUT
    count: int = 1

    @property
    def family(self) -> str:
        return family_of(self.vip)


FLOW_KEYS = tuple(field.name for field in fields(Flow))


class Answer(NamedTuple):
    """What a client saw of one flow; address and port are its own side of it.

    `icmp_id` is -1 unless the kind is icmp. `sent` is False when the client's own
    kernel refused to send. `rtt_ms` runs from the first packet to the verdict of the client.
    """

    client: str
    target: str
    vip: str
    family: str
    kind: str
    path: str
    port: int
    local_address: str = ''
    local_port: int = 0
    icmp_id: int = -1
    sent: bool = True
    answered: bool = False
    detail: str = ''
    rtt_ms: float = 0.0


def family_of(address: str) -> str:
    return 'ipv6' if ':' in address else 'ipv4'


def canonical(key: str, value: Any) -> str:
    """The address as the kernel prints it; PolicyError when it is none."""
    text = value if isinstance(value, str) else ''
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            return socket.inet_ntop(family, socket.inet_pton(family, text))
        except (OSError, ValueError):
            continue
    raise PolicyError(key, value, 'an IPv4 or IPv6 address is wanted')


def expand(client: str, targets: Sequence[Mapping[str, Any]], timeout: float = TIMEOUT) -> List[Flow]:
    """All flows that this client starts: target x address x kind. PolicyError names the key and the value.

    A target with `clients` is only asked by these; without, by every client.
    """
    flows: List[Flow] = []
    for place, target in enumerate(targets):
        asked_by = target.get('clients')
        if asked_by and client not in asked_by:
            continue
        flows += _of_target(f'targets[{place}]', client, target, timeout)
    return flows


def _of_target(key: str, client: str, target: Mapping[str, Any], timeout: float) -> List[Flow]:
    name = str(target.get('name') or key)
    addresses = _wanted_list(target, key, 'addresses')
    wanted = _wanted_list(target, key, 'flows')
    vips = [canonical(f'{key}.addresses[{place}]', address) for place, address in enumerate(addresses)]
    common = {'timeout': timeout, 'client': client, 'target': name}
    return [
        parse_flow(f'{key}.flows[{place}]', {**common, **_given(flow), 'vip': vip})
        for vip in vips
        for place, flow in enumerate(wanted)
        if _suits(flow, vip)
    ]


def _wanted_list(target: Mapping[str, Any], key: str, name: str) -> Sequence[Any]:
    values = target.get(name)
    if not isinstance(values, (list, tuple)) or not values:
        raise PolicyError(f'{key}.{name}', values, 'a list with at least one entry is wanted')
    return values


def _given(flow: Mapping[str, Any]) -> Dict[str, Any]:
    """Without what Ansible fills in for options that were left out."""
    return {name: value for name, value in flow.items() if value is not None}


def _suits(flow: Mapping[str, Any], vip: str) -> bool:
    """A flow with a source address belongs to the addresses of its family only."""
    source = flow.get('source')
    return not isinstance(source, str) or family_of(source) == family_of(vip)


def parse_flow(key: str, given: Mapping[str, Any]) -> Flow:
    """One flow from its keys; PolicyError on an unknown key or a value that is not allowed."""
    unknown = sorted(set(given) - set(FLOW_KEYS))
    if unknown:
        allowed = f'unknown key, allowed are {", ".join(FLOW_KEYS)}'
        raise PolicyError(f'{key}.{unknown[0]}', given[unknown[0]], allowed)
    values = dict(given)
    values['vip'] = canonical(f'{key}.vip', given.get('vip'))
    if given.get('source') is not None:
        values['source'] = canonical(f'{key}.source', given['source'])
    flow = Flow(**{'client': '', 'target': values['vip'], 'kind': '', **values})
    _check_texts(key, flow)
    _check_choices(key, flow)
    _check_numbers(key, flow)
    return flow


def _check_texts(key: str, flow: Flow) -> None:
    for name in ('client', 'target', 'payload'):
        value = getattr(flow, name)
        if not isinstance(value, str):
            raise PolicyError(f'{key}.{name}', value, 'a text is wanted')


def _check_choices(key: str, flow: Flow) -> None:
    for name, allowed in (('kind', KINDS), ('path', PATHS), ('expect', EXPECTATIONS)):
        value = getattr(flow, name)
        if value not in allowed:
            raise PolicyError(f'{key}.{name}', value, f'one of {", ".join(allowed)}')
    if flow.expect == 'connect' and flow.kind != 'tcp':
        raise PolicyError(f'{key}.expect', flow.expect, f'only for kind tcp, and kind is {flow.kind}')
    if flow.source is not None and family_of(flow.source) != flow.family:
        raise PolicyError(f'{key}.source', flow.source, f'an address of the family of {flow.vip} is wanted')


def _check_numbers(key: str, flow: Flow) -> None:
    lowest, highest = (0, 0) if flow.kind == 'icmp' else (1, 65535)
    _check_range(f'{key}.port', flow.port, lowest, highest)
    _check_range(f'{key}.count', flow.count, 1, MOST_REPETITIONS)
    if isinstance(flow.timeout, bool) or not isinstance(flow.timeout, (int, float)):
        raise PolicyError(f'{key}.timeout', flow.timeout, 'a number of seconds is wanted')
    if not 0 < flow.timeout <= LONGEST_TIMEOUT:
        raise PolicyError(f'{key}.timeout', flow.timeout, f'above 0 and at most {LONGEST_TIMEOUT:g} seconds')


def _check_range(key: str, value: Any, lowest: int, highest: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= highest:
        allowed = f'a number from {lowest} to {highest}' if highest else 'icmp has no port'
        raise PolicyError(key, value, f'{allowed} is wanted' if highest else allowed)
