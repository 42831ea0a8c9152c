# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Differences between a lab that is and one that should be, without a kernel."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Dict, FrozenSet, List

from ansible_collections.returntraffic.net.plugins.module_utils.lab import naming, state
from ansible_collections.returntraffic.net.plugins.module_utils.lab.plan import Plan, plan_lab
from ansible_collections.returntraffic.net.plugins.module_utils.lab.state import LinkSeen, Seen, parse_links
from ansible_collections.returntraffic.net.plugins.module_utils.lab.topology import Topology, parse_topology

LAB = parse_topology(
    {
        'name': 'rt',
        'networks': [{'name': 'blue'}, {'name': 'red'}],
        'hosts': [
            {
                'name': 'left',
                'interfaces': [{'name': 'eth0', 'network': 'blue', 'addresses': ['10.0.0.1/24', 'fd00::1/64']}],
                'loopback_addresses': ['192.168.1.1'],
                'sysctls': {'net.ipv4.ip_forward': 1, 'net.ipv4.conf.eth0.rp_filter': 2},
            },
            {'name': 'right', 'interfaces': [{'name': 'eth0', 'network': 'blue', 'addresses': ['10.0.0.2/24']}]},
        ],
    }
)


def link(name: str, index: int, kind: str = '', **more: Any) -> LinkSeen:
    plain = LinkSeen(name, index, kind, None, '', 1500, True, True, None, '', frozenset())
    return plain._replace(**more)


def built(topology: Topology) -> Dict[str, Seen]:
    """What would be seen of a topology that is up."""
    lo = link('lo', 1, alias=naming.tag(topology.name))
    switch = {'lo': lo, **{item.name: link(item.name, 50 + n, 'bridge') for n, item in enumerate(topology.networks)}}
    seen: Dict[str, Seen] = {}
    for number, host in enumerate(topology.hosts):
        links = {'lo': lo._replace(addresses=frozenset(host.loopback))}
        for place, nic in enumerate(host.interfaces):
            inner, outer = 2 + place, 1000 + 10 * number + place
            addresses: FrozenSet[str] = frozenset(nic.addresses)
            links[nic.name] = link(nic.name, inner, 'veth', peer=outer, mac=nic.mac, mtu=nic.mtu, addresses=addresses)
            switch[nic.port] = link(nic.port, outer, 'veth', peer=inner, mtu=nic.mtu, master=nic.network)
        seen[host.name] = Seen(links, dict(host.sysctls))
    seen[naming.SWITCH] = Seen(switch, dict(state.SWITCH_SYSCTLS))
    return seen


def with_link(seen: Dict[str, Seen], host: str, name: str, **change: Any) -> Dict[str, Seen]:
    """The same with one link different, or without it."""
    links = dict(seen[host].links)
    if change:
        links[name] = links[name]._replace(**change)
    else:
        del links[name]
    return {**seen, host: seen[host]._replace(links=links)}


def with_nic(**change: Any) -> Topology:
    """The lab with another left eth0."""
    left, right = LAB.hosts
    return replace(LAB, hosts=(replace(left, interfaces=(replace(left.interfaces[0], **change),)), right))


def changes(plan: Plan) -> List[str]:
    return list(plan.changes)


def test_a_lab_that_is_up_needs_nothing() -> None:
    assert plan_lab(LAB, built(LAB)).empty()


def test_nothing_there_makes_every_namespace() -> None:
    plan = plan_lab(LAB, {})
    assert plan.create == ('switch', 'left', 'right')
    assert plan.remove == ()
    assert len([line for line in plan.switch if ' type veth ' in line]) == 2


def test_settings_that_name_a_nic_wait_for_it() -> None:
    left = plan_lab(LAB, {}).hosts['left']
    assert left.settings == {'net/ipv4/ip_forward': '1'}
    assert left.late_settings == {'net/ipv4/conf/eth0/rp_filter': '2'}


def test_a_host_too_many_is_removed_and_its_ports_with_it() -> None:
    alone = replace(LAB, hosts=LAB.hosts[:1])
    plan = plan_lab(alone, built(LAB))
    assert changes(plan) == ['remove namespace right', 'switch: link del dev right.eth0']


def test_a_missing_nic_is_made_and_nothing_else() -> None:
    plan = plan_lab(LAB, with_link(built(LAB), 'left', 'eth0'))
    assert plan.create == ()
    assert plan.unplug == ('link del dev left.eth0',)
    assert plan.switch[0].startswith('link add name left.eth0 index 1011 ')
    assert plan.hosts['right'].lines == ()
    assert 'address add 10.0.0.1/24 dev eth0' in plan.hosts['left'].lines


