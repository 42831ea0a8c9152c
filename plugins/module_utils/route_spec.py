# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Routes as users write them to routes as the kernel has them."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Sequence, Tuple

from . import values
from .errors import PolicyError
from .kernel.prefixes import DEFAULTS, family_of
from .kernel.routes import DEAD_ENDS, advertised_mss, canonical, identity
from .list_spec import (
    Context,
    Parser,
    families,
    family_parser,
    one_family,
    parse_keys,
    parse_list,
    table_parser,
)
from .objects import NextHop, Route

TYPE_CHOICES = ('unicast', 'local', 'broadcast', 'blackhole', 'unreachable', 'prohibit', 'throw')
HIGHEST_METRIC = 0xFFFFFFFF
#: What an IPv4 and an IPv6 path must be able to carry (RFC 791, RFC 8200), and what the kernel caps at.
LEAST_MTU = {'ipv4': 68, 'ipv6': 1280}
HIGHEST_MTU = 65520
HIGHEST_WEIGHT = 256
#: What the kernel caps the advertised segment size at (ip_metrics_convert).
HIGHEST_ADVMSS = 65495
_MAIN = 254
#: Keys that describe where a route leads, which a dead end does not.
_WAYS = ('gateway', 'device', 'next_hops', 'source', 'mtu', 'advmss', 'onlink')

Placed = Tuple[int, Route]


def parse_routes(name: str, items: Any, context: Context, complete: bool = True) -> List[Placed]:
    """(place in the list, route) of each entry, canonical. PolicyError names `name[place].key`.

    Without `complete` (to delete routes) an entry need not say where its route leads.
    """
    parsers = route_parsers(context)
    parsed = parse_list(name, items, lambda item: parse_route(item, context, parsers, complete))
    return _distinct(name, parsed) if complete else parsed


def _distinct(name: str, parsed: Sequence[Placed]) -> List[Placed]:
    """Each route once; two different ones that the kernel could not keep apart are an error."""
    first: Dict[Any, Placed] = {}
    for place, route in parsed:
        before, other = first.setdefault(identity(route), (place, route))
        if other != route:
            key, same = f'{name}[{place}].destination', f'table, destination and metric as {name}[{before}]'
            raise PolicyError(key, route.destination, f'same {same}; use next_hops for several ways')
    return list(first.values())


def route_parsers(context: Context) -> Dict[str, Parser]:
    """The parser of every key."""
    return {**_PARSERS, 'table': table_parser(context.tables)}


def parse_route(item: Any, context: Context, parsers: Mapping[str, Parser], complete: bool) -> Tuple[Route, ...]:
    """One route, or two alike for `family: both`."""
    found = parse_keys(item, parsers, 'route')
    if 'destination' not in found:
        raise PolicyError('destination', None, 'is required: a prefix, an address or default')
    family = one_family(found.get('family'), _addresses(found), context.family)
    _check_gateways(found, family)
    kind = found.get('type', 'unicast')
    hops = _hops(found)
    _check_ways(found, kind, hops, complete)
    return tuple(_route(found, one, kind, hops, context) for one in families(family))


def _route(found: Mapping[str, Any], family: str, kind: str, hops: Tuple[NextHop, ...], context: Context) -> Route:
    destination = found['destination']
    if found.get('mtu') is not None:
        values.integer('mtu', found['mtu'], LEAST_MTU[family], HIGHEST_MTU)
    route = Route(
        family,
        found.get('table', _MAIN),
        DEFAULTS[family] if destination == 'default' else destination,
        kind,
        hops,
        found.get('metric', 0),
        found.get('source'),
        mtu=found.get('mtu'),
        protocol=context.protocol,
        other=advertised_mss(found['advmss']) if 'advmss' in found else (),
    )
    return canonical(route)


def _addresses(found: Mapping[str, Any]) -> List[Tuple[str, str]]:
    """Keys and addresses that tell the family; IPv4 routes may have IPv6 gateways, so these come into it last."""
    given = [(key, found[key]) for key in ('destination', 'source') if found.get(key, 'default') != 'default']
    return given or ([] if found.get('family') in DEFAULTS else _gateways(found)[:1])


def _gateways(found: Mapping[str, Any]) -> List[Tuple[str, str]]:
    gateways = [('gateway', found['gateway'])] if 'gateway' in found else []
    hops = enumerate(found.get('next_hops', ()))
    return gateways + [(f'next_hops[{place}].gateway', hop.gateway) for place, hop in hops if hop.gateway]


