# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A lab's data: what is accepted, what it becomes, and one line for everything else."""

from __future__ import annotations

import copy
from typing import Any, Callable, Dict

import pytest
from ansible_collections.returntraffic.net.plugins.module_utils.errors import PolicyError
from ansible_collections.returntraffic.net.plugins.module_utils.lab import naming
from ansible_collections.returntraffic.net.plugins.module_utils.lab.topology import Interface, parse_topology
from hypothesis import given, settings
from hypothesis import strategies as st

LAB: Dict[str, Any] = {
    'name': 'rt',
    'networks': [{'name': 'blue', 'prefixes': ['10.0.0.0/24', 'fd00::/64']}, {'name': 'red'}],
    'hosts': [
        {
            'name': 'left',
            'interfaces': [
                {'name': 'eth0', 'network': 'blue', 'addresses': ['10.0.0.1/24', 'FD00::0001/64'], 'mtu': 1300},
                {'name': 'eth1', 'network': 'red', 'mac': '02:00:00:00:00:AA'},
            ],
            'loopback_addresses': ['192.168.1.1', 'fd00:1::1', '127.0.0.2/8'],
            'sysctls': {'net.ipv4.conf.all.rp_filter': 1, 'net.ipv4.ip_forward': '1', 'net/ipv4/conf/a.b/tag': 0},
        },
        {'name': 'right', 'interfaces': [{'name': 'eth0', 'network': 'blue', 'addresses': ['10.0.0.2/24']}]},
    ],
}


def changed(change: Callable[[Dict[str, Any]], Any]) -> Dict[str, Any]:
    """A copy of the lab with one thing different."""
    data = copy.deepcopy(LAB)
    change(data)
    return data


def nic(data: Dict[str, Any]) -> Dict[str, Any]:
    found: Dict[str, Any] = data['hosts'][0]['interfaces'][0]
    return found


def test_values_become_canonical() -> None:
    left = parse_topology(LAB).hosts[0]
    mac = naming.mac('rt', 'left', 'eth0')
    assert left.interfaces == (
        Interface('eth0', 'blue', ('10.0.0.1/24', 'fd00::1/64'), 1300, mac, 'left.eth0'),
        Interface('eth1', 'red', (), 1500, '02:00:00:00:00:aa', 'left.eth1'),
    )
    assert left.loopback == ('192.168.1.1/32', 'fd00:1::1/128', '127.0.0.2/8')


def test_settings_that_reset_others_come_first() -> None:
    settings_of_left = parse_topology(LAB).hosts[0].sysctls
    assert list(settings_of_left.items()) == [
        ('net/ipv4/ip_forward', '1'),
        ('net/ipv4/conf/all/rp_filter', '1'),
        ('net/ipv4/conf/a.b/tag', '0'),
    ]


