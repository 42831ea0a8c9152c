#!/usr/bin/python
# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module return_policy: replies leave by the network their requests came in on."""

from __future__ import annotations

DOCUMENTATION = r"""
module: return_policy
short_description: Make replies leave by the network their requests came in on
version_added: 1.0.0
author: returntraffic contributors (@returntraffic)
description:
  - A host has several networks, and services are reached over some of them. Linux routes a reply by its destination,
    so it leaves by the default route and is lost in firewalls, stateful routers or reverse path filters.
    This module gives the host one return policy, with the strategy of your choice, and takes it away without a trace.
  - Rules and routes carry routing protocol 201, nft objects live in the table C(inet returntraffic), VRF devices and
    veth pairs have the ifalias C(returntraffic). Whatever does not carry this tag is never changed, but for the rule
    C(local) with O(veth). The values that sysctls had are kept in that nft table and given back.
  - Changes are made in an order in which no packet is lost or misrouted, also from one strategy to another; only moving
    an interface into or out of a VRF interrupts it for a moment. When the kernel refuses a change, its own message is
    shown with the object, and everything is put back.
  - What would not work on the host is refused before anything changes, in one line with the key, the value, the reason
    and the cure. What of others overlaps without keeping the policy from working is a warning.
  - The policy is runtime state of the kernel, like that of C(ip rule). It does not survive a boot, and
    C(systemd-networkd) sweeps it away unless it has C(ManageForeignRoutingPolicyRules=no) and
    C(ManageForeignRoutes=no). An interface that goes down loses its routes; run the play again once it is up.
extends_documentation_fragment:
  - returntraffic.net._attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
  platform:
    platforms: linux
requirements:
  - python >= 3.8
  - root, or CAP_NET_ADMIN in the network namespace
  - nftables >= 1.0 for strategies that mark (V(mark), V(connmark), and V(source) with very many addresses)
options:
  state:
    description:
      - V(present) makes the policy hold and takes away what an earlier one left.
      - V(absent) takes away all objects with our tag and restores sysctls. No other option is needed then.
    type: str
    choices: [present, absent]
    default: present
  strategy:
    description:
      - How the reply's network is told. Required with O(state=present).
      - V(connmark) remembers for each connection the NIC it came in by. It needs no list of services, answers one pod
        behind VIPs of two networks, and is the only one that answers one client address behind two networks.
      - V(mark) looks the reply's source address up in one nft map.
      - V(source) does the same with C(from) rules, without nft or sysctls; beyond 64 prefixes a network it uses
        V(mark)'s map.
      - V(static) makes a route to each client network.
      - V(vrf) puts each network into a VRF of its own; O(selector) says what tells a reply's network then. Moving an
        interface takes it down for a moment. Needs VRF in the kernel.
      - V(egress_service) makes the networks' tables and the rules of O(exclude) only. OVN-Kubernetes makes the rules
        that lead to the tables, for services with an C(EgressService) object whose C(network) is the table's number.
      - V(mark) and V(connmark) set C(net.ipv4.conf.<interface>.rp_filter) to 2 where 1 is in effect, V(vrf) sets
        C(net.ipv4.tcp_l3mdev_accept), C(net.ipv4.udp_l3mdev_accept) and C(keep_addr_on_down) of the interfaces.
    type: str
    choices: [static, source, mark, connmark, vrf, egress_service]
  selector:
    description:
      - What tells the network of a reply with O(strategy=vrf); V(connmark) unless told. An error with other strategies.
    type: str
    choices: [source, mark, connmark]
  networks:
    description:
      - The networks over which services are reached, all but the one of the default route. Required with
        O(state=present), one at least.
      - No two may share a name, an interface, a table, a mark or a VRF.
    type: list
    elements: dict
    suboptions:
      name:
        description:
          - A name of your own for messages, nft chains and VRFs. 1-63 of A-Z a-z 0-9 _ . - not beginning with . or -.
        type: str
        required: true
      interface:
        description:
          - The interface by its name. Exactly one of O(networks[].interface), O(networks[].mac), O(networks[].subnet)
            and O(networks[].address) is needed; not found or not the only one is an error that lists the interfaces
            there are.
        type: str
      mac:
        description: The interface by its MAC address.
        type: str
      subnet:
        description: The interface by the network of one of its addresses, as a prefix without host bits.
        type: str
      address:
        description: The interface by one of its addresses.
        type: str
      gateways:
        description:
          - The next hop for replies, one for each address family that the network has. A family without one is left
            alone.
          - Must be on a network of the interface, or link-local (IPv6), unless O(networks[].onlink) is set.
        type: list
        elements: str
        required: true
      table:
        description:
          - The routing table of the network, a number from V(1) to V(4294967295) or a name of C(rt_tables).
          - Unless told it is O(table_base) plus the network's position in the list, from 1. The kernel's tables 252-255
            and tables with routes of others are refused.
        type: raw
      mark:
        description:
          - The mark of the network in packets and connections, a number within O(mark_mask), also as text such as
            V(0x10000). Unless told it is the first value that is free.
        type: raw
      clients:
        description:
          - The client networks behind this one, as prefixes. O(strategy=static) needs them, others do not look at them.
        type: list
        elements: str
        default: []
      onlink:
        description: The gateway is reachable although no address of the interface says so.
        type: bool
        default: false
      vrf:
        description:
          - The name of the network's VRF device with O(strategy=vrf), 1-15 characters. Unless told it is C(vrf-) and
            O(networks[].name), cut to 15 characters.
          - A VRF of others with that name and table is taken as it is when the interface is in it.
        type: str
  services:
    description:
      - The services. O(strategy=source) and O(strategy=mark) need them; the others do not, but check those that are
        given.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: A name of your own for messages. Unless told it is the first VIP.
        type: str
      network:
        description: The network that the VIPs are reached over, one of O(networks[].name).
        type: str
        required: true
      vips:
        description: The service's addresses, of one or both families.
        type: list
        elements: str
        required: true
      backends:
        description:
          - The addresses of the pods behind destination NAT. A reply has the pod's address when it is routed, because
            translation is undone later.
          - A pod behind VIPs of two networks is refused with V(source) and V(mark).
        type: list
        elements: str
        default: []
      data_path:
        description:
          - V(host), a process on this host answers; V(dnat), the service is translated to O(services[].backends);
            V(ovn_kubernetes), it goes through the virtual switch of OVN-Kubernetes in local gateway mode.
          - Unless told it is V(ovn_kubernetes) when there are O(services[].cluster_ips) or O(services[].node_ports),
            V(dnat) when there are backends, else V(host).
        type: str
        choices: [host, dnat, ovn_kubernetes]
      cluster_ips:
        description:
          - For V(ovn_kubernetes) and a service with externalTrafficPolicy Cluster, its ClusterIPs. Its replies have
            them as their source when they are routed, also those to clients that asked a node port.
        type: list
        elements: str
        default: []
        version_added: 1.1.0
      node_ports:
        description:
          - For V(ovn_kubernetes) and a service with externalTrafficPolicy Local, its node ports, a list of numbers from
            V(1) to V(65535) for each of C(tcp), C(udp) and C(sctp). Its replies come from O(masquerade) with the node
            port as their source port.
        type: dict
        version_added: 1.1.0
  exclude:
    description:
      - Destinations that stay with table main whatever else is matched, as prefixes. Give the cluster's pod and service
        networks here with V(source), V(mark) and V(vrf), or traffic between pods and VIPs breaks.
    type: list
    elements: str
    default: []
  priority_base:
    description:
      - The first priority of the block in which our rules are, from V(1) to V(32765). A priority of others in the
        block is a warning, one that we would use too is refused.
    type: int
    default: 3000
  priority_count:
    description: The size of that block, which must end before 32766. The policy is refused when it needs more rules.
    type: int
    default: 1000
  table_base:
    description: Networks without a O(networks[].table) get this number plus their position, from 1.
    type: int
    default: 3000
  mark_mask:
    description:
      - The bits of packet and connection marks that are ours, one run of bits; all other bits are left alone. A number,
        also as text. It must hold a value other than 0 for each network.
    type: raw
    default: '0x00ff0000'
  check_vips:
    description:
      - Refuse VIPs that are neither addresses of this host nor in an nft rule, set or map.
      - Set to V(false) for data paths in eBPF or OVS.
    type: bool
    default: true
  fallback_default:
    description:
      - On a host without a default route in table main, a reply of a local socket finds no route and is never marked,
        so V(mark) and V(connmark) are refused there.
      - V(true) adds a rule of last resort (priority 33000) through the first network; the host itself can then leave by
        it too.
    type: bool
    default: false
  drain:
    description:
      - Seconds, from 0 to 60. V(connmark) sets its mark when a request comes in; requests that are in already when it
        takes over from another strategy are answered with the old one for this long, before that is taken away.
    type: float
    default: 0.5
  zones:
    description:
      - For V(connmark), as strategy or selector. Gives each network a conntrack zone, so that two clients behind
        different networks may even have the same address and port at the same time. Without it the second of two such
        connections is not answered.
      - Connections that are open when this is switched on or off are looked up in another zone and start anew.
    type: bool
    default: false
  zone_base:
    description: The zone of a network is this number plus its position, from 1. No zone may be above 65535.
    type: int
    default: 3000
  strict_reverse_path:
    description:
      - Drop what comes in by a network unless its reply would leave by it, over IPv4 and IPv6. A rule of nft for each
        network (C(fib)), with a counter; C(nft list chain inet returntraffic reverse_path) shows what it has dropped.
      - The default route in a network's table leads to every source, so what is dropped are sources in O(exclude), and
        with V(static) all that are not in O(networks[].clients).
      - Unlike C(rp_filter) it looks up with the network's mark. While a change lasts it is not in force.
    type: bool
    default: false
    version_added: 1.1.0
  veth:
    description:
      - For O(strategy=vrf) on hosts where C(tcp_l3mdev_accept) and C(udp_l3mdev_accept) may not be set. A veth pair
        leads the VIPs of O(services) out of each VRF, to the sockets of the host.
      - The kernel's rule C(local) is moved from priority 0 to just after the l3mdev rule, for each family, and put back
        when it is no longer needed. Refused where others have moved it.
      - Only VIPs are led out. Sockets that are bound to no VRF are then not reached by the addresses of the interfaces
        themselves. C(ip_forward) (and C(ipv6.conf.all.forwarding)) must be on, and a firewall's forward chain sees the
        requests.
    type: bool
    default: false
    version_added: 1.1.0
  masquerade:
    description:
      - For services with O(services[].node_ports), what OVN-Kubernetes translates a client's address to on its way in,
        at most one of each family. It is the .3 of the masquerade subnets (C(--gateway-v4-masquerade-subnet) and
        C(--gateway-v6-masquerade-subnet)); V(169.254.169.3) in clusters that began with a version before 1.0.
    type: list
    elements: str
    default: [169.254.0.3, 'fd69::3']
    version_added: 1.1.0
notes:
  - With C(--diff) every object is one line, so a prediction can be read and compared.
seealso:
  - module: returntraffic.net.return_policy_info
  - module: returntraffic.net.return_proof
  - name: Policy routing
    description: The kernel's rules and tables.
    link: https://man7.org/linux/man-pages/man8/ip-rule.8.html
  - name: rp_filter and src_valid_mark
    description: The kernel's documentation of IP sysctls.
    link: https://docs.kernel.org/networking/ip-sysctl.html
  - name: VRF
    description: The kernel's documentation of virtual routing and forwarding.
    link: https://docs.kernel.org/networking/vrf.html
"""

