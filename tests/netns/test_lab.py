# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Labs of namespaces: built, repaired, changed and removed, seen by iproute2 and by packets."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple

import pytest
from namespaces import Namespace
from tiny_lab import TinyLab, netns_lab


@pytest.fixture
def lab() -> Iterator[TinyLab]:
    with TinyLab() as made:
        yield made


def addresses(host: Namespace) -> Dict[str, List[str]]:
    """Addresses by NIC as ip shows them, but for link-local ones."""
    return {
        item['ifname']: sorted(f'{info["local"]}/{info["prefixlen"]}' for info in item['addr_info'] if given(info))
        for item in host.ip('address', 'show')
    }


def given(info: Dict[str, Any]) -> bool:
    return not info['local'].startswith(('fe80:', '127.')) and info['local'] != '::1'


def hears(lab: TinyLab, address: str, receiver: str = 'right', sender: str = 'left') -> bool:
    """Whether one datagram arrives: no retry, so a lost first packet shows."""
    family = socket.AF_INET6 if ':' in address else socket.AF_INET
    with lab.host(receiver).entered():
        inbox = socket.socket(family, socket.SOCK_DGRAM)
    with lab.host(sender).entered():
        outbox = socket.socket(family, socket.SOCK_DGRAM)
    with inbox, outbox:
        inbox.bind((address, 0))
        inbox.settimeout(2)
        outbox.sendto(b'hello', (address, inbox.getsockname()[1]))
        return inbox.recv(100) == b'hello'


def links_of_the_machine() -> str:
    return subprocess.run(['ip', '-br', 'link'], capture_output=True, text=True, check=True).stdout


def test_the_lab_is_what_was_written(lab: TinyLab) -> None:
    assert lab.names() == [f'{lab.name}-{host}' for host in ('left', 'right', 'switch')]
    assert addresses(lab.host('left')) == {
        'lo': ['192.168.8.1/32', 'fd08:8::1/128'],
        'eth0': ['10.8.0.1/24', 'fd08::1/64'],
        'eth1': ['10.8.1.1/24'],
    }
    left = {item['ifname']: item for item in lab.host('left').ip('link')}
    assert (left['eth0']['mtu'], left['eth1']['mtu']) == (1500, 1400)
    assert lab.host('left').run('sysctl', '-n', 'net.ipv4.ip_forward', 'net.ipv4.conf.all.rp_filter') == '1\n2\n'


@pytest.mark.parametrize('address', ['10.8.0.2', 'fd08::2'])
def test_the_very_first_packet_arrives(address: str) -> None:
    for _turn in range(3):
        with TinyLab() as lab:
            assert hears(lab, address)


def test_nothing_is_put_into_the_machines_own_namespace() -> None:
    before = links_of_the_machine()
    with TinyLab():
        assert links_of_the_machine() == before


def test_a_second_run_changes_nothing(lab: TinyLab) -> None:
    again = lab.build()
    assert (again['changed'], again['changes']) == (False, [])
    assert again['diff']['before'] == again['diff']['after']
    assert again['hosts'] == ['left', 'right']
    assert again['up'] is True


BREAKAGES: List[Tuple[str, Tuple[str, ...]]] = [
    ('left', ('ip', 'link', 'del', 'eth0')),
    ('left', ('ip', 'link', 'set', 'eth0', 'down')),
    ('left', ('ip', 'address', 'del', '10.8.0.1/24', 'dev', 'eth0')),
    ('left', ('ip', 'address', 'add', '10.8.0.77/24', 'dev', 'eth0')),
    ('left', ('ip', 'address', 'del', 'fd08:8::1/128', 'dev', 'lo')),
    ('left', ('ip', 'link', 'set', 'eth0', 'mtu', '1300')),
    ('left', ('ip', 'link', 'set', 'eth0', 'name', 'other')),
    ('left', ('sysctl', '-qw', 'net.ipv4.ip_forward=0')),
    ('switch', ('ip', 'link', 'del', 'left.eth0')),
    ('switch', ('ip', 'link', 'set', 'left.eth0', 'nomaster')),
    ('switch', ('ip', 'link', 'del', 'blue')),
    ('switch', ('ip', 'link', 'set', 'blue', 'down')),
]