ERRORS = {
    'unknown key': (lambda lab: lab.update(colour='red'), 'colour', 'unknown key; known are name, networks, hosts'),
    'unknown key of a host': (lambda lab: lab['hosts'][0].update(x=1), 'hosts[0].x', 'unknown key'),
    'unknown key of a NIC': (lambda lab: nic(lab).update(x=1), 'hosts[left].interfaces[0].x', 'unknown key'),
    'lab name with a dash': (lambda lab: lab.update(name='rt-a'), 'name', 'a dash ends the name'),
    'no networks': (lambda lab: lab.update(networks=[]), 'networks', 'at least 1'),
    'no hosts': (lambda lab: lab.update(hosts=None), 'hosts', 'at least 1'),
    'hosts no list': (lambda lab: lab.update(hosts={'left': {}}), 'hosts', 'must be a list'),
    'network twice': (lambda lab: lab['networks'].append({'name': 'red'}), 'networks[2].name', 'is there twice'),
    'network name too long': (lambda lab: lab['networks'].append({'name': 'n' * 16}), 'networks[2].name', '1-15'),
    'network prefix with host bits': (
        lambda lab: lab['networks'][0].update(prefixes=['10.0.0.1/24']),
        'networks[0].prefixes',
        'host bits set',
    ),
    'host twice': (lambda lab: lab['hosts'].append({'name': 'left'}), 'hosts[left].name', 'is there twice'),
    'host called switch': (lambda lab: lab['hosts'].append({'name': 'switch'}), 'hosts[2].name', 'bridges'),
    'host name of a path': (lambda lab: lab['hosts'].append({'name': '../x'}), 'hosts[2].name', 'must be 1-63'),
    'NIC twice': (
        lambda lab: lab['hosts'][0]['interfaces'].append({'name': 'eth0', 'network': 'red'}),
        'hosts[left].interfaces[2].name',
        'is there twice',
    ),
    'NIC called lo': (lambda lab: nic(lab).update(name='lo'), 'interfaces[0].name', 'loopback_addresses'),
    'NIC on no network': (lambda lab: nic(lab).pop('network'), 'interfaces[0].network', 'is required'),
    'NIC on an unknown network': (lambda lab: nic(lab).update(network='x'), 'interfaces[0].network', 'blue, red'),
    'address without length': (lambda lab: nic(lab).update(addresses=['10.0.0.1']), 'addresses', 'prefix length'),
    'address of nothing': (lambda lab: nic(lab).update(addresses=['10.0.0/24']), 'addresses', 'IPv4 or IPv6'),
    'address with a long length': (lambda lab: nic(lab).update(addresses=['10.0.0.1/33']), 'addresses', '0 to 32'),
    'address with no number': (lambda lab: nic(lab).update(addresses=['10.0.0.1/x']), 'addresses', '0 to 32'),
    'address no text': (lambda lab: nic(lab).update(addresses=[10]), 'addresses', 'must be an address'),
    'address off the network': (
        lambda lab: nic(lab).update(addresses=['10.0.1.1/24']),
        'addresses',
        'is not in blue, which has 10.0.0.0/24',
    ),
    'address of another host': (
        lambda lab: nic(lab).update(addresses=['10.0.0.2/24']),
        'hosts[right]',
        'belongs to left eth0 on blue',
    ),
    'MTU too small': (lambda lab: nic(lab).update(mtu=67), 'interfaces[0].mtu', '68 to 65521'),
    'MTU too small for IPv6': (lambda lab: nic(lab).update(mtu=1279), 'interfaces[0].mtu', 'at least 1280'),
    'MTU no number': (lambda lab: nic(lab).update(mtu=True), 'interfaces[0].mtu', 'whole number'),
    'MAC of a group': (lambda lab: nic(lab).update(mac='01:00:00:00:00:01'), 'interfaces[0].mac', 'unicast'),
    'MAC of nothing': (lambda lab: nic(lab).update(mac='1:2'), 'interfaces[0].mac', 'must be a MAC address'),
    'setting elsewhere': (
        lambda lab: lab['hosts'][0].update(sysctls={'kernel.panic': 1}),
        'hosts[left].sysctls',
        'below net.',
    ),
    'setting that climbs': (
        lambda lab: lab['hosts'][0].update(sysctls={'net/../kernel/panic': 1}),
        'hosts[left].sysctls',
        'below net.',
    ),
    'setting no value': (
        lambda lab: lab['hosts'][0].update(sysctls={'net.ipv4.ip_forward': True}),
        'net.ipv4.ip_forward',
        'a number',
    ),
    'settings no mapping': (lambda lab: lab['hosts'][0].update(sysctls=['x']), 'hosts[left].sysctls', 'a mapping'),
}


@pytest.mark.parametrize('case', ERRORS)
def test_an_error_names_the_key_and_what_is_allowed(case: str) -> None:
    change, key, allowed = ERRORS[case]
    with pytest.raises(PolicyError) as caught:
        parse_topology(changed(change))
    assert key in caught.value.key
    assert allowed in str(caught.value)
    assert '\n' not in str(caught.value)


def test_a_short_port_is_its_host_and_nic() -> None:
    assert naming.port('node', 'eth1') == 'node.eth1'


@given(st.text('abc-.', min_size=1, max_size=30), st.text('en0', min_size=1, max_size=15))
def test_a_port_is_always_an_interface_name(host: str, interface: str) -> None:
    assert 0 < len(naming.port(host, interface)) <= 15


def test_long_ports_stay_apart() -> None:
    names = {naming.port(f'loadbalancer-{number}', 'enp0s31f6') for number in range(200)}
    assert len(names) == 200


def test_a_mac_is_stable_and_differs_by_lab_host_and_nic() -> None:
    macs = [naming.mac(*words) for words in (('a', 'b', 'c'), ('a', 'b', 'd'), ('a', 'd', 'c'), ('d', 'b', 'c'))]
    assert len(set(macs)) == 4
    assert naming.mac('a', 'b', 'c') == macs[0]
    assert all(mac.startswith('02:') for mac in macs)


_JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
_PLACES = (
    ('name',), ('networks',), ('hosts',), ('networks', 0), ('hosts', 0), ('hosts', 0, 'interfaces'),
    ('hosts', 0, 'interfaces', 0), ('hosts', 0, 'interfaces', 0, 'addresses'), ('hosts', 0, 'interfaces', 0, 'mac'),
    ('hosts', 0, 'loopback_addresses'), ('hosts', 0, 'sysctls'), ('networks', 0, 'prefixes'),
)  # fmt: skip


@settings(max_examples=300)
@given(st.sampled_from(_PLACES), _JUNK)
def test_junk_is_refused_or_taken_but_never_a_traceback(place: Any, junk: Any) -> None:
    data = copy.deepcopy(LAB)
    inner = data
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = junk
    try:
        parse_topology(data)
    except PolicyError as error:
        assert '\n' not in str(error)
