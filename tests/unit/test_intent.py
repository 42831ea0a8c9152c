# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bad input is one line that names the key and the value; good input is what was written."""

from __future__ import annotations

from typing import Any, Dict

import pytest
from ansible_collections.returntraffic.net.plugins.module_utils.bind import bind
from ansible_collections.returntraffic.net.plugins.module_utils.errors import PolicyError
from ansible_collections.returntraffic.net.plugins.module_utils.intent import parse_policy
from ansible_collections.returntraffic.net.plugins.module_utils.objects import Address, Link
from samples import make_host, make_intent


def network(**changes: Any) -> Dict[str, Any]:
    whole = {'name': 'network1', 'interface': 'eth1', 'gateways': ['10.111.221.21'], **changes}
    return {key: value for key, value in whole.items() if value is not None}


def test_values_are_brought_to_the_kernels_form() -> None:
    intent = make_intent(exclude=['10.244.0.0/16', 'FD00:0::/32', '10.244.0.0/16'], mark_mask='0xff00')
    policy = parse_policy(intent)
    assert policy.exclude == ('10.244.0.0/16', 'fd00::/32')
    assert policy.mark_mask == 0xFF00
    assert policy.networks[0].gateways == {'ipv4': '10.111.221.21', 'ipv6': 'fd00:10:111:221::21'}
    assert [service.data_path for service in policy.services] == ['dnat', 'host']


def test_a_service_without_a_name_is_called_by_its_first_vip() -> None:
    policy = parse_policy(make_intent(services=[{'network': 'network1', 'vips': ['fd00::1']}]))
    assert policy.services[0].name == 'fd00--1'


@pytest.mark.parametrize(
    ('changes', 'key', 'value', 'allowed'),
    [
        ({'strategi': 'x'}, 'strategi', "'x'", 'unknown key'),
        ({'strategy': 'magic'}, 'strategy', "'magic'", 'connmark'),
        ({'networks': []}, 'networks', '[]', 'at least 1'),
        ({'networks': 'eth1'}, 'networks', "'eth1'", 'a list'),
        ({'networks': ['eth1']}, 'networks[0]', "'eth1'", 'a mapping'),
        ({'networks': [network(name=None)]}, 'networks[0].name', 'None', 'required'),
        ({'networks': [network(name='a b')]}, 'networks[0].name', "'a b'", '1-63'),
        ({'networks': [network(gateway='10.0.0.1')]}, 'networks[0].gateway', "'10.0.0.1'", 'gateways'),
        ({'networks': [network(gateways=[])]}, 'networks[0].gateways', '[]', 'at least 1'),
        ({'networks': [network(gateways=['10.0.0'])]}, 'networks[0].gateways[0]', "'10.0.0'", 'address'),
        (
            {'networks': [network(gateways=['10.0.0.1', '10.0.0.2'])]},
            'networks[0].gateways',
            "'10.0.0.2'",
            'at most one',
        ),
        ({'networks': [network(interface=None)]}, 'networks[0]', '{}', 'exactly one of interface, mac'),
        ({'networks': [network(mac='02:00:00:00:00:01')]}, 'networks[0]', 'interface', 'exactly one'),
        ({'networks': [network(interface='eth1/../x')]}, 'networks[0].interface', "'eth1/../x'", '1-15'),
        ({'networks': [network(interface=None, mac='zz')]}, 'networks[0].mac', "'zz'", 'MAC'),
        ({'networks': [network(table=254)]}, 'networks[0].table', '254', "kernel's own"),
        ({'networks': [network(table=0)]}, 'networks[0].table', '0', 'from 0x1'),
        ({'networks': [network(mark='0x1000001')]}, 'networks[0].mark', "'0x1000001'", 'outside mark_mask 0x00ff0000'),
        ({'networks': [network(), network(interface='eth2')]}, 'networks[1].name', "'network1'", 'networks[0]'),
        (
            {'networks': [network(table=7), network(name='b', interface='eth2', table='7')]},
            'networks[1].table',
            "'7'",
            'networks[0]',
        ),
        ({'networks': [network(), network(name='b')]}, 'networks[1].interface', "'eth1'", 'networks[0]'),
        ({'networks': [network(clients=['10.0.0.1/8'])]}, 'networks[0].clients[0]', "'10.0.0.1/8'", '10.0.0.0/8'),
        ({'networks': [network(onlink='yes')]}, 'networks[0].onlink', "'yes'", 'true or false'),
        ({'services': [{'network': 'network9', 'vips': ['1.1.1.1']}]}, 'services[0].network', "'network9'", 'network1'),
        ({'services': [{'network': 'network1', 'vips': []}]}, 'services[0].vips', '[]', 'at least 1'),
        ({'services': [{'network': 'network1', 'vips': ['::g']}]}, 'services[0].vips', "'::g'", 'address'),
        (
            {'services': [{'network': 'network1', 'vips': ['1.1.1.1'], 'data_path': 'dnat'}]},
            'services[0].data_path',
            "'dnat'",
            'backends',
        ),
        (
            {'services': [{'network': 'network2', 'vips': ['fd00::1']}]},
            'services[0].vips',
            "'fd00::1'",
            'network2 has no ipv6 gateway',
        ),
        (
            {'services': [{'network': 'network1', 'vips': ['192.168.1.1'], 'backends': ['fd00::2']}]},
            'services[0].backends',
            "'fd00::2'",
            'no ipv6 VIP',
        ),
        ({'exclude': ['10.0.0.0/33']}, 'exclude[0]', "'10.0.0.0/33'", 'prefix'),
        ({'priority_base': 0}, 'priority_base', '0', 'from 1'),
        ({'priority_base': 32765, 'priority_count': 2}, 'priority_count', '2', 'from 1 to 1'),
        ({'mark_mask': '0x5'}, 'mark_mask', "'0x5'", 'one run of bits'),
        ({'mark_mask': 0}, 'mark_mask', '0', '0x1'),
        ({'mark_mask': 0x100}, 'mark_mask', '0x00000100', 'holds 1 marks, 2 networks'),
    ],
)
def test_bad_input_names_key_value_and_what_is_allowed(
    changes: Dict[str, Any], key: str, value: str, allowed: str
) -> None:
    with pytest.raises(PolicyError) as caught:
        parse_policy(make_intent(**changes))
    text = str(caught.value)
    assert text.startswith(f'{key}: ')
    assert value in text
    assert allowed in text
    assert '\n' not in text