@pytest.mark.parametrize(('host', 'breakage'), BREAKAGES, ids=[' '.join(words) for _host, words in BREAKAGES])
def test_what_is_broken_is_mended_as_check_mode_said(lab: TinyLab, host: str, breakage: Tuple[str, ...]) -> None:
    lab.host(host).run(*breakage)
    planned = lab.build(check=True)
    assert planned['changed']
    done = lab.build()
    assert done['changes'] == planned['changes']
    assert done['diff'] == planned['diff']
    assert not lab.build()['changed']
    assert hears(lab, '10.8.0.2')
    assert hears(lab, 'fd08::1', receiver='left', sender='right')


def test_a_lost_namespace_is_made_again_and_the_others_stay(lab: TinyLab) -> None:
    before = os.stat(f'/run/netns/{lab.name}-left').st_ino
    subprocess.run(['ip', 'netns', 'del', f'{lab.name}-right'], check=True)
    assert 'create namespace right' in lab.build()['changes']
    assert os.stat(f'/run/netns/{lab.name}-left').st_ino == before
    assert hears(lab, '10.8.0.2')


def test_a_nic_keeps_its_mac_when_it_is_made_anew(lab: TinyLab) -> None:
    before = lab.host('right').ip('link', 'show', 'eth0')[0]['address']
    lab.host('right').run('ip', 'link', 'del', 'eth0')
    lab.build()
    assert lab.host('right').ip('link', 'show', 'eth0')[0]['address'] == before


def test_a_changed_address_touches_nothing_else(lab: TinyLab) -> None:
    lab.hosts[0]['interfaces'][0]['addresses'] = ['10.8.0.9/24', 'fd08::1/64']
    assert lab.build()['changes'] == [
        'left: address del 10.8.0.1/24 dev eth0',
        'left: address add 10.8.0.9/24 dev eth0',
    ]


def test_a_nic_moves_to_another_network_without_being_made_anew(lab: TinyLab) -> None:
    before = lab.host('right').ip('link', 'show', 'eth0')[0]['ifindex']
    lab.hosts[1]['interfaces'][0] = {'name': 'eth0', 'network': 'red', 'addresses': ['10.8.1.2/24']}
    lab.build()
    assert lab.host('right').ip('link', 'show', 'eth0')[0]['ifindex'] == before
    assert hears(lab, '10.8.1.2')


def test_hosts_and_networks_come_and_go(lab: TinyLab) -> None:
    lab.networks.append({'name': 'green'})
    lab.hosts[1] = {'name': 'third', 'interfaces': [{'name': 'lan0', 'network': 'green', 'addresses': ['10.7.0.3/24']}]}
    lab.hosts[0]['interfaces'].append({'name': 'eth9', 'network': 'green', 'addresses': ['10.7.0.1/24']})
    lab.build()
    assert lab.names() == [f'{lab.name}-{host}' for host in ('left', 'switch', 'third')]
    assert hears(lab, '10.7.0.3', receiver='third')
    assert not lab.build()['changed']


def test_what_a_host_has_of_its_own_stays(lab: TinyLab) -> None:
    lab.host('left').run('ip', 'link', 'add', 'br9', 'type', 'bridge')
    lab.host('left').run('ip', 'route', 'add', '10.99.0.0/16', 'via', '10.8.0.2')
    assert not lab.build()['changed']
    assert lab.host('left').ip('route', 'show', '10.99.0.0/16')


def test_a_long_name_of_host_and_nic_still_gets_a_port(lab: TinyLab) -> None:
    nic = {'name': 'enp0s31f6np0', 'network': 'blue', 'addresses': ['10.8.0.3/24']}
    lab.hosts.append({'name': 'loadbalancer-with-a-long-name', 'interfaces': [nic]})
    lab.build()
    assert hears(lab, '10.8.0.3', receiver='loadbalancer-with-a-long-name')
    assert not lab.build()['changed']


def test_a_setting_of_a_nic_is_written_when_it_is_there(lab: TinyLab) -> None:
    lab.hosts[0]['sysctls']['net.ipv4.conf.eth1.rp_filter'] = 1
    assert lab.build()['changes'] == ['left: net/ipv4/conf/eth1/rp_filter=1']
    assert not lab.build()['changed']


