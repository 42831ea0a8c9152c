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
  - Rules and routes carry routing protocol 201, nft objects live in the table C(inet returntraffic). Whatever does not
    carry this tag is never changed. The values that sysctls had are kept in that nft table and given back.
  - Changes are made in an order in which no packet is lost or misrouted, also from one strategy to another. When the
    kernel refuses one of them, its own message is shown and everything is put back.
  - What would not work on the host is refused before anything changes, with the reason and the cure.
  - The policy is runtime state of the kernel, like that of C(ip rule); run the play again after a boot.
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
      - V(connmark) remembers for each connection the NIC it came in by. It needs no list of services.
      - V(mark) looks the reply's source address up in one nft map.
      - V(source) does the same with C(from) rules, without nft or sysctls; beyond 64 prefixes a network it uses
        V(mark)'s map.
      - V(static) makes a route to each client network.
      - V(vrf) puts each network into a VRF of its own; O(selector) says what tells a reply's network then. Moving an
        interface takes it down for a moment. Needs VRF in the kernel.
    type: str
    choices: [static, source, mark, connmark, vrf]
  selector:
    description: What tells the network of a reply with O(strategy=vrf); V(connmark) unless told.
    type: str
    choices: [source, mark, connmark]
  networks:
    description:
      - The networks over which services are reached, all but the one of the default route. Required with
        O(state=present).
      - "C(name) (str, required): a name of your own, 1-63 characters."
      - "C(interface), C(mac), C(subnet) or C(address) (str, exactly one): how the interface is found. A subnet is
        that of one of the interface's addresses; an address is one the interface has."
      - "C(gateways) (list of str, required): the next hop for replies, one for each address family of the network."
      - "C(table) (int 1-4294967295, or a name of rt_tables): the routing table of the network. Default is O(table_base)
        plus the network's position in the list, from 1. The kernel's tables 252-255 are refused."
      - "C(mark) (int): the packet mark of the network, within O(mark_mask). Default is the first value that is free."
      - "C(clients) (list of str): the client networks behind this one, as prefixes. Needed and used by V(static) only."
      - "C(vrf) (str): the name of the network's VRF, for V(vrf); default is C(vrf-) and the network's name, cut to 15
        characters. One of that name and table that exists is taken as it is when the interface is in it."
      - "C(onlink) (bool, default false): the gateway is reachable although no address of the interface says so."
    type: list
    elements: dict
  services:
    description:
      - The services, for the strategies V(source) and V(mark). The others need none, but check those that are given.
      - "C(network) (str, required): the name of the network that the VIPs are reached over."
      - "C(vips) (list of str, required): the service's addresses."
      - "C(backends) (list of str): the pods' addresses behind destination NAT. A reply has the pod's address when it is
        routed, because translation is undone later."
      - "C(data_path) (V(host) or V(dnat)): default is V(dnat) when there are backends, else V(host)."
      - "C(name) (str): for messages; default is the first VIP."
    type: list
    elements: dict
    default: []
  exclude:
    description:
      - Destinations that stay with table main whatever else is matched, as prefixes. Give the cluster's pod and service
        networks here with V(source) and V(mark), or traffic between pods and VIPs breaks.
    type: list
    elements: str
    default: []
  priority_base:
    description: The first priority of the block in which our rules are, 1-32765.
    type: int
    default: 3000
  priority_count:
    description: The size of that block. The policy is refused when it needs more rules.
    type: int
    default: 1000
  table_base:
    description: Networks without a C(table) get this number plus their position.
    type: int
    default: 3000
  mark_mask:
    description:
      - The bits of packet and connection marks that are ours, one run of bits; all other bits are left alone.
        As a number or as text such as V(0x00ff0000).
    type: raw
    default: '0x00ff0000'
  check_vips:
    description:
      - Refuse VIPs that are neither addresses of this host nor in an nft rule.
      - Set to V(false) for data paths in eBPF or OVS.
    type: bool
    default: true
  fallback_default:
    description:
      - On a host without a default route in table main, a reply of a local socket finds no route and is never marked.
        V(true) adds a rule of last resort (priority 33000) through the first network; the host itself can then leave by
        it too.
    type: bool
    default: false
  drain:
    description:
      - Seconds, 0-60. V(connmark) sets its mark when a request comes in; requests that are in already when it takes
        over from another strategy are answered with the old one for this long, before that is taken away.
    type: float
    default: 0.5
  zones:
    description:
      - For V(connmark). Gives each network a conntrack zone, so that two clients behind different networks may even
        have the same address and port at the same time. Without it the second of two such connections is not answered.
      - Connections that are open when this is switched on or off are looked up in another zone and start anew.
    type: bool
    default: false
  zone_base:
    description: The zone of a network is this number plus its position, 65535 at most.
    type: int
    default: 3000
seealso:
  - module: returntraffic.net.return_policy_info
  - name: Policy routing
    description: The kernel's rules and tables.
    link: https://man7.org/linux/man-pages/man8/ip-rule.8.html
  - name: rp_filter and src_valid_mark
    description: The kernel's documentation of IP sysctls.
    link: https://docs.kernel.org/networking/ip-sysctl.html
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
  sample: [{"name": "storage", "nic": "eth1", "table": 3001, "mark": "0x10000", "gateways": ["10.111.221.21"]}]
objects:
  description: Every object of the policy with the reason why it is there.
  returned: success
  type: list
  elements: dict
  sample: [{"object": "rule ipv4 3000 fwmark 0x10000/0xff0000 table 3001 protocol 201", "reason": "storage: ..."}]
changes:
  description: What was done, or in check mode would be done, in this order.
  returned: success
  type: list
  elements: str
  sample: ["add rule ipv4 3000 fwmark 0x10000/0xff0000 table 3001 protocol 201"]
findings:
  description: What preflight has to say of others' objects; each is shown as a warning too.
  returned: success
  type: list
  elements: dict
  sample: [{"level": "warning", "check": "mark", "subject": "nft ip mangle PREROUTING", "reason": "...", "cure": "..."}]
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
    'strategy': {'type': 'str', 'choices': ['static', 'source', 'mark', 'connmark', 'vrf']},
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
