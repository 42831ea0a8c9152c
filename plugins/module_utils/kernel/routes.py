# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Routes as rtnetlink has them (linux/rtnetlink.h, rtnetlink(7), ip-route(8)).

A device is a name in a Route and an index on the wire, so coding takes a table of both.
"""

from __future__ import annotations

import errno
import socket
import struct
from typing import Dict, Iterable, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ..errors import KernelError
from ..objects import Attributes, NextHop, Route
from .changes import ADD, DELETE, REPLACE, Change
from .netlink import NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, Message, Netlink, attribute, each_attribute
from .prefixes import BITS, DEFAULTS, FAMILY_NAMES, FAMILY_NUMBERS, pack_address, pack_prefix, unpack_address

RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26

#: Numbers of route types (RTN_*).
TYPES: Dict[str, int] = {
    'unicast': 1,
    'local': 2,
    'broadcast': 3,
    'anycast': 4,
    'multicast': 5,
    'blackhole': 6,
    'unreachable': 7,
    'prohibit': 8,
    'throw': 9,
}
_TYPE_NAMES = {number: name for name, number in TYPES.items()}
#: Types that lead nowhere; IPv6 shows them on `lo`, IPv4 on no device.
DEAD_ENDS = frozenset(('blackhole', 'unreachable', 'prohibit', 'throw'))
#: The metric of an IPv6 route that was given none (IP6_RT_PRIO_USER).
IPV6_METRIC = 1024
SCOPE_UNIVERSE, SCOPE_LINK, SCOPE_HOST = 0, 253, 254

_DST, _SRC, _OIF, _GATEWAY, _PRIORITY, _PREFSRC, _METRICS, _MULTIPATH = 1, 2, 4, 5, 6, 7, 8, 9
_CACHEINFO, _TABLE, _VIA, _PREF, _NH_ID = 12, 15, 18, 20, 30
_METRIC_MTU, _METRIC_ADVMSS = 2, 8
_ONLINK = 0x4
_CLONED = 0x200
#: Attributes that have a field, or that say nothing about the route itself.
_FIELDS = frozenset((_DST, _SRC, _OIF, _GATEWAY, _PRIORITY, _PREFSRC, _METRICS, _MULTIPATH, _CACHEINFO, _TABLE, _VIA))
#: RTA_PREF of a route that prefers nothing (medium).
_NO_PREFERENCE = (_PREF, b'\0')

_HEADER = struct.Struct('=8BI')
_HEADER_SIZE = _HEADER.size
_HOP = struct.Struct('=HBBi')
_NUMBER = struct.Struct('=I')


#: What the kernel keeps routes apart by: family, table, destination, source prefix, tos, metric.
Identity = Tuple[str, int, str, str, int, int]


def identity(route: Route) -> Identity:
    """The kernel has one route of an identity, unless others were appended."""
    return route.family, route.table, route.destination, route.from_ or '', route.tos, route.metric


def canonical(route: Route) -> Route:
    """The route as the kernel would show it: default metric and scope filled in.

    The scope follows ip-route(8): host for local, link for what needs no gateway, else universe.
    IPv6 knows no scopes.
    """
    hops = () if route.type in DEAD_ENDS else route.next_hops
    metric = route.metric or (IPV6_METRIC if route.family == 'ipv6' else 0)
    return route._replace(next_hops=hops, metric=metric, scope=_scope(route))


def _scope(route: Route) -> int:
    if route.family == 'ipv6' or route.type in DEAD_ENDS:
        return SCOPE_UNIVERSE
    if route.type == 'local':
        return SCOPE_HOST
    through_gateway = any(hop.gateway for hop in route.next_hops) or any(
        kind == _NH_ID for kind, _payload in route.other
    )
    return SCOPE_UNIVERSE if through_gateway and route.type == 'unicast' else SCOPE_LINK


class _Indexes(Mapping[str, int]):
    """Index of each device that is asked for, from the namespace of the calling thread."""

    def __getitem__(self, name: str) -> int:
        try:
            return socket.if_nametoindex(name)
        except OSError as error:
            raise KeyError(name) from error

    def __iter__(self) -> Iterator[str]:
        return (name for _index, name in socket.if_nameindex())

    def __len__(self) -> int:
        return len(socket.if_nameindex())


DEVICES: Mapping[str, int] = _Indexes()


def advertised_mss(value: int) -> Attributes:
    """The attribute that makes a route's TCP connections advertise this segment size, in bytes (RTAX_ADVMSS)."""
    return ((_METRICS, attribute(_METRIC_ADVMSS, _NUMBER.pack(value))),)