def test_check_mode_makes_nothing() -> None:
    lab = TinyLab()
    answer = lab.build(check=True)
    assert answer['changed']
    assert (answer['up'], answer['hosts'], lab.names()) == (False, [], [])
    assert answer['diff']['before'] == ''
    assert '10.8.0.1/24' in answer['diff']['after']


def test_removal_leaves_nothing() -> None:
    with TinyLab() as lab:
        stayer = lab_process(lab, 'left')
        stubborn = lab_process(lab, 'right', 'trap "" TERM; read line')
        planned = lab.remove(check=True)
        assert (planned['changed'], planned['up'], len(lab.names())) == (True, True, 3)
        done = lab.remove()
        assert done['changes'] == planned['changes']
        assert (done['up'], done['namespaces'], lab.names()) == (False, [], [])
        assert (stayer.wait(timeout=1), stubborn.wait(timeout=1)) == (-15, -9)
        assert not lab.remove()['changed']
    assert lab.name not in Path('/proc/self/mountinfo').read_text()


def lab_process(lab: TinyLab, host: str, script: str = 'read line') -> subprocess.Popen[bytes]:
    """A process that lives in a host, and waits there, once it has said so."""
    command = [
        'nsenter',
        f'--net=/run/netns/{lab.name}-{host}',
        'sh',
        '-c',
        f'{script.replace("read", "echo up; read")}',
    ]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b'up\n'
    return process


def test_removal_ends_processes_of_a_host_that_lost_its_name(lab: TinyLab) -> None:
    process = lab_process(lab, 'right')
    subprocess.run(['ip', 'netns', 'del', f'{lab.name}-right'], check=True)
    lab.remove()
    assert process.wait(timeout=1) == -15


def test_a_process_elsewhere_is_spared() -> None:
    with TinyLab() as one, TinyLab() as other:
        process = lab_process(other, 'left')
        one.remove()
        assert process.poll() is None
        process.kill()
        process.wait()


def test_two_labs_of_the_same_addresses_are_up_at_once() -> None:
    with TinyLab() as one, TinyLab() as other:
        assert hears(one, '10.8.0.2')
        assert hears(other, '10.8.0.2')
        assert not one.build()['changed']
        one.remove()
        assert hears(other, 'fd08::2')
        assert not other.build()['changed']


def test_somebody_elses_namespace_is_never_taken() -> None:
    lab = TinyLab()
    with Namespace(f'{lab.name}-left') as others:
        for state in ('present', 'absent'):
            answer = netns_lab(name=lab.name, state=state, networks=lab.networks, hosts=lab.hosts)
            assert answer['failed']
            assert f'namespace {others.name} is there and belongs to nobody' in answer['msg']
        assert lab.names() == [others.name]


def test_a_dead_name_is_taken_over(lab: TinyLab) -> None:
    lab.remove()
    Path(f'/run/netns/{lab.name}-left').touch()
    lab.build()
    assert hears(lab, '10.8.0.2')


def test_a_refused_setting_is_told_in_one_line() -> None:
    lab = TinyLab()
    lab.hosts[0]['sysctls'] = {'net.ipv4.no_such_setting': 1}
    answer = netns_lab(name=lab.name, networks=lab.networks, hosts=lab.hosts)
    assert answer['msg'] == 'set sysctl net/ipv4/no_such_setting=1: No such file or directory'
    lab.remove()


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'name': 'a-b'}, "name: 'a-b': "),
        ({'networks': []}, 'networks: '),
        ({'networks': [{'name': 'x/y'}]}, "networks[0].name: 'x/y': "),
        ({'hosts': [{'name': 'a', 'interfaces': [{'name': 'e', 'network': 'no'}]}]}, "network: 'no': must be one of"),
    ],
)
def test_bad_input_is_one_line_and_changes_nothing(change: Dict[str, Any], message: str) -> None:
    lab = TinyLab()
    answer = netns_lab(**{'name': lab.name, 'networks': lab.networks, 'hosts': lab.hosts, **change})
    assert message in answer['msg']
    assert '\n' not in answer['msg']
    assert lab.names() == []
