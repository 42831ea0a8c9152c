# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Proofs in a namespace lab: what is right passes, what is not is named."""

from __future__ import annotations

import json
from typing import Any, Dict, Iterator, List

import pytest
from ansible_collections.returntraffic.net.plugins.module_utils.proof.spec import Flow
from ansible_collections.returntraffic.net.plugins.module_utils.proof.verdict import FAIL, INCOMPLETE, PASS, Verdict
from echoes import echo
from namespaces import Namespace
from proving import prove
from small_lab import CLIENT_4, CLIENT_6, VIP_4, VIP_6, SmallLab, flows, link, small_lab

KINDS: List[Dict[str, Any]] = [
    {'kind': 'tcp', 'port': 8080},
    {'kind': 'udp', 'port': 8080},
    {'kind': 'icmp'},
    {'kind': 'tcp_closed', 'port': 8089},
    {'kind': 'udp_closed', 'port': 8089},
    {'kind': 'pmtu', 'port': 8080},
]


@pytest.fixture
def lab() -> Iterator[SmallLab]:
    with small_lab() as made, echo(made.node, (VIP_4, 8080), (VIP_6, 8080)):
        yield made


def prove_in(lab: SmallLab, wanted: List[Flow]) -> List[Verdict]:
    return prove(lab.node, {'client': lab.client}, wanted)


def test_every_kind_passes_when_replies_leave_by_the_nic_of_the_request(lab: SmallLab) -> None:
    lab.answer_by_eth1()
    verdicts = prove_in(lab, flows(*KINDS))
    assert [(verdict.kind, verdict.verdict) for verdict in verdicts] == [(kind['kind'], PASS) for kind in KINDS * 2]
    assert {(tuple(verdict.requests), tuple(verdict.replies)) for verdict in verdicts} == {(('eth1',), ('eth1',))}


def test_every_kind_fails_when_replies_leave_by_the_default_route(lab: SmallLab) -> None:
    verdicts = prove_in(lab, flows(*KINDS, timeout=0.5))
    assert {(verdict.verdict, verdict.reason) for verdict in verdicts} == {
        (FAIL, 'reply left by eth0, request came by eth1')
    }
    assert len(verdicts) == 12
    assert all(verdict.wrong_replies == verdict.replies != {} for verdict in verdicts)


