# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A lab in Docker's terms, and what Docker cannot have, without a daemon."""

from __future__ import annotations

from typing import Any, Dict, List

import pytest
from ansible_collections.returntraffic.net.plugins.module_utils.errors import PolicyError
from ansible_collections.returntraffic.net.plugins.module_utils.lab.containers import (
    Containers,
    Found,
    gateway_of,
    parse_containers,
    parse_networks,
    plan_containers,
)
from ansible_collections.returntraffic.net.plugins.module_utils.lab.topology import parse_topology

NETWORKS: List[Dict[str, Any]] = [
    {'name': 'blue', 'prefixes': ['10.0.0.0/24', 'fd00::/64']},
    {'name': 'red', 'prefixes': ['10.0.1.0/24']},
]


def left(**change: Any) -> Dict[str, Any]:
    host = {
        'name': 'left',
        'interfaces': [
            {'name': 'eth0', 'network': 'blue', 'addresses': ['10.0.0.1/24', 'fd00::1/64'], 'mtu': 1300},
            {'name': 'eth1', 'network': 'red', 'addresses': ['10.0.1.1/32']},
        ],
        'sysctls': {'net.ipv4.ip_forward': 1},
    }
    return {**host, **change}


def planned(
    *hosts: Dict[str, Any], networks: Any = None, there: Any = (), containers: Any = (), name: str = 'rt'
) -> Containers:
    topology = parse_topology({'name': name, 'networks': networks or NETWORKS, 'hosts': list(hosts) or [left()]})
    return plan_containers(topology, there, containers)


def test_a_network_has_its_subnets_and_the_widest_mtu_of_its_nics() -> None:
    blue, red = planned().networks
    assert blue['name'] == 'rt-blue' and red['name'] == 'rt-red'
    assert blue['ipam_config'] == [
        {'subnet': '10.0.0.0/24', 'gateway': '10.0.0.254'},
        {'subnet': 'fd00::/64', 'gateway': 'fd00::fffe'},
    ]
    assert (blue['enable_ipv6'], red['enable_ipv6']) == (True, False)
    mtu = 'com.docker.network.driver.mtu'
    assert (blue['driver_options'][mtu], red['driver_options'][mtu]) == ('1300', '1500')
    assert blue['labels'] == {'net.returntraffic.lab': 'rt'}


def test_a_container_has_its_addresses_and_settings() -> None:
    (container,) = planned().containers
    assert container['name'] == 'rt-left' and container['hostname'] == 'left'
    assert container['networks'] == [
        {'name': 'rt-blue', 'ipv4_address': '10.0.0.1', 'ipv6_address': 'fd00::1'},
        {'name': 'rt-red', 'ipv4_address': '10.0.1.1'},
    ]
    assert container['sysctls'] == {'net.ipv4.ip_forward': '1'}


@pytest.mark.parametrize(
    ('prefix', 'gateway'),
    [('10.0.0.0/24', '10.0.0.254'), ('10.0.0.0/8', '10.0.255.254'), ('fd00::/64', 'fd00::fffe'), ('fd::/126', 'fd::2')],
)
def test_dockers_own_address_is_far_from_those_of_hosts(prefix: str, gateway: str) -> None:
    assert gateway_of(prefix) == gateway


def test_only_what_nobody_wants_and_is_ours_is_stale() -> None:
    there = [Found('rt-blue', 'rt'), Found('rt-old', 'rt'), Found('rt-other', 'someone'), Found('bridge', '')]
    containers = [
        Found('rt-left', 'rt', runs=True),
        Found('rt-left-frr', 'rt', of='rt-left'),
        Found('rt-gone-frr', 'rt', of='rt-gone'),
        Found('rt-gone', 'rt'),
        Found('else', 'other'),
    ]
    plan = planned(there=there, containers=containers)
    assert plan.stale_networks == ['rt-old']
    assert plan.stale_containers == ['rt-gone', 'rt-gone-frr']
    assert plan.beside == [{'name': 'rt-left-frr', 'of': 'rt-left'}]


@pytest.mark.parametrize(
    ('change', 'error'),
    [
        (
            {'there': [Found('kind', '', ('10.0.0.128/25',))]},
            "networks[blue].prefixes: '10.0.0.0/24': overlaps 10.0.0.128/25, which the Docker network kind has; "
            'remove that or take other subnets',
        ),
        (
            {'networks': [NETWORKS[0], {'name': 'red', 'prefixes': ['fd00::/48', '10.0.1.0/24']}]},
            "networks[red].prefixes: 'fd00::/48': overlaps fd00::/64, which the network blue has; "
            'remove that or take other subnets',
        ),
        (
            {'networks': [NETWORKS[0], {'name': 'red'}]},
            'networks[red].prefixes: []: the docker backend needs one prefix, or one of each family',
        ),
        (
            {'there': [Found('rt-red', '')]},
            "name: 'rt': the network rt-red is there and belongs to others",
        ),
        (
            {'containers': [Found('rt-left', 'other')]},
            "name: 'rt': the container rt-left is there and belongs to others",
        ),
    ],
)
def test_what_others_have_is_told_before_anything_is_made(change: Dict[str, Any], error: str) -> None:
    with pytest.raises(PolicyError) as caught:
        planned(**change)
    assert str(caught.value) == error


def nic(*addresses: str) -> List[Dict[str, Any]]:
    return [{'name': 'eth0', 'network': 'blue', 'addresses': list(addresses)}]


@pytest.mark.parametrize(
    ('change', 'error'),
    [
        (
            {'sysctls': {'net.ipv4.conf.eth0.rp_filter': 2}},
            "hosts[left].sysctls: 'net/ipv4/conf/eth0/rp_filter': a container gets its settings before its NICs; "
            'set that of "all" or "default" instead',
        ),
        (
            {'interfaces': nic('10.0.0.254/24')},
            "hosts[left].interfaces: '10.0.0.254/24': Docker has this address of blue itself; take another one",
        ),
        (
            {'interfaces': nic()},
            'hosts[left].interfaces[eth0].addresses: []: '
            'the docker backend finds a NIC by its address, so it needs one',
        ),
    ],
)
def test_what_docker_cannot_have_is_told(change: Dict[str, Any], error: str) -> None:
    with pytest.raises(PolicyError) as caught:
        planned(left(**change))
    assert str(caught.value) == error


def test_two_labs_share_no_subnet_but_a_lab_may_have_its_own() -> None:
    own = [Found('rt-blue', 'rt', ('10.0.0.0/24',))]
    assert planned(there=own).stale_networks == []
    with pytest.raises(PolicyError, match='the Docker network rt-blue has'):
        planned(there=own, name='rt2')


def test_the_daemons_answers_are_read() -> None:
    labels = {'net.returntraffic.lab': 'rt', 'net.returntraffic.of': 'rt-left'}
    networks: List[Dict[str, Any]] = [
        {'Name': 'none', 'IPAM': {'Config': None}},
        {'Name': 'rt-blue', 'Labels': labels, 'IPAM': {'Config': [{'Subnet': '10.0.0.0/24', 'Gateway': '10.0.0.1'}]}},
        {'Name': 'odd', 'Labels': None, 'IPAM': None},
    ]
    assert parse_networks(networks) == [Found('rt-blue', 'rt', ('10.0.0.0/24',)), Found('odd', '')]
    containers: List[Dict[str, Any]] = [
        {'Names': ['/rt-left-frr'], 'Labels': labels, 'State': 'running'},
        {'Names': ['/x'], 'State': 'exited'},
    ]
    assert parse_containers(containers) == [Found('rt-left-frr', 'rt', runs=True, of='rt-left'), Found('x', '')]