@pytest.mark.parametrize(
    ('finder', 'nic'),
    [
        ({'interface': 'eth1'}, 'eth1'),
        ({'mac': '02:00:00:00:00:03'}, 'eth1'),
        ({'subnet': '10.111.221.0/24'}, 'eth1'),
        ({'address': '10.111.221.11'}, 'eth1'),
    ],
)
def test_a_network_is_found_by_what_was_told(finder: Dict[str, str], nic: str) -> None:
    policy = parse_policy(make_intent(networks=[network(**{'interface': None, **finder})], services=[]))
    assert bind(policy, make_host()).attachments[0].nic == nic


def test_what_cannot_be_found_is_told_with_what_there_is() -> None:
    policy = parse_policy(make_intent(networks=[network(interface='eth9')], services=[]))
    with pytest.raises(
        PolicyError, match=r"networks\[0\]\.interface: 'eth9': no interface has it; there are lo .*eth2"
    ):
        bind(policy, make_host())


def test_what_two_interfaces_have_is_ambiguous() -> None:
    host = make_host(addresses=(Address('ipv4', 'eth1', '10.1.0.1', 24), Address('ipv4', 'eth2', '10.1.0.2', 24)))
    policy = parse_policy(make_intent(networks=[network(interface=None, subnet='10.1.0.0/24')], services=[]))
    with pytest.raises(PolicyError, match='more than one has it .eth1, eth2'):
        bind(policy, host)


@pytest.mark.parametrize(
    ('changes', 'match'),
    [
        ({'gateways': ['10.99.0.1']}, r"gateways: '10\.99\.0\.1': is not on a network of eth1 \(10\.111\.221\.0/24\)"),
        ({'table': 'nowhere'}, "table: 'nowhere': is not in rt_tables; known are main, storage"),
        ({'table': 'main'}, "table: 'main': is one of the kernel's own"),
    ],
)
def test_what_the_host_does_not_have_is_refused(changes: Dict[str, Any], match: str) -> None:
    policy = parse_policy(make_intent(networks=[network(**changes)], services=[]))
    with pytest.raises(PolicyError, match=match):
        bind(policy, make_host())


def test_one_interface_found_in_two_ways_is_one_interface() -> None:
    networks = [network(), network(name='b', interface=None, address='10.111.221.11')]
    policy = parse_policy(make_intent(networks=networks, services=[]))
    with pytest.raises(PolicyError, match=r"networks\[1\]: 'eth1': is the interface of networks\[0\] too"):
        bind(policy, make_host())


def test_link_local_and_onlink_gateways_need_no_subnet() -> None:
    for changes in ({'gateways': ['fe80::1']}, {'gateways': ['10.99.0.1'], 'onlink': True}):
        policy = parse_policy(make_intent(networks=[network(**changes)], services=[]))
        assert bind(policy, make_host()).attachments[0].nic == 'eth1'


def test_marks_told_and_marks_counted_never_meet() -> None:
    networks = [network(name=f'n{at}', interface=f'eth{at}', gateways=['fe80::1']) for at in range(3)]
    networks[2]['mark'] = 0x10000
    links = tuple(Link(at + 1, f'eth{at}') for at in range(3))
    bound = bind(parse_policy(make_intent(networks=networks, services=[])), make_host(links=links))
    assert [item.mark for item in bound.attachments] == [0x20000, 0x30000, 0x10000]
    assert [item.table for item in bound.attachments] == [3001, 3002, 3003]


def test_a_named_table_is_looked_up() -> None:
    policy = parse_policy(make_intent(networks=[network(table='storage')], services=[]))
    assert bind(policy, make_host()).attachments[0].table == 77
