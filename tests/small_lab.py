# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The smallest place where a reply can go astray: a node with two NICs, a client behind one of them.

    client (eth0) --- (eth1) node (eth0) --- (eth0) sink

The client asks from an address on its loopback, to which the node's route decides: the
default route goes to the sink, which forwards nothing; `answer_by_eth1` makes it right.
"""

from __future__ import annotations

import contextlib
from typing import Any, Dict, Iterator, List, NamedTuple

from ansible_collections.returntraffic.net.plugins.module_utils.proof.spec import Flow, expand
from namespaces import Namespace

CLIENT_4, CLIENT_6 = '10.9.7.7', 'fd09:7::7'
VIP_4, VIP_6 = '10.9.9.9', 'fd09:9::9'


class SmallLab(NamedTuple):
    node: Namespace
    client: Namespace
    sink: Namespace

    def answer_by_eth1(self) -> None:
        """The node's routes to the client, by the NIC that its requests come in by."""
        self.node.run('ip', 'route', 'replace', CLIENT_4, 'via', '10.9.1.2')
        self.node.run('ip', 'route', 'replace', CLIENT_6, 'via', 'fd09:1::2')

    def answer_by_eth0(self) -> None:
        """As at the beginning: replies take the default route."""
        self.node.run('ip', 'route', 'del', CLIENT_4, check=False)
        self.node.run('ip', 'route', 'del', CLIENT_6, check=False)


def link(one: Namespace, one_name: str, other: Namespace, other_name: str, number: int, mtu: int = 1500) -> None:
    """A veth between two namespaces: `one` gets 10.9.<number>.1 and fd09:<number>::1, `other` the .2 and ::2.

    The ends get different indexes: the kernel takes a veth whose end has the same one for a
    plain NIC, and tells such a NIC that its link is up with a delay of up to a second (linkwatch).
    """
    ends = f'name {one_name} index {100 + number} mtu {mtu} type veth peer name {other_name} index {200 + number}'
    one.batch(f'link add {ends} netns {other.name}\n')
    for namespace, name, host in ((one, one_name, 1), (other, other_name, 2)):
        namespace.batch(
            f'addr add 10.9.{number}.{host}/24 dev {name}\n'
            f'addr add fd09:{number}::{host}/64 dev {name} nodad\n'
            f'link set {name} up\n'
        )


@contextlib.contextmanager
def small_lab() -> Iterator[SmallLab]:
    with Namespace() as node, Namespace() as client, Namespace() as sink:
        for namespace in (node, client, sink):
            namespace.run('sysctl', '-qw', 'net.ipv4.icmp_ratelimit=0', 'net.ipv6.icmp.ratelimit=0')
        # ARP with the loopback's address would be dropped by reverse path filtering, before any request.
        client.run('sysctl', '-qw', 'net.ipv4.conf.all.arp_announce=2')
        link(node, 'eth0', sink, 'eth0', 0)
        link(node, 'eth1', client, 'eth0', 1)
        client.batch(f'addr add {CLIENT_4}/32 dev lo\naddr add {CLIENT_6}/128 dev lo nodad\n')
        client.batch(f'route add {VIP_4} via 10.9.1.1 src {CLIENT_4}\nroute add {VIP_6} via fd09:1::1 src {CLIENT_6}\n')
        node.batch(f'addr add {VIP_4}/32 dev lo\naddr add {VIP_6}/128 dev lo nodad\n')
        node.batch('route add default via 10.9.0.2\nroute add default via fd09:0::2\n')
        yield SmallLab(node, client, sink)


def flows(*wanted: Dict[str, Any], client: str = 'client', **common: Any) -> List[Flow]:
    """Flows to both families' VIP."""
    target = {'name': 'vip', 'addresses': [VIP_4, VIP_6], 'flows': [{**flow, **common} for flow in wanted]}
    return expand(client, [target])