EXAMPLES = r"""
- name: Replies leave by the network they came in on, whatever the service
  returntraffic.net.return_policy:
    strategy: connmark
    networks:
      - name: storage
        interface: eth1
        gateways: [10.111.221.21, 'fd00:10:111:221::21']
      - name: public
        subnet: 10.111.222.0/24
        gateways: [10.111.222.21]

- name: By source address, with a pod behind a VIP
  returntraffic.net.return_policy:
    strategy: source
    networks:
      - name: public
        interface: eth1
        gateways: [10.111.221.21]
    services:
      - name: web
        network: public
        vips: [192.168.1.1]
        backends: [10.244.0.2]
    exclude: [10.244.0.0/16, 10.96.0.0/12]

- name: By source address, on a node of OVN-Kubernetes
  returntraffic.net.return_policy:
    strategy: source
    networks:
      - name: public
        interface: eth1
        gateways: [10.111.221.21]
    services:
      - name: web
        network: public
        vips: [192.168.10.1]
        cluster_ips: [10.96.12.7]
      - name: mail
        network: public
        vips: [192.168.10.2]
        node_ports: {tcp: [31025]}
    exclude: [10.244.0.0/16, 10.96.0.0/16, 169.254.0.0/17]

- name: Take it all away
  returntraffic.net.return_policy:
    state: absent
"""

