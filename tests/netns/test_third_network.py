# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A third network, other subnets and other NIC names: all of it in a copy of the inventory, none of it in code."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Dict, Iterator

import pytest
import yaml
from lab import ROOT, Lab
from proving import prove

RENAMED = (('10.111.', '10.77.'), ('10:111:', '10:77:'), ('eth1', 'ens7f1'), ('eth2', 'wan-b'), ('net1', 'to-node'))
VIPS = ['192.168.3.1', 'fd00:192:168:3::1']
CLIENT = ['172.31.6.23', 'fd00:172:31:6::23']


def host(name: str, network: str, octet: int, subnet: int, **more: Any) -> Dict[str, Any]:
    """One NIC of the third network (subnet 5) or of that of its client (subnet 6)."""
    addresses = [f'172.31.{subnet}.{octet}/24', f'fd00:172:31:{subnet}::{octet}/64']
    return {'name': name, 'network': network, 'addresses': addresses, **more}


@pytest.fixture(scope='module')
def inventory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """inventory/bare with every address and NIC renamed, and a third network with a client behind it."""
    copy = tmp_path_factory.mktemp('copy') / 'third'
    shutil.copytree(ROOT / 'inventory/bare', copy)
    for path in copy.rglob('*.yml'):
        text = path.read_text()
        for old, new in RENAMED:
            text = text.replace(old, new)
        path.write_text(text)
    for name, change in CHANGES.items():
        path = copy / name
        data = yaml.safe_load(path.read_text()) if path.exists() else {}
        change(data)
        path.write_text(yaml.safe_dump(data))
    return copy


def hosts(data: Dict[str, Any]) -> None:
    data['all']['children']['lab']['children']['clients']['hosts']['client3'] = None


def networks(data: Dict[str, Any]) -> None:
    data['lab_networks'] += [{'name': 'storage'}, {'name': 'external2'}]


def node(data: Dict[str, Any]) -> None:
    data['lab_interfaces'].append(host('ib0', 'storage', 11, 5))
    data['lab_loopback_addresses'] += VIPS
    data['lab_listeners'] += [{'address': vip, 'port': 8080} for vip in VIPS]
    gateways = ['172.31.5.21', 'fd00:172:31:5::21']
    clients = ['172.31.6.0/24', 'fd00:172:31:6::/64']
    data['node_networks'].append(
        {'name': 'storage', 'subnet': '172.31.5.0/24', 'gateways': gateways, 'clients': clients}
    )
    data['node_services'].append({'name': 'vip3', 'network': 'storage', 'vips': VIPS})


def router(data: Dict[str, Any]) -> None:
    data['lab_interfaces'] += [host('net3', 'storage', 21, 5), host('ext2', 'external2', 21, 6, mtu=1300)]
    data['lab_routes'] += [
        {'destination': vip, 'gateway': gateway, 'device': 'net3'}
        for vip, gateway in zip(VIPS, ('172.31.5.11', 'fd00:172:31:5::11'))
    ]


def client(data: Dict[str, Any]) -> None:
    data['lab_interfaces'] = [host('eth0', 'external2', 23, 6, mtu=1300)]
    data['lab_routes'] = [
        {'destination': '0.0.0.0/0', 'gateway': '172.31.6.21', 'device': 'eth0', 'advmss': '{{ lab_advmss.ipv4 }}'},
        {'destination': '::/0', 'gateway': 'fd00:172:31:6::21', 'device': 'eth0', 'advmss': '{{ lab_advmss.ipv6 }}'},
    ]


def proof(data: Dict[str, Any]) -> None:
    data['proof_clients'].append({'name': 'client3', 'addresses': CLIENT})
    kinds = [{'kind': 'icmp'}, *({'kind': kind, 'port': 8080} for kind in ('tcp', 'udp', 'pmtu'))]
    data['proof_targets_own'].append({'name': 'vip3', 'addresses': VIPS, 'clients': ['client3'], 'flows': kinds})


CHANGES = {
    'hosts.yml': hosts,
    'group_vars/all/lab.yml': networks,
    'group_vars/all/proof.yml': proof,
    'host_vars/node.yml': node,
    'host_vars/router.yml': router,
    'host_vars/client3.yml': client,
}


@pytest.fixture(scope='module')
def lab(inventory: Path) -> Iterator[Lab]:
    with Lab(inventory) as made:
        yield made


def nics(lab: Lab) -> Dict[str, str]:
    """Which NIC each target was answered by, of a proof in which everything passed."""
    verdicts = prove(lab.node, lab.clients, lab.flows('own'))
    assert [(item.target, item.kind, item.reason) for item in verdicts if not item.passed] == []
    return {item.target: nic for item in verdicts for nic in item.replies}


@pytest.mark.parametrize('strategy', ['static', 'source', 'mark', 'connmark'])
def test_three_networks_are_answered_each_by_its_own(lab: Lab, strategy: str) -> None:
    lab.forget_path_mtu()
    try:
        lab.apply(strategy)
        assert nics(lab) == {'vip1': 'ens7f1', 'vip2': 'wan-b', 'vip3': 'ib0'}
        assert not lab.apply(strategy)['changed']
    finally:
        lab.absent()


def test_without_a_policy_none_is(lab: Lab) -> None:
    verdicts = prove(lab.node, lab.clients, lab.flows('own'))
    assert {(item.target, item.passed, *item.replies) for item in verdicts} == {
        ('vip1', False, 'eth0'),
        ('vip2', False, 'eth0'),
        ('vip3', False, 'eth0'),
    }