def _check_gateways(found: Mapping[str, Any], family: str) -> None:
    """IPv4 by an IPv6 neighbour works (RFC 5549); IPv6 by an IPv4 one does not."""
    for key, gateway in _gateways(found):
        if family == 'ipv6' and family_of(gateway) == 'ipv4':
            raise PolicyError(key, gateway, 'must be of family ipv6, as the other keys of this entry are')


def _hops(found: Mapping[str, Any]) -> Tuple[NextHop, ...]:
    if 'next_hops' in found:
        for key in ('gateway', 'device', 'onlink'):
            if key in found:
                raise PolicyError(key, found[key], 'not together with next_hops; give it in an entry of that list')
        hops: Tuple[NextHop, ...] = found['next_hops']
        return hops if len(hops) > 1 else tuple(hop._replace(weight=1) for hop in hops)
    return (_hop(found),) if 'gateway' in found or 'device' in found else ()


def _hop(found: Mapping[str, Any]) -> NextHop:
    """One next hop of the keys gateway, device, weight and onlink."""
    gateway, device, onlink = found.get('gateway'), found.get('device'), found.get('onlink', False)
    if device is None and onlink:
        raise PolicyError('device', None, 'is required with onlink')
    if device is None and gateway is not None and gateway.startswith('fe80:'):
        raise PolicyError('device', None, f'is required with the link-local gateway {gateway}')
    return NextHop(gateway, device, found.get('weight', 1), onlink)


def _check_ways(found: Mapping[str, Any], kind: str, hops: Sequence[NextHop], complete: bool) -> None:
    """A dead end leads nowhere, and all other routes somewhere."""
    if kind in DEAD_ENDS:
        for key in _WAYS:
            if found.get(key):
                raise PolicyError(key, _item_text(found[key]), f'not allowed with type {kind}')
    elif complete and not hops:
        raise PolicyError('gateway', None, f'type {kind} needs gateway, device or next_hops')


def _item_text(value: Any) -> Any:
    """A value for an error message: next hops as mappings, as the user wrote them."""
    return [hop._asdict() for hop in value] if isinstance(value, tuple) else value


def _parse_destination(key: str, value: Any) -> str:
    return 'default' if value == 'default' else values.prefix(key, value)


def _parse_hops(key: str, value: Any) -> Tuple[NextHop, ...]:
    """A list of one or more next hops."""
    hops = []
    for place, item in enumerate(values.sequence(key, value, least=1)):
        try:
            found = parse_keys(item, _HOP_PARSERS, 'next hop')
            if 'gateway' not in found and 'device' not in found:
                raise PolicyError('gateway', None, 'a next hop needs gateway or device')
            hops.append(_hop(found))
        except PolicyError as error:
            inner = f'.{error.key}' if error.key else ''
            raise PolicyError(f'{key}[{place}]{inner}', error.value, error.allowed) from None
    return tuple(hops)


def _parse_metric(key: str, value: Any) -> int:
    return values.integer(key, value, 0, HIGHEST_METRIC)


_HOP_PARSERS: Dict[str, Parser] = {
    'gateway': values.address,
    'device': values.interface,
    'weight': lambda key, value: values.integer(key, value, 1, HIGHEST_WEIGHT),
    'onlink': values.boolean,
}
_PARSERS: Dict[str, Parser] = {
    'destination': _parse_destination,
    'family': family_parser,
    'gateway': values.address,
    'device': values.interface,
    'metric': _parse_metric,
    'source': values.address,
    'mtu': lambda key, value: values.integer(key, value, LEAST_MTU['ipv4'], HIGHEST_MTU),
    'advmss': lambda key, value: values.integer(key, value, 1, HIGHEST_ADVMSS),
    'type': lambda key, value: values.choice(key, value, TYPE_CHOICES),
    'onlink': values.boolean,
    'next_hops': _parse_hops,
    'table': lambda key, value: value,
}


def device_of_hops(routes: Sequence[Placed]) -> List[Tuple[str, str]]:
    """(key, device) of every next hop that names one, for the check whether it exists."""
    found: List[Tuple[str, str]] = []
    for place, route in routes:
        found += [(f'routes[{place}].device', hop.device) for hop in route.next_hops if hop.device]
    return found


def need_devices(routes: Sequence[Placed], there: Sequence[str]) -> None:
    """PolicyError for the first next hop whose device is not there; lists what there is."""
    for key, device in device_of_hops(routes):
        if device not in there:
            raise PolicyError(key, device, f'no such interface; there are {", ".join(sorted(there))}')