def encode(route: Route, indexes: Mapping[str, int] = DEVICES) -> bytes:
    """Header and attributes for RTM_NEWROUTE and RTM_DELROUTE.

    `indexes` are the devices' by name, by default those of this host. KernelError names a device that is not there.
    """
    packed, bits = pack_prefix(route.destination)
    source, source_bits = pack_prefix(route.from_) if route.from_ else (b'', 0)
    hops = () if any(kind == _NH_ID for kind, _payload in route.other) else route.next_hops
    flags = _ONLINK if len(hops) == 1 and hops[0].onlink else 0
    table = route.table if route.table < 256 else 0
    family, kind = FAMILY_NUMBERS[route.family], TYPES[route.type]
    head = _HEADER.pack(family, bits, source_bits, route.tos, table, route.protocol, route.scope, kind, flags)
    parts = [head, attribute(_TABLE, _NUMBER.pack(route.table))]
    if bits:
        parts.append(attribute(_DST, packed))
    if source:
        parts.append(attribute(_SRC, source))
    if route.metric:
        parts.append(attribute(_PRIORITY, _NUMBER.pack(route.metric)))
    if route.source:
        parts.append(attribute(_PREFSRC, pack_address(route.source)))
    try:
        parts += _encode_hops(hops, route.family, indexes)
    except KeyError as error:
        there = ', '.join(indexes)
        raise KernelError('find', f'device {error.args[0]}', f'no such device; there are {there}') from error
    return b''.join(parts + _encode_metrics(route))


def _encode_hops(hops: Sequence[NextHop], family: str, indexes: Mapping[str, int]) -> List[bytes]:
    if len(hops) < 2:
        return [part for hop in hops for part in _encode_way(hop, family, indexes)]
    nested = []
    for hop in hops:
        gateway = b''.join(_encode_way(hop._replace(device=None), family, indexes))
        index = indexes[hop.device] if hop.device else 0
        head = _HOP.pack(_HOP.size + len(gateway), _ONLINK if hop.onlink else 0, hop.weight - 1, index)
        nested.append(head + gateway)
    return [attribute(_MULTIPATH, b''.join(nested))]


def _encode_way(hop: NextHop, family: str, indexes: Mapping[str, int]) -> List[bytes]:
    parts = [attribute(_OIF, _NUMBER.pack(indexes[hop.device]))] if hop.device else []
    if hop.gateway:
        packed = pack_address(hop.gateway)
        if len(packed) * 8 == BITS[family]:
            parts.append(attribute(_GATEWAY, packed))
        else:  # an IPv4 route through an IPv6 neighbour, RFC 5549
            other = FAMILY_NUMBERS['ipv6' if len(packed) == 16 else 'ipv4']
            parts.append(attribute(_VIA, struct.pack('=H', other) + packed))
    return parts


def _encode_metrics(route: Route) -> List[bytes]:
    """RTA_METRICS with the MTU and all metrics we have no field for, then the other attributes."""
    others = dict(route.other)
    metrics = others.pop(_METRICS, b'')
    if route.mtu:
        metrics += attribute(_METRIC_MTU, _NUMBER.pack(route.mtu))
    parts = [attribute(_METRICS, metrics)] if metrics else []
    return parts + [attribute(kind, payload) for kind, payload in others.items()]


def decode(body: bytes, names: Mapping[int, str]) -> Optional[Route]:
    """The route of an RTM_NEWROUTE body; None for a cached one (a path MTU exception or a clone).

    `names` are the devices' by index. KernelError when the bytes are no route.
    """
    try:
        family_number, bits, source_bits, tos, table, protocol, scope, kind, flags = _HEADER.unpack_from(body)
        if flags & _CLONED:
            return None
        found = dict(each_attribute(body, _HEADER_SIZE))
        family = FAMILY_NAMES[family_number]
        mtu, other = _decode_other(found)
        type_name = _TYPE_NAMES.get(kind, f'type-{kind}')
        return Route(
            family,
            _NUMBER.unpack(found[_TABLE])[0] if _TABLE in found else table,
            f'{unpack_address(found[_DST])}/{bits}' if _DST in found else DEFAULTS[family],
            type_name,
            () if type_name in DEAD_ENDS else _decode_hops(found, flags, names),
            _NUMBER.unpack(found[_PRIORITY])[0] if _PRIORITY in found else 0,
            unpack_address(found[_PREFSRC]) if _PREFSRC in found else None,
            scope,
            mtu,
            tos,
            protocol,
            other,
            f'{unpack_address(found[_SRC])}/{source_bits}' if _SRC in found else None,
        )
    except (struct.error, KeyError, ValueError, OSError) as error:
        raise KernelError('parse', 'route', f'{body.hex()}: {error!r}') from error


def _decode_hops(found: Mapping[int, bytes], flags: int, names: Mapping[int, str]) -> Tuple[NextHop, ...]:
    if _MULTIPATH in found:
        return tuple(_decode_multipath(found[_MULTIPATH], names))
    index = _NUMBER.unpack(found[_OIF])[0] if _OIF in found else 0
    gateway, device = _gateway(found), _device(index, names)
    return (NextHop(gateway, device, 1, bool(flags & _ONLINK)),) if gateway or device else ()


def _decode_multipath(payload: bytes, names: Mapping[int, str]) -> Iterator[NextHop]:
    offset = 0
    while offset < len(payload):
        length, flags, more, index = _HOP.unpack_from(payload, offset)
        if length < _HOP.size:
            raise ValueError(f'next hop of length {length}')
        found = dict(each_attribute(payload[offset : offset + length], _HOP.size))
        yield NextHop(_gateway(found), _device(index, names), more + 1, bool(flags & _ONLINK))
        offset += length + 3 & ~3