RETURN = r"""
strategy:
  description: The strategy in force, V(none) after O(state=absent).
  returned: success
  type: str
  sample: connmark
networks:
  description: The networks as they were found on the host.
  returned: success
  type: list
  elements: dict
  contains:
    name: {description: The network's name., type: str}
    nic: {description: Its interface., type: str}
    table: {description: Its routing table., type: int}
    mark: {description: 'Its mark, hexadecimal.', type: str}
    gateways: {description: Its next hops., type: list, elements: str}
  sample: [{"name": "storage", "nic": "eth1", "table": 3001, "mark": "0x10000", "gateways": ["10.111.221.21"]}]
objects:
  description: Every object of the policy with the reason why it is there.
  returned: success
  type: list
  elements: dict
  contains:
    object: {description: 'The object, as C(ip) or C(nft) would write it.', type: str}
    reason: {description: Why it is there., type: str}
  sample:
    - object: "rule ipv4 3000: from all fwmark 0x10000/0xff0000 lookup 3001 protocol 201"
      reason: "storage: packets with mark 0x10000/0xff0000 use its table"
changes:
  description: What was done, or in check mode would be done, in this order.
  returned: success
  type: list
  elements: str
  sample: ["add rule ipv4 3000: from all fwmark 0x10000/0xff0000 lookup 3001 protocol 201"]
findings:
  description: What preflight has to say of others' objects; each is shown as a warning too.
  returned: success
  type: list
  elements: dict
  contains:
    level: {description: 'Always V(warning); what is refused is an error.', type: str}
    check: {description: 'What was looked at, such as V(mark) or V(priority).', type: str}
    subject: {description: The object., type: str}
    reason: {description: What it does., type: str}
    cure: {description: What to do about it., type: str}
  sample:
    - level: warning
      check: mark
      subject: nft ip mangle PREROUTING
      reason: writes mark bits 0x40000, which are ours
      cure: choose another mark_mask
"""

