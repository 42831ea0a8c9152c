# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Routes as users write them: what they mean, and what is wrong with them in one line."""

from __future__ import annotations

from typing import Any, Dict, List

import pytest
from ansible_collections.returntraffic.net.plugins.module_utils.errors import PolicyError
from ansible_collections.returntraffic.net.plugins.module_utils.kernel.routes import canonical
from ansible_collections.returntraffic.net.plugins.module_utils.list_spec import Context
from ansible_collections.returntraffic.net.plugins.module_utils.objects import PROTOCOL, NextHop, Route
from ansible_collections.returntraffic.net.plugins.module_utils.route_spec import need_devices, parse_routes
from hypothesis import given
from hypothesis import strategies as some

CONTEXT = Context({'main': 254, 'storage': 77}, PROTOCOL)


def parse(*items: Any, context: Context = CONTEXT, complete: bool = True) -> List[Route]:
    return [route for _place, route in parse_routes('routes', list(items), context, complete)]


def via(gateway: str, device: Any = None, weight: int = 1, onlink: bool = False) -> Any:
    return (NextHop(gateway, device, weight, onlink),)


@pytest.mark.parametrize(
    ('item', 'route'),
    [
        ({'destination': 'default', 'gateway': '10.0.0.1'}, Route('ipv4', 254, '0.0.0.0/0', next_hops=via('10.0.0.1'))),
        ({'destination': 'default', 'gateway': 'FD00:0::1', 'table': 'storage'},
         Route('ipv6', 77, '::/0', next_hops=via('fd00::1'), metric=1024)),
        ({'destination': 'default', 'gateway': 'fd00::1', 'device': 'e', 'family': 'ipv4'},
         Route('ipv4', 254, '0.0.0.0/0', next_hops=via('fd00::1', 'e'))),
        ({'destination': '10.1.2.3', 'device': 'eth1'},
         Route('ipv4', 254, '10.1.2.3/32', next_hops=(NextHop(None, 'eth1'),), scope=253)),
        ({'destination': '10.0.0.0/8', 'gateway': '10.0.0.1', 'device': 'eth1', 'onlink': True, 'mtu': '1400',
          'source': '10.0.0.2', 'metric': '0x10'},
         Route('ipv4', 254, '10.0.0.0/8', next_hops=via('10.0.0.1', 'eth1', 1, True), metric=16, source='10.0.0.2',
               mtu=1400)),
        ({'destination': 'fd00::/8', 'device': 'eth1', 'metric': 0},
         Route('ipv6', 254, 'fd00::/8', next_hops=(NextHop(None, 'eth1'),), metric=1024)),
        ({'destination': 'default', 'type': 'unreachable', 'metric': 4294967295},
         Route('ipv4', 254, '0.0.0.0/0', 'unreachable', metric=4294967295)),
        ({'destination': '10.0.0.1', 'type': 'local', 'device': 'lo', 'table': 5},
         Route('ipv4', 5, '10.0.0.1/32', 'local', (NextHop(None, 'lo'),), scope=254)),
        ({'destination': '10.0.0.0/8', 'next_hops': [{'gateway': '1.1.1.1', 'weight': 256}, {'device': 'eth1'}]},
         Route('ipv4', 254, '10.0.0.0/8', next_hops=(NextHop('1.1.1.1', None, 256), NextHop(None, 'eth1')))),
        ({'destination': '10.0.0.0/8', 'next_hops': [{'gateway': '1.1.1.1', 'weight': 9}]},
         Route('ipv4', 254, '10.0.0.0/8', next_hops=via('1.1.1.1'))),
        ({'destination': 'default', 'next_hops': [{'gateway': 'fd00::1'}, {'gateway': 'fd00::2'}]},
         Route('ipv6', 254, '::/0', next_hops=via('fd00::1') + via('fd00::2'), metric=1024)),
        ({'destination': '10.0.0.0/8', 'device': 'e', 'gateway': None, 'next_hops': None, 'mtu': None},
         Route('ipv4', 254, '10.0.0.0/8', next_hops=(NextHop(None, 'e'),), scope=253)),
    ],
)  # fmt: skip
def test_what_a_route_means(item: Dict[str, Any], route: Route) -> None:
    assert parse(item) == [route]


def test_both_families_are_two_routes() -> None:
    item = {'destination': 'default', 'type': 'throw', 'family': 'both', 'table': 5}
    assert [(route.family, route.destination, route.metric) for route in parse(item)] == [
        ('ipv4', '0.0.0.0/0', 0), ('ipv6', '::/0', 1024),
    ]  # fmt: skip
    assert len(parse({**item, 'family': None}, context=CONTEXT._replace(family='both', protocol=200))) == 2


def test_the_same_route_twice_counts_once() -> None:
    item = {'destination': '10.0.0.0/8', 'gateway': '1.1.1.1', 'table': 'storage'}
    assert len(parse(item, {**item, 'table': 77})) == 1


