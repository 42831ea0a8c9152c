# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What cannot be meant: one line that names the key, the value and what is allowed, and a host that stays as it is."""

from __future__ import annotations

import copy
import json
from typing import Any, Callable, Dict, Iterator, List, Tuple

import pytest
from lab import Lab, ansible_process, state_of
from modules import run_module

Intent = Dict[str, Any]
#: A change to the lab's good intent, and what the error must say: key, value, what is allowed.
Case = Tuple[str, Callable[[Intent], Any], Tuple[str, str, str]]


def top(**changes: Any) -> Callable[[Intent], Any]:
    """Keys of the policy itself."""
    return lambda intent: intent.update(changes)


def network(at: int = 0, **changes: Any) -> Callable[[Intent], Any]:
    """Keys of one network."""
    return lambda intent: intent['networks'][at].update(changes)


def service(at: int = 0, **changes: Any) -> Callable[[Intent], Any]:
    """Keys of one service."""
    return lambda intent: intent['services'][at].update(changes)


def many_networks(intent: Intent) -> None:
    """So many networks that each has its own name, NIC and gateway, and yet they do not fit."""
    networks = [
        {'name': f'n{number}', 'interface': f'eth{number}', 'gateways': [f'10.{number // 256}.{number % 256}.1']}
        for number in range(300)
    ]
    intent.update(networks=networks, services=[])


CASES: List[Case] = [
    ('unknown key of the policy', top(nets=[]), ('nets', 'Unsupported parameters', 'priority_base, priority_count')),
    ('unknown key of a network', network(gateway='10.1.1.1'), ('networks[0].gateway', "'10.1.1.1'", 'known are name,')),
    ('unknown key of a service', service(vip='10.1.1.1'), ('services[0].vip', "'10.1.1.1'", 'known are name,')),
    ('networks is a text', top(networks='eth1'), ("option 'networks'", 'of type str', 'dict')),
    ('a network is a number', top(networks=[3]), ("option 'networks'", 'of type int', 'dict')),
    ('gateways is a mapping', network(gateways={'a': 1}), ('networks[0].gateways', "{'a': 1}", 'must be a list')),
    ('table is true', network(table=True), ('networks[0].table', 'True', 'whole number from 0x1 to 0xffffffff')),
    ('onlink is a text', network(onlink='perhaps'), ('networks[0].onlink', "'perhaps'", 'true or false')),
    ('vips is a text', service(vips='192.168.1.1'), ('services[0].vips', "'192.168.1.1'", 'must be a list')),
    ('a VIP is a prefix', service(vips=['192.168.1.0/24']), ('services[0].vips', "'192.168.1.0/24'", 'address')),
    ('priority_base is a text', top(priority_base='many'), ("'priority_base'", "'many'", 'int')),
    ('exclude is no prefix', top(exclude=['pods']), ('exclude[0]', "'pods'", 'such as 10.0.0.0/8')),
    ('drain is negative', top(drain=-1), ('drain', '-1', 'from 0 to 60')),
    (
        'two gateways of a family',
        network(gateways=['10.111.221.21', '10.111.221.22']),
        ('networks[0].gateways', "'10.111.221.22'", 'at most one ipv4 address'),
    ),
    (
        'a VIP of a family without a gateway',
        network(gateways=['10.111.221.21']),
        ('services[0].vips', "'fd00:192:168:1::1'", 'network1 has no ipv6 gateway'),
    ),
    (
        'a backend of another family than the VIP',
        service(vips=['192.168.1.1'], backends=['fd00:10:244::2']),
        ('services[0].backends', "'fd00:10:244::2'", 'no ipv6 VIP'),
    ),
    (
        'clients of a family without a gateway',
        lambda intent: (
            intent.update(strategy='static', services=[]),
            intent['networks'][0].update(gateways=['fd00:10:111:221::21']),
        ),
        ('networks[0].clients', "'10.111.223.0/24'", 'network1 has no ipv4 gateway'),
    ),
    (
        'a gateway off-link',
        network(gateways=['10.111.222.21', 'fd00:10:111:221::21']),
        ('networks[0].gateways', "'10.111.222.21'", 'not on a network of eth1 (10.111.221.0/24); set onlink: true'),
    ),
    (
        'a gateway off-link, IPv6',
        network(gateways=['10.111.221.21', 'fd00:10:111:222::21']),
        ('networks[0].gateways', "'fd00:10:111:222::21'", 'not on a network of eth1 (fd00:10:111:221::/64)'),
    ),
    (
        'two networks with one table',
        lambda intent: [item.update(table=77) for item in intent['networks']],
        ('networks[1].table', '77', 'taken by networks[0]; each network needs its own'),
    ),
    ("a table that is the kernel's", network(table='main'), ('networks[0].table', "'main'", "the kernel's own")),
    (
        'a table name that does not exist',
        network(table='nowhere'),
        ('networks[0].table', "'nowhere'", 'not in rt_tables; known are default, local, main'),
    ),
    ('a mark outside its mask', network(mark='0x1'), ('networks[0].mark', "'0x1'", 'outside mark_mask 0x00ff0000')),
    ('a mask with holes', top(mark_mask='0x0f0f'), ('mark_mask', "'0x0f0f'", 'one run of bits such as 0x00ff0000')),
    ('a mask of 33 bits', top(mark_mask='0x100000000'), ('mark_mask', "'0x100000000'", 'from 0x1 to 0xffffffff')),
    (
        'a mask for fewer networks',
        top(mark_mask='0x00010000'),
        ('mark_mask', "'0x00010000'", 'holds 1 marks, 2 networks need one each'),
    ),
    (
        'more networks than the mask holds',
        many_networks,
        ('mark_mask', "'0x00ff0000'", 'holds 255 marks, 300 networks need one each'),
    ),
    ('a block too small', top(priority_count=2), ('priority_count', '2', 'too small for the rules')),
    ('a block past main', top(priority_base=32700), ('priority_count', '1000', 'whole number from 1 to 66')),
    ('a strategy that does not exist', top(strategy='magic'), ('strategy', 'magic', 'one of: static, source, mark')),
    ('no strategy', lambda intent: intent.pop('strategy'), ('strategy', 'None', 'required')),
    ('no networks', lambda intent: intent.pop('networks'), ('networks', 'None', 'required')),
    ('an empty list of networks', top(networks=[]), ('networks', '[]', 'at least 1')),
    ('a data path that does not exist', service(data_path='ovs'), ('services[0].data_path', "'ovs'", 'host, dnat')),
    (
        'host, with pods behind',
        service(data_path='host'),
        ('services[0].data_path', "'host'", 'dnat needs backends, and the others have none'),
    ),
    (
        'two ways to find an interface',
        network(mac='02:00:00:00:00:01'),
        ('networks[0]', "'eth1'", 'exactly one of interface, mac, subnet, address'),
    ),
    (
        'an interface that is not there',
        lambda intent: intent['networks'][0].update(interface='eth9'),
        ('networks[0].interface', "'eth9'", 'there are lo '),
    ),
    ('one interface twice', network(1, interface='eth1'), ('networks[1].interface', "'eth1'", 'taken by networks[0]')),
    ('a network that is not there', service(network='net9'), ('services[0].network', "'net9'", 'known are network1,')),
    (
        'a VIP that nothing answers',
        service(vips=['192.0.2.1', 'fd00:192:168:1::1']),
        ('vip', '192.0.2.1', 'set check_vips: false'),
    ),
    ('zones without connmark', top(zones=True, strategy='mark'), ('zones', 'True', 'is for connmark')),
]
"""Every case that the documentation names, and some more."""