def _gateway(found: Mapping[int, bytes]) -> Optional[str]:
    if _GATEWAY in found:
        return unpack_address(found[_GATEWAY])
    return unpack_address(found[_VIA][2:]) if _VIA in found else None


def _device(index: int, names: Mapping[int, str]) -> Optional[str]:
    """A device that went away since its name was read keeps its number."""
    return names.get(index, f'if{index}') if index else None


def _decode_other(found: Mapping[int, bytes]) -> Tuple[Optional[int], Attributes]:
    """The MTU, and all attributes and metrics that have no field."""
    other = [item for item in found.items() if item[0] not in _FIELDS and item != _NO_PREFERENCE]
    if _METRICS not in found:
        return None, tuple(sorted(other))
    metrics = dict(each_attribute(found[_METRICS]))
    mtu = metrics.pop(_METRIC_MTU, None)
    if metrics:
        other.append((_METRICS, b''.join(attribute(*item) for item in sorted(metrics.items()))))
    return _NUMBER.unpack(mtu)[0] if mtu else None, tuple(sorted(other))


class Filter(NamedTuple):
    """Which routes to dump; None means all."""

    family: Optional[str] = None
    table: Optional[int] = None
    protocol: Optional[int] = None


def list_routes(
    netlink: Netlink,
    tables: Optional[Iterable[int]] = None,
    names: Optional[Mapping[int, str]] = None,
    protocol: Optional[int] = None,
) -> List[Route]:
    """Routes of both families and all types, as `ip route show table all` has them; none that is cached.

    `tables` and `protocol` leave out the others; the kernel (4.20 or later) already does, so that a
    million routes of a routing daemon are not read for a few of ours. `names`: devices by index.
    """
    names = _device_names() if names is None else names
    wanted: List[Optional[int]] = [None] if tables is None else list(dict.fromkeys(tables))
    routes: List[Route] = []
    for family in FAMILY_NUMBERS:
        for table in wanted:
            routes += _dump(netlink, Filter(family, table, protocol), names)
    return routes


def _device_names() -> Dict[int, str]:
    return dict(socket.if_nameindex())


def _dump(netlink: Netlink, wanted: Filter, names: Mapping[int, str]) -> Iterator[Route]:
    header = _HEADER.pack(FAMILY_NUMBERS[wanted.family or 'ipv4'], 0, 0, 0, 0, wanted.protocol or 0, 0, 0, 0)
    table = b'' if wanted.table is None else attribute(_TABLE, _NUMBER.pack(wanted.table))
    for body in _bodies(netlink, header + table):
        route = decode(body, names)
        if route is None or wanted.table not in (None, route.table) or wanted.protocol not in (None, route.protocol):
            continue
        yield route


def _bodies(netlink: Netlink, question: bytes) -> List[bytes]:
    """A table that was never used does not exist: ENOENT from Linux 5.0 on, and no routes."""
    try:
        return netlink.dump(RTM_GETROUTE, question)
    except KernelError as error:
        if error.errno != errno.ENOENT:
            raise
        return []


def add_message(route: Route, indexes: Mapping[str, int] = DEVICES) -> Message:
    """Adds a route; refused (EEXIST) when any route, of whoever, has its identity."""
    return Message(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, encode(route, indexes))


def replace_message(route: Route, indexes: Mapping[str, int] = DEVICES) -> Message:
    """Puts a route in the place of the one with its identity, without a gap. Look first whose that is."""
    return Message(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, encode(route, indexes))


def delete_message(route: Route, indexes: Mapping[str, int] = DEVICES) -> Message:
    """Deletes the route that has everything this one has: type, protocol, metric and next hops in this order."""
    return Message(RTM_DELROUTE, 0, encode(route, indexes))


def route_message(change: Change, indexes: Mapping[str, int] = DEVICES) -> Message:
    """The message of one change."""
    make = {ADD: add_message, DELETE: delete_message, REPLACE: replace_message}[change.operation]
    return make(change.subject, indexes)


def route_changes(
    add: Iterable[Route] = (), replace: Iterable[Tuple[Route, Route]] = (), delete: Iterable[Route] = ()
) -> List[Change]:
    """Additions, replacements (former, new) and deletions in this order.

    Routes that need no gateway come first: the kernel asks for a way to each gateway.
    """
    near_first = sorted(add, key=lambda route: any(hop.gateway for hop in route.next_hops))
    changes = [Change(ADD, route) for route in near_first]
    changes += [Change(REPLACE, new, former) for former, new in replace]
    return changes + [Change(DELETE, route) for route in delete]


def route_messages(
    add: Iterable[Route] = (),
    replace: Iterable[Tuple[Route, Route]] = (),
    delete: Iterable[Route] = (),
    indexes: Mapping[str, int] = DEVICES,
) -> List[Message]:
    """The messages of `route_changes`."""
    return [route_message(change, indexes) for change in route_changes(add, replace, delete)]