@pytest.mark.parametrize(
    ('item', 'message'),
    [
        ('junk', "routes[1]: 'junk': must be a mapping that describes a route"),
        ({}, 'routes[1].destination: None: is required: a prefix, an address or default'),
        ({'destination': '10.0.0.0/8'}, 'routes[1].gateway: None: type unicast needs gateway, device or next_hops'),
        ({'destination': '10.1/16', 'device': 'e'}, "routes[1].destination: '10.1/16': must be an IPv4 or IPv6 prefix"),
        ({'destination': '10.0.0.1/8', 'device': 'e'}, 'has host bits set; the network is 10.0.0.0/8'),
        ({'destination': 'Default', 'device': 'e'}, "routes[1].destination: 'Default': "),
        ({'destination': 'fd00::/8', 'gateway': '10.0.0.1'}, "routes[1].gateway: '10.0.0.1': must be of family ipv6"),
        ({'destination': 'fd00::/8', 'next_hops': [{'gateway': '10.0.0.1'}]},
         "routes[1].next_hops[0].gateway: '10.0.0.1': must be of family ipv6"),
        ({'destination': 'fd00::/8', 'source': '10.0.0.1', 'device': 'e'}, "routes[1].source: '10.0.0.1': "),
        ({'destination': 'default', 'gateway': '10.0.0.1', 'family': 'ipv6'}, 'must be of family ipv6'),
        ({'destination': '10.0.0.0/8', 'device': 'e', 'family': 'both'}, "routes[1].family: 'both': only for an entry"),
        ({'destination': '10.0.0.0/8', 'gateway': '10.0.0.0/8'}, "routes[1].gateway: '10.0.0.0/8': "),
        ({'destination': 'default', 'gateway': 'fe80::1'}, 'is required with the link-local gateway fe80::1'),
        ({'destination': 'default', 'gateway': '1.1.1.1', 'onlink': True}, 'routes[1].device: None: is required with'),
        ({'destination': 'default', 'type': 'throw', 'gateway': '1.1.1.1'}, 'not allowed with type throw'),
        ({'destination': 'default', 'type': 'throw', 'mtu': 1400}, 'routes[1].mtu: 1400: not allowed with type throw'),
        ({'destination': 'default', 'type': 'nat'}, 'must be one of unicast, local, broadcast, blackhole'),
        ({'destination': 'default', 'gateway': '1.1.1.1', 'mtu': 67}, 'must be a whole number from 68 to 65520'),
        ({'destination': 'default', 'gateway': 'fd00::1', 'mtu': 1279}, 'must be a whole number from 1280 to 65520'),
        ({'destination': 'default', 'gateway': '1.1.1.1', 'metric': -1}, 'routes[1].metric: -1: '),
        ({'destination': 'default', 'gateway': '1.1.1.1', 'table': 'x'}, 'and the names storage, main'),
        ({'destination': 'default', 'gateway': '1.1.1.1', 'next_hops': [{'device': 'e'}]}, 'not together with next'),
        ({'destination': 'default', 'next_hops': 'x'}, "routes[1].next_hops: 'x': must be a list"),
        ({'destination': 'default', 'next_hops': []}, 'routes[1].next_hops: []: needs at least 1 entry'),
        ({'destination': 'default', 'next_hops': ['x']}, "routes[1].next_hops[0]: 'x': must be a mapping"),
        ({'destination': 'default', 'next_hops': [{'weight': 0, 'device': 'e'}]}, 's[1].next_hops[0].weight: 0: '),
        ({'destination': 'default', 'next_hops': [{'via': 0}]}, 'routes[1].next_hops[0].via: 0: unknown key; known'),
        ({'destination': 'default', 'next_hops': [{'weight': 3}]}, 'a next hop needs gateway or device'),
        ({'destination': '10.9.0.0/16', 'device': 'f'}, "routes[1].destination: '10.9.0.0/16': same table, dest"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_one_line(item: Any, message: str) -> None:
    with pytest.raises(PolicyError) as caught:
        parse({'destination': '10.9.0.0/16', 'device': 'e'}, item)
    assert message in str(caught.value)
    assert '\n' not in str(caught.value)


def test_what_is_to_go_need_not_say_where_it_leads() -> None:
    [route] = parse({'destination': '10.0.0.0/8'}, complete=False)
    assert route.next_hops == ()
    assert len(parse({'destination': 'fd00::1'}, {'destination': 'fd00::1', 'device': 'e'}, complete=False)) == 2


def test_devices_that_are_not_there_are_named_with_those_that_are() -> None:
    placed = [(0, Route('ipv4', 5, '10.0.0.0/8', next_hops=(NextHop(None, 'eth1'), NextHop('1.1.1.1', 'eth7'))))]
    need_devices(placed, ['eth7', 'eth1'])
    with pytest.raises(PolicyError, match=r"^routes\[0\].device: 'eth7': no such interface; there are eth1, lo$"):
        need_devices(placed, ['lo', 'eth1'])


VALUES = (
    some.none() | some.booleans() | some.integers(-2, 2000) | some.floats() | some.text(max_size=5)
    | some.sampled_from(['10.0.0.0/8', '10.0.0.1', 'fd00::1', 'fe80::1', 'default', 'lo', 'main', 'throw', 'both'])
    | some.lists(some.dictionaries(some.sampled_from(['gateway', 'device', 'weight', 'x']),
                                   some.sampled_from(['10.0.0.1', 'fd00::1', 'lo', 3])), max_size=3)
)  # fmt: skip
KEYS = ('destination', 'family', 'gateway', 'device', 'metric', 'source', 'mtu', 'type', 'onlink', 'next_hops', 'table',
        'junk')  # fmt: skip


@given(some.dictionaries(some.sampled_from(KEYS), VALUES, max_size=6))
def test_any_entry_is_a_route_or_one_line(item: Dict[str, Any]) -> None:
    try:
        routes = parse({'destination': 'default', **item})
    except PolicyError as error:
        assert str(error).startswith('routes[0]') and '\n' not in str(error)
    else:
        assert [canonical(route) for route in routes] == routes
