# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What we read from the kernel is what `ip -N -j -d` shows, object for object, in a crowded namespace."""

from __future__ import annotations

import socket
import struct
from typing import Any, Callable, Dict, Iterable, Iterator, List, Mapping, Optional, Tuple

import pytest
from ansible_collections.returntraffic.net.plugins.module_utils.kernel.addresses import list_addresses
from ansible_collections.returntraffic.net.plugins.module_utils.kernel.links import list_links
from ansible_collections.returntraffic.net.plugins.module_utils.kernel.netlink import Netlink, attribute
from ansible_collections.returntraffic.net.plugins.module_utils.kernel.routes import list_routes
from ansible_collections.returntraffic.net.plugins.module_utils.kernel.rules import list_rules
from ansible_collections.returntraffic.net.plugins.module_utils.objects import Address, Link, NextHop, Route, Rule
from namespaces import Namespace

LINKS = """
link add bridge0 type bridge
link add left0 type veth peer name right0
link set left0 master bridge0
link set left0 address 02:00:00:00:00:01
link set bridge0 mtu 1400
link add lonely0 type veth peer name lonely1
addr add 10.0.0.1/24 dev bridge0
addr add 10.0.0.9/24 dev bridge0
addr add 10.0.5.1 peer 10.0.5.2/32 dev right0
addr add 192.168.1.1/32 dev lo
addr add fd00::1/64 dev bridge0
addr add fd00:5::1 peer fd00:5::2/128 dev right0
addr add fd00:192:168::1/128 dev lo
link set bridge0 up
link set left0 up
link set right0 up
"""
RULES = """
rule add pref 1 not from 10.0.0.0/8 to 1.2.3.4 fwmark 0x10/0xff iif left0 oif right0 tos 0x10 ipproto 6 sport 5-10 \
dport 7 uidrange 5-9 table 77 suppress_prefixlength 5 protocol 201
rule add pref 2 table 1000 suppress_ifgroup 7
rule add pref 3 goto 9
rule add pref 4 goto 99 protocol 5
rule add pref 5 fwmark 0 blackhole
rule add pref 6 fwmark 0/0x1 prohibit
rule add pref 7 l3mdev unreachable
rule add pref 7 l3mdev
rule add pref 8 tun_id 77 table 5
rule add pref 9 nop
rule add pref 10 from 0.0.0.0/0 table 4294967295
rule add pref 11 from 1.1.1.1 realms 5/6 table 8
rule add pref 12 to 10.244.0.0/16 dport 65534 table main protocol 201
rule add pref 12 to 10.244.0.0/16 uidrange 0-0 table 252 protocol 201
rule add pref 4294967295 iif notthere0 table 255
"""
RULES6 = """
rule add pref 1 not from fd00::/8 to fd01::1 fwmark 0x10 iif left0 oif right0 tos 0x10 ipproto 17 sport 5 dport 7-9 \
uidrange 5-9 table 77 suppress_prefixlength 64 protocol 201
rule add pref 2 from ::ffff:1.2.3.4 blackhole
rule add pref 3 to 2000::/3 prohibit
rule add pref 4 goto 5
rule add pref 5 ipproto 58 nop
rule add pref 6 l3mdev
rule add pref 7 from fd00::1 fwmark 0x1/0x1 table 256 protocol 255
"""
ROUTES = """
route add 1.0.0.0/8 nexthop via 10.0.0.7 weight 5 nexthop dev right0 weight 2
route add 1.0.0.0/8 via 10.0.0.8 metric 5 mtu 1300 advmss 500 proto 201 src 10.0.0.9 table 500
route append 1.0.0.0/8 via 10.0.0.9 metric 5 table 500
route add 3.0.0.0/8 via 10.0.0.8 mtu lock 1300 realm 4
route add 4.0.0.0/8 via inet6 fe80::1 dev bridge0
route add 5.0.0.0/8 dev bridge0 tos 0x10
route add 5.0.0.0/8 via 99.9.9.9 dev bridge0 onlink
route add 5.1.0.0/16 nexthop via 99.9.9.9 dev bridge0 onlink nexthop via 10.0.0.8
route add unreachable 6.0.0.0/8
route add blackhole 6.1.0.0/16 metric 4294967295
route add prohibit 6.2.0.0/16 proto static
route add throw 7.0.0.0/8 table 12
route add local 8.0.0.0/8 dev lo
route add broadcast 8.0.0.9 dev bridge0 table 9
route add multicast 224.9.0.0/16 dev bridge0 table 9
route add default via 10.0.0.8 table 3001 proto 201
route add unreachable default metric 4278198272 table 3001 proto 201
"""
ROUTES6 = """
route add fd01::/64 nexthop via fd00::7 weight 4 nexthop via fd00::8
route add blackhole fd02::/64
route add prohibit fd02:1::/64 table 9
route add throw fd02:2::/64 table 9
route add unreachable default metric 4278198272 table 3001 proto 201
route add default via fd00::7 table 3001 proto 201
route add fd03::/64 dev bridge0 metric 5 pref high
route add fd04::/64 from fd00::/64 via fd00::9
route add fd05::/64 via fd99::1 dev bridge0 onlink mtu 1280 src fd00::1
route add local fd0a::/64 dev lo
route add anycast fd0b::1 dev bridge0
route add fd0c::/64 via fe80::1 dev bridge0 metric 1
"""
HUNDREDS = 300