def test_strays_fail_though_the_client_is_answered(lab: SmallLab) -> None:
    """The sink is made to hand the strays on: the client sees nothing wrong, the packets tell."""
    link(lab.sink, 'eth1', lab.client, 'eth1', 2)
    lab.sink.run('sysctl', '-qw', 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1')
    lab.client.run('sysctl', '-qw', 'net.ipv4.conf.all.rp_filter=0', 'net.ipv4.conf.eth1.rp_filter=0')
    lab.sink.batch(f'route add {CLIENT_4} via 10.9.2.2\nroute add {CLIENT_6} via fd09:2::2\n')
    for verdict in prove_in(lab, flows({'kind': 'tcp', 'port': 8080}, {'kind': 'icmp'})):
        assert (verdict.answered, verdict.verdict, list(verdict.replies)) == (True, FAIL, ['eth0'])


def test_a_request_that_strict_reverse_path_filtering_drops_is_seen_to_end_there(lab: SmallLab) -> None:
    lab.node.run('sysctl', '-qw', 'net.ipv4.conf.all.rp_filter=1')
    for verdict in prove_in(lab, flows(*KINDS, timeout=0.3))[: len(KINDS)]:
        assert (verdict.verdict, list(verdict.requests), verdict.replies) == (FAIL, ['eth1'], {})
        assert 'request dropped after eth1 (rp_filter' in verdict.reason


def test_a_request_that_never_comes_proves_nothing(lab: SmallLab) -> None:
    lab.client.batch(f'route replace {VIP_4} via 10.9.1.77 src {CLIENT_4}\n')
    lab.client.batch(f'route replace blackhole {VIP_6}\n', '-6')
    four, six = prove_in(lab, flows({'kind': 'udp', 'port': 8080, 'timeout': 0.3}))
    assert (four.verdict, four.reason) == (INCOMPLETE, 'request never reached the node')
    assert six.verdict == INCOMPLETE
    assert 'request was not sent' in six.reason


def test_a_request_by_the_other_nic_is_answered_there(lab: SmallLab) -> None:
    """Nothing knows eth1 from eth0: the NIC is the one that the packets used."""
    lab.sink.batch(f'addr add {CLIENT_4}/32 dev lo\naddr add {CLIENT_6}/128 dev lo nodad\n')
    lab.sink.batch(f'route add {VIP_4} via 10.9.0.1 src {CLIENT_4}\nroute add {VIP_6} via fd09:0::1 src {CLIENT_6}\n')
    verdicts = prove(lab.node, {'client': lab.sink}, flows(*KINDS))
    assert {(verdict.verdict, tuple(verdict.requests)) for verdict in verdicts} == {(PASS, ('eth0',))}


def test_a_pod_behind_dnat_is_judged_on_the_nics_of_the_outside(lab: SmallLab) -> None:
    lab.answer_by_eth1()
    with Namespace() as pod:
        link(lab.node, 'cni0', pod, 'eth0', 5)
        pod.batch('route add default via 10.9.5.1\nroute add default via fd09:5::1\n')
        lab.node.run('sysctl', '-qw', 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1')
        lab.node.run('nft', '-f', '-', stdin=_DNAT)
        with echo(pod, ('10.9.5.2', 8080), ('fd09:5::2', 8080)):
            kinds = [{**kind, 'port': kind['port'] + 1000, 'path': 'dnat'} for kind in KINDS if kind['kind'] != 'icmp']
            verdicts = prove_in(lab, flows(*kinds))
    assert {(verdict.verdict, tuple(verdict.requests), tuple(verdict.replies)) for verdict in verdicts} == {
        (PASS, ('eth1',), ('eth1',))
    }
    assert len(verdicts) == 10


_DNAT = f"""
table inet test {{
  map port {{ type inet_service : inet_service; elements = {{ 9080 : 8080, 9089 : 8089 }} }}
  chain pre {{ type nat hook prerouting priority dstnat;
    ip daddr {VIP_4} meta l4proto {{ tcp, udp }} dnat ip to 10.9.5.2 : th dport map @port
    ip6 daddr {VIP_6} meta l4proto {{ tcp, udp }} dnat ip6 to fd09:5::2 : th dport map @port
  }}
}}
"""


@pytest.mark.parametrize('kind', ['bridge', 'bond'])
def test_a_nic_made_of_ports_is_one_nic(lab: SmallLab, kind: str) -> None:
    """Each packet is seen on port and master, and counts once, on the one that has the network."""
    needs_kind(lab.node, kind)
    lab.node.batch(f'link add upper0 type {kind}\nlink set eth1 down\nlink set eth1 master upper0\nlink set eth1 up\n')
    give_addresses(lab.node, 'upper0', 1)
    lab.answer_by_eth1()
    assert_all_pass_by(lab, 'upper0')


def test_a_vlan_is_a_nic(lab: SmallLab) -> None:
    needs_kind(lab.node, 'vlan')
    for namespace, device, host in ((lab.node, 'eth1', 1), (lab.client, 'eth0', 2)):
        namespace.batch(f'link add link {device} name v10 type vlan id 10\n')
        give_addresses(namespace, 'v10', host)
    lab.answer_by_eth1()
    assert_all_pass_by(lab, 'v10')


def test_two_vlans_of_one_device_are_two_nics(lab: SmallLab) -> None:
    """The request comes in by VLAN 10, the reply leaves by VLAN 20: the device below would hide that."""
    needs_kind(lab.node, 'vlan')
    for namespace, device, host in ((lab.node, 'eth1', 1), (lab.client, 'eth0', 2)):
        for number in (10, 20):
            namespace.batch(f'link add link {device} name v{number} type vlan id {number}\n')
            give_addresses(namespace, f'v{number}', host, number)
    route_to_vip(lab.client, 10)
    lab.node.batch(f'route add {CLIENT_4} via 10.9.20.2\nroute add {CLIENT_6} via fd09:20::2\n')
    for verdict in prove_in(lab, flows({'kind': 'udp', 'port': 8080}, timeout=0.5)):
        assert (verdict.verdict, verdict.reason) == (FAIL, 'reply left by v20, request came by v10')


def test_a_vrf_is_no_nic_but_what_is_enslaved_to_it(lab: SmallLab) -> None:
    needs_kind(lab.node, 'vrf')
    lab.node.run('sysctl', '-qw', 'net.ipv4.tcp_l3mdev_accept=1', 'net.ipv4.udp_l3mdev_accept=1')
    lab.node.batch('link add vrf1 type vrf table 77\nlink set vrf1 up\nlink set eth1 master vrf1\n')
    give_addresses(lab.node, 'eth1', 1)
    for family, address, gateway in (('-4', VIP_4, '10.9.1.2'), ('-6', VIP_6, 'fd09:1::2')):
        lab.node.run('ip', family, 'route', 'add', 'default', 'via', gateway, 'table', '77')
        lab.node.run('ip', family, 'rule', 'add', 'from', address, 'lookup', '77')
    assert_all_pass_by(lab, 'eth1')


def needs_kind(namespace: Namespace, kind: str) -> None:
    below, details = {'vlan': ('link eth1 ', ' id 4000'), 'vrf': ('', ' table 99')}.get(kind, ('', ''))
    tried = namespace.process('ip', '-batch', '-', stdin=f'link add {below}name tried0 type {kind}{details}\n')
    if 'Unknown device type' in tried.stderr:
        pytest.skip(f'this kernel has no devices of kind {kind}')
    namespace.run('ip', 'link', 'del', 'tried0')


def give_addresses(namespace: Namespace, device: str, host: int, network: int = 1) -> None:
    """Takes them from whatever device had them."""
    for family, address in (('-4', f'10.9.{network}.{host}/24'), ('-6', f'fd09:{network}::{host}/64')):
        namespace.run('ip', family, 'addr', 'flush', 'to', address)
        namespace.run('ip', family, 'addr', 'add', address, 'dev', device)
    namespace.run('ip', 'link', 'set', device, 'up')


def route_to_vip(client: Namespace, network: int = 1) -> None:
    client.batch(f'route replace {VIP_4} via 10.9.{network}.1 src {CLIENT_4}\n')
    client.batch(f'route replace {VIP_6} via fd09:{network}::1 src {CLIENT_6}\n')


def assert_all_pass_by(lab: SmallLab, nic: str) -> None:
    route_to_vip(lab.client)
    verdicts = prove_in(lab, flows(*KINDS))
    assert {(verdict.verdict, tuple(verdict.requests), tuple(verdict.replies)) for verdict in verdicts} == {
        (PASS, (nic,), (nic,))
    }


def test_packet_too_big_is_seen_for_the_flow_that_needs_it() -> None:
    with small_lab() as lab, Namespace() as far, echo(lab.node, (VIP_4, 8080), (VIP_6, 8080)):
        link(lab.client, 'narrow', far, 'eth0', 3, mtu=1400)
        lab.client.run('sysctl', '-qw', 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1')
        # The far client itself claims to take 1500 octets a packet, as hosts do that sit behind a tunnel.
        far.batch('route add default via 10.9.3.1 mtu 1400 advmss 1460\n')
        far.batch('route add default via fd09:3::1 mtu 1400 advmss 1440\n')
        lab.node.batch('route add 10.9.3.0/24 via 10.9.1.2\nroute add fd09:3::/64 via fd09:1::2\n')
        pmtu, tcp = {'kind': 'pmtu', 'port': 8080}, {'kind': 'tcp', 'port': 8080}
        first = prove(lab.node, {'far': far}, flows(pmtu, tcp, client='far'))
        again = prove(lab.node, {'far': far}, flows(pmtu, client='far'))
    assert [(verdict.verdict, verdict.ptb > 0) for verdict in first] == [(PASS, True), (PASS, False)] * 2
    assert [(verdict.verdict, verdict.ptb) for verdict in again] == [(PASS, 0)] * 2


def test_two_clients_ask_at_the_same_time(lab: SmallLab) -> None:
    lab.answer_by_eth1()
    clients = {'client': lab.client, 'sink': lab.sink}
    lab.sink.batch(f'route add {VIP_4} via 10.9.0.1\nroute add {VIP_6} via fd09:0::1\n')
    verdicts = prove(lab.node, clients, flows(*KINDS) + flows(*KINDS, client='sink'))
    assert {(verdict.client, verdict.verdict, tuple(verdict.replies)) for verdict in verdicts} == {
        ('client', PASS, ('eth1',)),
        ('sink', PASS, ('eth0',)),
    }
    assert len(verdicts) == 24


def test_verdicts_are_json(lab: SmallLab) -> None:
    lab.answer_by_eth1()
    assert json.loads(json.dumps(prove_in(lab, flows({'kind': 'icmp'}))))[0][0] == 'client'