def test_a_link_that_only_has_the_name_makes_room() -> None:
    plan = plan_lab(LAB, with_link(built(LAB), 'left', 'eth0', kind='dummy', peer=None))
    assert plan.hosts['left'].clear == ('link del dev eth0',)


def test_an_own_link_in_a_host_stays() -> None:
    seen = built(LAB)
    seen['left'].links['vrf1'] = link('vrf1', 9, 'vrf')
    assert plan_lab(LAB, seen).empty()


def test_an_address_changes_alone() -> None:
    plan = plan_lab(with_nic(addresses=('10.0.0.9/24', 'fd00::1/64')), built(LAB))
    assert changes(plan) == ['left: address del 10.0.0.1/24 dev eth0', 'left: address add 10.0.0.9/24 dev eth0']


def test_another_mtu_is_set_on_both_ends() -> None:
    plan = plan_lab(with_nic(mtu=1300), built(LAB))
    assert changes(plan) == ['switch: link set dev left.eth0 mtu 1300', 'left: link set dev eth0 mtu 1300']


def test_another_network_is_another_bridge() -> None:
    plan = plan_lab(with_nic(network='red'), built(LAB))
    assert changes(plan) == ['switch: link set dev left.eth0 master red']


def test_a_renamed_nic_is_a_new_cable() -> None:
    plan = plan_lab(with_nic(name='wan0', port='left.wan0'), built(LAB))
    assert plan.unplug == ('link del dev left.eth0',)
    assert any('peer name wan0 netns rt-left' in line for line in plan.switch)


def test_a_network_too_many_loses_its_bridge() -> None:
    plan = plan_lab(replace(LAB, networks=LAB.networks[:1]), built(LAB))
    assert changes(plan) == ['switch: link del dev red']


def test_links_that_went_down_go_up() -> None:
    seen = with_link(with_link(built(LAB), 'left', 'eth0', up=False), 'switch', 'right.eth0', up=False)
    assert changes(plan_lab(LAB, seen)) == ['switch: link set dev right.eth0 up', 'left: link set dev eth0 up']


def test_a_changed_setting_is_written() -> None:
    seen = built(LAB)
    seen['left'] = seen['left']._replace(sysctls={**seen['left'].sysctls, 'net/ipv4/ip_forward': '0'})
    assert changes(plan_lab(LAB, seen)) == ['left: net/ipv4/ip_forward=1']


def test_a_lab_that_is_up_shows_as_what_is_wanted() -> None:
    seen = built(LAB)
    observed = {host.name: state.observed_host(seen[host.name], seen['switch']) for host in LAB.hosts}
    assert observed == state.desired_hosts(LAB)
    assert state.bridges(seen['switch']) == ('blue', 'red')


def test_a_nic_without_carrier_is_not_ready() -> None:
    seen = built(LAB)
    assert state.not_ready(LAB, seen) == []
    assert state.not_ready(LAB, with_link(seen, 'switch', 'left.eth0', ready=False)) == ['left eth0']


def test_links_are_read_as_ip_shows_them() -> None:
    shown = {
        'ifindex': 2, 'link_index': 1000, 'ifname': 'eth0', 'flags': ['BROADCAST', 'UP', 'LOWER_UP'], 'mtu': 1300,
        'operstate': 'UP', 'address': '02:00:00:00:00:01', 'linkinfo': {'info_kind': 'veth'}, 'master': 'vrf1',
        'addr_info': [
            {'family': 'inet', 'local': '10.0.0.1', 'prefixlen': 24, 'scope': 'global'},
            {'family': 'inet6', 'local': 'fd00::1', 'prefixlen': 64, 'scope': 'global'},
            {'family': 'inet6', 'local': 'fd00::2', 'prefixlen': 64, 'scope': 'global', 'dynamic': True},
            {'family': 'inet6', 'local': 'fe80::1', 'prefixlen': 64, 'scope': 'link'},
        ],
    }  # fmt: skip
    found = parse_links([shown, {}])['eth0']
    assert found.addresses == {'10.0.0.1/24', 'fd00::1/64'}
    assert (found.peer, found.kind, found.mtu, found.master, found.up, found.ready) == (
        1000, 'veth', 1300, 'vrf1', True, True,
    )  # fmt: skip


def test_an_address_under_detection_is_not_ready() -> None:
    pending = {'family': 'inet6', 'local': 'fd00::1', 'prefixlen': 64, 'tentative': True}
    shown = {'ifindex': 2, 'ifname': 'eth0', 'flags': ['UP', 'LOWER_UP'], 'operstate': 'UP', 'addr_info': [pending]}
    assert not parse_links([shown])['eth0'].ready