def many(line: str) -> str:
    return ''.join(line.format(n=100 + n, low=n % 250, high=n // 250) + '\n' for n in range(HUNDREDS))


@pytest.fixture(scope='module')
def crowded() -> Iterator[Namespace]:
    with Namespace() as made:
        made.batch(LINKS)
        numbers = range(HUNDREDS)
        made.batch(
            RULES + ''.join(f'rule add pref {100 + n} from 10.9.{n % 250}.{n // 250} table {n + 1}\n' for n in numbers)
        )
        made.batch(
            RULES6 + ''.join(f'rule add pref {100 + n} from fd09::{n + 1:x} table {n + 1}\n' for n in numbers), '-6'
        )
        made.batch(
            ROUTES + ''.join(f'route add 20.0.{n % 250}.{n // 250} via 10.0.0.8 table {n + 1}\n' for n in numbers)
        )
        made.batch(ROUTES6 + ''.join(f'route add fd20::{n + 1:x} via fd00::7 table {n + 1}\n' for n in numbers), '-6')
        yield made


def read(namespace: Namespace, lister: Callable[[Netlink], List[Any]]) -> List[Any]:
    with namespace.entered(), Netlink() as netlink:
        return lister(netlink)


def in_order(objects: Iterable[Any]) -> List[Any]:
    return sorted(objects, key=repr)


def number(shown: Mapping[str, Any], key: str) -> Optional[int]:
    return int(str(shown[key]), 0) if key in shown else None


def limits(shown: Mapping[str, Any], one: str, low: str, high: str) -> Optional[Tuple[int, int]]:
    if one in shown:
        return shown[one], shown[one]
    return (shown[low], shown[high]) if low in shown else None


def prefix(shown: Mapping[str, Any], key: str, length_key: str, bits: int) -> Optional[str]:
    address = shown.get(key, 'all')
    return None if address == 'all' else f'{address}/{shown.get(length_key, bits)}'


def rule_action(shown: Mapping[str, Any]) -> str:
    names = {'6': 'blackhole', '7': 'unreachable', '8': 'prohibit'}
    if 'action' in shown:
        return names[shown['action']]
    return 'goto' if 'goto' in shown else 'nop' if 'nop' in shown else 'to-table'


def rule_others(shown: Mapping[str, Any]) -> Tuple[Tuple[int, bytes], ...]:
    others = []
    if 'flow_to' in shown:
        others.append((11, struct.pack('=I', int(shown['flow_from']) << 16 | int(shown['flow_to']))))
    if 'tun_id' in shown:
        others.append((12, struct.pack('!Q', shown['tun_id'])))
    if 'suppress_ifgroup' in shown:
        others.append((13, struct.pack('=I', int(shown['suppress_ifgroup']))))
    return tuple(others)


def expected_rule(shown: Mapping[str, Any], family: str) -> Rule:
    bits = 128 if family == 'ipv6' else 32
    marked = 'fwmark' in shown
    return Rule(
        family,
        shown['priority'],
        rule_action(shown),
        prefix(shown, 'src', 'srclen', bits),
        prefix(shown, 'dst', 'dstlen', bits),
        number(shown, 'fwmark'),
        (number(shown, 'fwmask') if 'fwmask' in shown else 0xFFFFFFFF) if marked else None,
        shown.get('iif'),
        shown.get('oif'),
        'not' in shown,
        int(shown['ipproto'].replace('ipproto-', '')) if 'ipproto' in shown else None,
        limits(shown, 'sport', 'sport_start', 'sport_end'),
        limits(shown, 'dport', 'dport_start', 'dport_end'),
        number(shown, 'tos'),
        limits(shown, 'uid', 'uid_start', 'uid_end'),
        number(shown, 'suppress_prefixlen'),
        'l3mdev' in shown,
        shown.get('goto'),
        number(shown, 'table') or 0,
        int(shown['protocol']),
        rule_others(shown),
    )


@pytest.mark.parametrize(('family', 'option'), [('ipv4', '-4'), ('ipv6', '-6')])
def test_rules(crowded: Namespace, family: str, option: str) -> None:
    shown = crowded.ip(option, 'rule')
    expected = [expected_rule(one, family) for one in shown]
    assert len(expected) > HUNDREDS
    assert read(crowded, lambda netlink: list_rules(netlink, family)) == expected


ROUTE_TYPES = {
    '1': 'unicast',
    '2': 'local',
    '3': 'broadcast',
    '4': 'anycast',
    '5': 'multicast',
    '6': 'blackhole',
    '7': 'unreachable',
    '8': 'prohibit',
    '9': 'throw',
}
#: RTAX_* by the name that `ip` prints.
METRICS = {'lock': 1, 'advmss': 8}


def expected_hop(shown: Mapping[str, Any]) -> NextHop:
    gateway = shown['via']['host'] if 'via' in shown else shown.get('gateway')
    return NextHop(gateway, shown.get('dev'), shown.get('weight', 1), 'onlink' in shown['flags'])


def route_others(shown: Mapping[str, Any], locked: bool) -> Tuple[Tuple[int, bytes], ...]:
    others: Dict[int, bytes] = {}
    metrics = {METRICS[name]: value for name, value in shown.get('metrics', [{}])[0].items() if name != 'mtu'}
    if locked:  # `ip -j` leaves it out
        metrics[METRICS['lock']] = 1 << 2
    if metrics:
        others[8] = b''.join(attribute(kind, struct.pack('=I', metrics[kind])) for kind in sorted(metrics))
    if 'flow' in shown:
        others[11] = struct.pack('=I', int(shown['flow']['to']))
    if shown.get('pref') == 'high':
        others[20] = b'\1'
    return tuple(sorted(others.items()))


def expected_route(shown: Mapping[str, Any], family: str) -> Route:
    bits = 128 if family == 'ipv6' else 32
    kind = ROUTE_TYPES[shown['type']]
    destination = {'default': '::/0' if family == 'ipv6' else '0.0.0.0/0'}.get(shown['dst'], shown['dst'])
    hops = tuple(expected_hop(hop) for hop in shown.get('nexthops', [shown]))
    leads = kind not in ('blackhole', 'unreachable', 'prohibit', 'throw')
    return Route(
        family,
        int(shown['table']),
        destination if '/' in destination else f'{destination}/{bits}',
        kind,
        hops if leads else (),
        shown.get('metric', 0),
        shown.get('prefsrc'),
        int(shown['scope']),
        shown.get('metrics', [{}])[0].get('mtu'),
        number(shown, 'tos') or 0,
        int(shown['protocol']),
        route_others(shown, locked=shown['dst'] == '3.0.0.0/8'),
        shown.get('from'),
    )


@pytest.mark.parametrize(('family', 'option'), [('ipv4', '-4'), ('ipv6', '-6')])
def test_routes(crowded: Namespace, family: str, option: str) -> None:
    shown = crowded.ip(option, 'route', 'show', 'table', 'all')
    expected = [expected_route(one, family) for one in shown]
    assert len(expected) > HUNDREDS
    found = [route for route in read(crowded, list_routes) if route.family == family]
    assert in_order(found) == in_order(expected)


def test_routes_of_some_tables_and_protocols(crowded: Namespace) -> None:
    everything = read(crowded, list_routes)
    of_tables = read(crowded, lambda netlink: list_routes(netlink, [3001, 9, 77777]))
    assert in_order(of_tables) == in_order(route for route in everything if route.table in (3001, 9))
    of_protocol = read(crowded, lambda netlink: list_routes(netlink, protocol=201))
    assert in_order(of_protocol) == in_order(route for route in everything if route.protocol == 201)
    assert len(of_tables) > 5 and len(of_protocol) == 5


def test_links(crowded: Namespace) -> None:
    expected = [
        Link(
            shown['ifindex'],
            shown['ifname'],
            shown['address'],
            'UP' in shown['flags'],
            shown['mtu'],
            shown.get('linkinfo', {}).get('info_kind'),
            shown.get('master'),
            None,
            shown.get('link'),
        )
        for shown in crowded.ip('link')
    ]
    assert read(crowded, list_links) == expected
    assert {link.kind for link in expected} == {None, 'bridge', 'veth'}


def test_addresses(crowded: Namespace) -> None:
    expected = [
        Address({'inet': 'ipv4', 'inet6': 'ipv6'}[one['family']], link['ifname'], one['local'], one['prefixlen'])
        for link in crowded.ip('addr')
        for one in link['addr_info']
    ]
    assert in_order(read(crowded, list_addresses)) == in_order(expected)


def too_big(family: int, source: str, destination: str, mtu: int) -> bytes:
    """What a router would say of an echo reply from source to destination (RFC 792 and 1191, RFC 4443)."""
    ends = socket.inet_pton(family, source) + socket.inet_pton(family, destination)
    if family == socket.AF_INET6:
        inner = struct.pack('!IHBB', 6 << 28, 8, 58, 64) + ends + bytes((129, 0, 0, 0, 0, 0, 0, 0))
        return struct.pack('!BBHI', 2, 0, 0, mtu) + inner
    inner = struct.pack('!BBHHHBBH', 0x45, 0, 28, 0, 0, 64, 1, 0) + ends + bytes(8)
    unsummed = struct.pack('!BBHHH', 3, 4, 0, 0, mtu) + inner
    total = sum(struct.unpack(f'!{len(unsummed) // 2}H', unsummed))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return unsummed[:2] + struct.pack('!H', ~total & 0xFFFF) + unsummed[4:]


@pytest.mark.parametrize(
    ('family', 'protocol', 'source', 'destination', 'option'),
    [
        (socket.AF_INET, socket.IPPROTO_ICMP, '10.0.0.1', '10.0.0.77', '-4'),
        (socket.AF_INET6, socket.IPPROTO_ICMPV6, 'fd00::1', 'fd00::77', '-6'),
    ],
)
def test_path_mtu_exceptions_are_no_routes(
    crowded: Namespace, family: int, protocol: int, source: str, destination: str, option: str
) -> None:
    """A route that the kernel caches for one destination is state of a flow, not configuration."""
    before = read(crowded, list_routes)
    with crowded.entered(), socket.socket(family, socket.SOCK_RAW, protocol) as sender:
        sender.sendto(too_big(family, source, destination, 1300), (source, 0))
    assert destination in crowded.run('ip', option, 'route', 'show', 'cache')
    assert in_order(read(crowded, list_routes)) == in_order(before)