@pytest.fixture(scope='module')
def lab() -> Iterator[Lab]:
    """One lab for the whole file; no case may change it."""
    with Lab() as made:
        yield made


def refused(lab: Lab, intent: Intent) -> str:
    """The module's one line; AssertionError when it takes the intent or changes the node."""
    before = state_of(lab.node)
    answer = run_module(lab.node, 'return_policy', **intent)
    assert answer.get('failed'), answer
    assert state_of(lab.node) == before
    message: str = answer['msg']
    assert '\n' not in message
    return message


@pytest.mark.parametrize(('change', 'said'), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_bad_input_is_one_line_and_changes_nothing(
    lab: Lab, change: Callable[[Intent], Any], said: Tuple[str, str, str]
) -> None:
    intent = copy.deepcopy(lab.intent('connmark'))
    change(intent)
    message = refused(lab, intent)
    for words in said:
        assert words in message


@pytest.mark.parametrize('strategy', ['source', 'mark'])
def test_a_pod_behind_two_networks_needs_another_strategy(lab: Lab, strategy: str) -> None:
    intent = copy.deepcopy(lab.intent(strategy))
    intent['services'][1]['backends'] = intent['services'][0]['backends']
    message = refused(lab, intent)
    assert message.startswith("services[1].backends: '10.244.0.2': is reached over network1 too; ")
    assert message.endswith('use strategy connmark')


@pytest.mark.parametrize('strategy', ['source', 'mark'])
def test_a_strategy_that_selects_by_service_needs_services(lab: Lab, strategy: str) -> None:
    message = refused(lab, lab.intent(strategy, services=[]))
    assert message == f'services: []: strategy {strategy} selects by source address and needs services'


def test_static_needs_client_networks(lab: Lab) -> None:
    intent = copy.deepcopy(lab.intent('static'))
    del intent['networks'][1]['clients']
    assert refused(lab, intent) == (
        'networks[1].clients: []: strategy static needs the client networks behind this network'
    )


def test_what_holds_stays_when_bad_input_follows(lab: Lab) -> None:
    """Refused is refused: neither is the good policy of before taken away."""
    lab.apply('connmark')
    try:
        refused(lab, lab.intent('source', priority_count=1))
        assert not lab.apply('connmark')['changed']
    finally:
        lab.absent()


@pytest.mark.parametrize(
    ('variables', 'said'),
    [
        ({'node_mark_mask': '0x0f0f'}, "mark_mask: '0x0f0f': must be one run of bits such as 0x00ff0000"),
        ({'node_strategy': 'magic'}, 'value of node_strategy must be one of: static, source, mark, connmark'),
    ],
    ids=['a mask with holes', 'no such strategy'],
)
def test_a_play_fails_with_the_same_line(lab: Lab, variables: Dict[str, Any], said: str) -> None:
    """The role's own argument specification says it before the module does, where it can."""
    before = state_of(lab.node)
    extra = json.dumps({**lab.variables, 'control': 'never', **variables})
    done = ansible_process('ansible-playbook', 'playbooks/bare.yml', '-e', extra)
    assert done.returncode == 2
    fatal = [line for line in done.stdout.splitlines() if line.startswith('fatal: ')]
    assert len(fatal) == 1
    assert said in json.loads(fatal[0].partition('=> ')[2])['msg']
    assert 'Traceback' not in done.stdout + done.stderr
    assert state_of(lab.node) == before
