# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From Service objects of the API to services of a policy and EgressService objects."""

from __future__ import annotations

from typing import Any, Dict, List

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.returntraffic.net.plugins.filter.cluster_services import FilterModule
from ansible_collections.returntraffic.net.plugins.module_utils.intent import parse_policy
from samples import make_intent

OURS = {'app.kubernetes.io/managed-by': 'returntraffic'}
POOLS = {'network1': ['192.168.10.0/24', 'fd00:192:168:10::/120'], 'network2': ['192.168.11.0/24']}
FILTERS = FilterModule().filters()
return_services, egress_services = FILTERS['return_services'], FILTERS['egress_services']


def service(name: str, *vips: str, policy: str = 'Cluster', **spec: Any) -> Dict[str, Any]:
    ports = [
        {'port': 80, 'protocol': 'TCP', 'nodePort': 31080},
        {'port': 443, 'nodePort': 31443},
        {'port': 53, 'protocol': 'UDP', 'nodePort': 31053},
    ]
    cluster_ips = ['10.96.0.7', 'fd00:10:96::7']
    told = {'type': 'LoadBalancer', 'externalTrafficPolicy': policy, 'clusterIPs': cluster_ips, 'ports': ports}
    return {
        'metadata': {'namespace': 'echo', 'name': name, 'annotations': {'metallb.io/address-pool': 'first-pool'}},
        'spec': {**told, **spec},
        'status': {'loadBalancer': {'ingress': [{'ip': vip} for vip in vips]}},
    }


def test_a_service_with_policy_cluster_answers_from_its_cluster_ips() -> None:
    assert return_services([service('web', '192.168.10.1', 'fd00:192:168:10::1')], POOLS) == [
        {
            'name': 'echo.web',
            'network': 'network1',
            'vips': ['192.168.10.1', 'fd00:192:168:10::1'],
            'data_path': 'ovn_kubernetes',
            'cluster_ips': ['10.96.0.7', 'fd00:10:96::7'],
        }
    ]


def test_cluster_ips_are_those_of_the_families_of_the_vips() -> None:
    assert return_services([service('web', '192.168.10.1')], POOLS)[0]['cluster_ips'] == ['10.96.0.7']


def test_a_service_with_policy_local_answers_from_its_node_ports() -> None:
    found = return_services([service('web', '192.168.11.1', policy='Local')], POOLS)[0]
    assert found['network'] == 'network2'
    assert found['node_ports'] == {'tcp': [31080, 31443], 'udp': [31053]}
    assert 'cluster_ips' not in found


def test_what_comes_out_is_what_a_policy_takes() -> None:
    objects = [service('b', '192.168.10.1'), service('a', '192.168.10.2', policy='Local')]
    policy = parse_policy(make_intent('source', services=return_services(objects, POOLS)))
    assert [one.name for one in policy.services] == ['echo.a', 'echo.b']


def test_others_are_left_out() -> None:
    elsewhere = service('elsewhere', '10.0.0.1')
    internal = service('internal', type='ClusterIP')
    assert return_services([elsewhere, internal], POOLS) == []


def test_the_longest_prefix_tells_the_network() -> None:
    pools = {'all': ['192.168.0.0/16'], 'one': ['192.168.10.1/32'], 'other': ['10.0.0.0/8']}
    assert return_services([service('web', '192.168.10.1')], pools)[0]['network'] == 'one'


def test_a_service_that_waits_may_be_left_out() -> None:
    assert return_services([service('web')], POOLS, pending='ignore') == []


def test_an_egress_service_has_the_table_of_its_network() -> None:
    objects = [service('web', '192.168.11.1')]
    assert egress_services(objects, POOLS, {'network1': 3001, 'network2': '3002'}, 'LoadBalancerIP') == [
        {
            'apiVersion': 'k8s.ovn.org/v1',
            'kind': 'EgressService',
            'metadata': {
                'namespace': 'echo',
                'name': 'web',
                'labels': {'app.kubernetes.io/managed-by': 'returntraffic'},
            },
            'spec': {'sourceIPBy': 'LoadBalancerIP', 'network': '3002'},
        }
    ]


@pytest.mark.parametrize(
    ('objects', 'pools', 'match'),
    [
        ([service('web')], POOLS, 'Service echo/web: .*has no VIP; it asks for the pool first-pool'),
        (
            [service('web', '192.168.10.1', '192.168.11.1')],
            POOLS,
            'echo/web: .*more than one network: .*11.1 in',
        ),
        ([service('web', '192.168.10.1', '10.0.0.1')], POOLS, 'Service echo/web: .*10.0.0.1 in none'),
        (
            [service('web', '192.168.10.1', policy='Local', ports=[{'port': 80}])],
            POOLS,
            "Service echo/web: 'port 80': .*node port, and there is none; use strategy connmark",
        ),
        ([], {'network1': ['192.168.10.1/24']}, r"pools\.network1\[0\]: '192.168.10.1/24': has host bits"),
        ([], {'network1': []}, r'pools\.network1: \[\]: needs at least 1'),
        ([], [], r'pools: \[\]: must be a mapping'),
        ([{'kind': 'Service'}], POOLS, 'wants Service objects'),
    ],
)
def test_errors_name_the_service_or_the_key(objects: List[Dict[str, Any]], pools: Any, match: str) -> None:
    with pytest.raises(AnsibleFilterError, match=match):
        return_services(objects, pools)


@pytest.mark.parametrize(
    ('tables', 'by', 'match'),
    [
        ({}, 'Network', 'tables: .*has none for network1'),
        ({'network1': 'x'}, 'Network', r"tables\.network1: 'x': must be a whole number"),
        ({'network1': 1}, 'Node', "source_ip_by: 'Node': must be one of Network, LoadBalancerIP"),
    ],
)
def test_errors_of_egress_services(tables: Dict[str, Any], by: str, match: str) -> None:
    with pytest.raises(AnsibleFilterError, match=match):
        egress_services([service('web', '192.168.10.1')], POOLS, tables, by)