import gc
from typing import Any, Dict

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.engine import Outcome, ensure_absent, ensure_present
from ..module_utils.errors import KernelError, PolicyError
from ..module_utils.list_spec import short_invocation
from ..module_utils.report import changes_of, diff_of, networks_of, objects_of

_ARGUMENTS: Dict[str, Dict[str, Any]] = {
    'state': {'type': 'str', 'choices': ['present', 'absent'], 'default': 'present'},
    'strategy': {'type': 'str', 'choices': ['static', 'source', 'mark', 'connmark', 'vrf', 'egress_service']},
    'selector': {'type': 'str', 'choices': ['source', 'mark', 'connmark']},
    'networks': {'type': 'list', 'elements': 'dict'},
    'services': {'type': 'list', 'elements': 'dict', 'default': []},
    'exclude': {'type': 'list', 'elements': 'str', 'default': []},
    'priority_base': {'type': 'int', 'default': 3000},
    'priority_count': {'type': 'int', 'default': 1000},
    'table_base': {'type': 'int', 'default': 3000},
    'mark_mask': {'type': 'raw', 'default': '0x00ff0000'},
    'check_vips': {'type': 'bool', 'default': True},
    'fallback_default': {'type': 'bool', 'default': False},
    'drain': {'type': 'float', 'default': 0.5},
    'zones': {'type': 'bool', 'default': False},
    'zone_base': {'type': 'int', 'default': 3000},
    'strict_reverse_path': {'type': 'bool', 'default': False},
    'veth': {'type': 'bool', 'default': False},
    'masquerade': {'type': 'list', 'elements': 'str', 'default': ['169.254.0.3', 'fd69::3']},
}


def main() -> None:
    gc.disable()  # one call is the process's life, and with ten thousand services collecting is a quarter of it
    module = AnsibleModule(argument_spec=_ARGUMENTS, supports_check_mode=True)
    try:
        outcome = _run(module)
    except (PolicyError, KernelError) as error:
        module.fail_json(msg=str(error))
    for finding in outcome.findings:
        module.warn(f'{finding.check} {finding.subject}: {finding.reason}; {finding.cure}')
    module.exit_json(**_result(module, outcome), invocation=short_invocation(module.params, 'services'))


def _run(module: AnsibleModule) -> Outcome:
    intent = dict(module.params)
    if intent.pop('state') == 'absent':
        return ensure_absent(module.check_mode)
    return ensure_present(intent, module.check_mode)


def _result(module: AnsibleModule, outcome: Outcome) -> Dict[str, Any]:
    result = {
        'changed': outcome.plan.changed,
        'strategy': outcome.bound.policy.strategy if outcome.bound else 'none',
        'networks': networks_of(outcome.bound),
        'objects': objects_of(outcome.desired),
        'changes': changes_of(outcome.plan),
        'findings': [finding._asdict() for finding in outcome.findings],
    }
    return {**result, 'diff': diff_of(outcome.plan, outcome.host)} if module._diff else result


if __name__ == '__main__':
    main()
