#!/usr/bin/python
# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: netns_lab
short_description: Build a whole lab of network namespaces in one call, or remove it
version_added: 1.0.0
description:
  - Makes each host of a lab a network namespace C(<name>-<host>) and each network a bridge
    in the namespace C(<name>-switch).
    Nothing is put into the machine's own network namespace.
  - Compares with what is there and changes only differences. A missing NIC, address or setting is mended,
    a namespace that is as it should be is not touched. Routes, firewall tables and processes are left alone.
  - Returns when every NIC has its carrier and every address can be used, so no first packet is lost.
  - Run by root, the namespaces are in C(/run/netns) and C(ip netns exec) finds them.
    Run by another user, the lab lives in one user namespace of that user, kept by a process of its own,
    in which the user is root. P(returntraffic.net.netns#connection) reaches both.
  - NICs that are not plugged into the lab's switch, such as VRF devices made in a host, are nobody's and stay.
extends_documentation_fragment:
  - returntraffic.net._attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  name:
    description:
      - Name of the lab. Labs of different names can be up at the same time.
      - A letter, then up to 31 letters, digits and underscores.
    type: str
    default: rt
  state:
    description:
      - V(present) makes the lab as described.
      - V(absent) ends the processes that live in the lab's namespaces, found by the namespace and not by name,
        and removes everything.
    type: str
    choices: [present, absent]
    default: present
  networks:
    description:
      - The layer 2 networks. Required with O(state=present).
    type: list
    elements: dict
    suboptions:
      name:
        description: Name of the network and of its bridge. At most 15 characters.
        type: str
        required: true
      prefixes:
        description:
          - Prefixes in use on the network. If given, an address that is in none of them is an error.
        type: list
        elements: str
  hosts:
    description:
      - The hosts. Required with O(state=present).
    type: list
    elements: dict
    suboptions:
      name:
        description: Name of the host. V(switch) is taken.
        type: str
        required: true
      interfaces:
        description: The NICs. A NIC of the lab that is not in the list is removed.
        type: list
        elements: dict
        suboptions:
          name:
            description: Name of the NIC in the host. At most 15 characters.
            type: str
            required: true
          network:
            description: The network that it is plugged into, one of O(networks[].name).
            type: str
            required: true
          addresses:
            description: Addresses with prefix length, of both families. Others are removed from the NIC.
            type: list
            elements: str
          mtu:
            description:
              - MTU in bytes, 68 to 65521; at least 1280 with IPv6 addresses.
              - The end of the cable at the switch gets the same.
            type: int
            default: 1500
          mac:
            description:
              - MAC address. Without it one is derived from lab, host and NIC, so a NIC that is made anew keeps it.
            type: str
      loopback_addresses:
        description: Addresses of C(lo), such as VIPs. Without a prefix length they are of full length.
        type: list
        elements: str
      sysctls:
        description:
          - Kernel settings below C(net.), written before the NICs are made (C(net.ipv4.conf.default) counts for them),
            and after it if they name a NIC.
          - A new namespace takes some settings over from the machine, so a lab that should behave the same everywhere
            sets what it relies on.
          - Settings that reset others, such as C(net.ipv4.ip_forward), are written first.
        type: dict
notes:
  - Needs C(ip) of iproute2 on the target, for the connection plugin C(nsenter) of util-linux.
  - If unprivileged user namespaces are forbidden, the error names the kernel setting that does so and its value.
seealso:
  - plugin: returntraffic.net.netns
    plugin_type: connection
author:
  - returntraffic contributors (@returntraffic)
"""

EXAMPLES = r"""
- name: Two hosts on one network
  returntraffic.net.netns_lab:
    name: pair
    networks:
      - name: blue
        prefixes: [10.0.0.0/24, fd00::/64]
    hosts:
      - name: left
        sysctls:
          net.ipv6.conf.all.accept_dad: 0
          net.ipv6.conf.default.accept_dad: 0
        interfaces:
          - {name: eth0, network: blue, addresses: [10.0.0.1/24, 'fd00::1/64']}
      - name: right
        interfaces:
          - {name: eth0, network: blue, addresses: [10.0.0.2/24, 'fd00::2/64']}

- name: Remove it again
  returntraffic.net.netns_lab:
    name: pair
    state: absent
"""

RETURN = r"""
up:
  description: Whether the lab is up after the call. In check mode, whether it is up now.
  returned: success
  type: bool
  sample: true
rootless:
  description: Whether it is a lab in the user namespace of an unprivileged user.
  returned: success
  type: bool
  sample: false
hosts:
  description: The hosts that can be entered after the call. In check mode, those that can be now.
  returned: success
  type: list
  elements: str
  sample: [client1, node]
namespaces:
  description: Names of the lab's namespaces after the call (in check mode, as they are).
  returned: success
  type: list
  elements: str
  sample: [rt-client1, rt-node, rt-switch]
changes:
  description: What was done, or would be done in check mode, in words.
  returned: success
  type: list
  elements: str
  sample: ['node: address add 10.111.221.11/24 dev eth1']
"""

import json
import os
from typing import Any, Dict, Iterable, Mapping, Optional, Sequence

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.errors import KernelError, PolicyError
from ..module_utils.lab import build, holder, naming, observe, records, state
from ..module_utils.lab.iproute import Iproute
from ..module_utils.lab.plan import plan_lab
from ..module_utils.lab.topology import Topology, parse_topology

_INTERFACE = {
    'name': {'type': 'str', 'required': True},
    'network': {'type': 'str', 'required': True},
    'addresses': {'type': 'list', 'elements': 'str'},
    'mtu': {'type': 'int', 'default': 1500},
    'mac': {'type': 'str'},
}
_NETWORK = {'name': {'type': 'str', 'required': True}, 'prefixes': {'type': 'list', 'elements': 'str'}}
_HOST = {
    'name': {'type': 'str', 'required': True},
    'interfaces': {'type': 'list', 'elements': 'dict', 'options': _INTERFACE},
    'loopback_addresses': {'type': 'list', 'elements': 'str'},
    'sysctls': {'type': 'dict'},
}
_ARGUMENTS = {
    'name': {'type': 'str', 'default': 'rt'},
    'state': {'type': 'str', 'choices': ['present', 'absent'], 'default': 'present'},
    'networks': {'type': 'list', 'elements': 'dict', 'options': _NETWORK},
    'hosts': {'type': 'list', 'elements': 'dict', 'options': _HOST},
}

Result = Dict[str, Any]
State = Mapping[str, Any]


def main() -> None:
    """Ansible's entry point."""
    module = AnsibleModule(
        argument_spec=_ARGUMENTS,
        required_if=[('state', 'present', ('networks', 'hosts'))],
        supports_check_mode=True,
    )
    try:
        module.exit_json(**_run(module.params, module.check_mode))
    except (PolicyError, KernelError) as error:
        module.fail_json(msg=str(error))


def _run(params: Mapping[str, Any], check: bool) -> Result:
    lab = naming.lab_name('name', params['name'])
    rootless = os.geteuid() != 0
    if params['state'] == 'present':
        topology = parse_topology({key: params[key] for key in ('name', 'networks', 'hosts')})
        result = _present_rootless(topology, check) if rootless else _present(topology, check)
    else:
        result = _absent_rootless(lab, check) if rootless else _absent(lab, check)
    names = sorted(naming.namespace(lab, host) for host in result['hosts'])
    hosts = sorted(host for host in result['hosts'] if host != naming.SWITCH)
    return {**result, 'rootless': rootless, 'namespaces': names, 'hosts': hosts, 'up': bool(hosts)}


def _present_rootless(topology: Topology, check: bool) -> Result:
    found = records.find(topology.name, os.getuid(), os.environ)
    if found is None and check:
        holder.probe()
        return _result(plan_lab(topology, {}).changes, {}, _wanted(topology), ())
    holder.enter(found or holder.start(topology.name))
    return _present(topology, check)


def _present(topology: Topology, check: bool) -> Result:
    ip = Iproute()
    seen = observe.observe(topology.name, ip, observe.settings_of_interest(topology))
    changes = plan_lab(topology, seen).changes
    before = _shown(seen)
    if changes and not check:
        seen = build.build(topology, ip, seen)
    return _result(changes, before, _wanted(topology), seen)


def _absent(lab: str, check: bool) -> Result:
    ip = Iproute()
    seen = observe.observe(lab, ip, {})
    if seen and not check:
        build.remove_lab(lab, ip)
    changes = [f'remove namespace {host}' for host in sorted(seen)]
    return _result(changes, _shown(seen), {}, seen if check else ())


def _absent_rootless(lab: str, check: bool) -> Result:
    found = records.find(lab, os.getuid(), os.environ)
    if found is None:
        return _result([], {}, {}, ())
    hosts = records.hosts(found, lab)
    if not check:
        holder.stop(found)
    changes = [*(f'remove namespace {host}' for host in hosts), 'end the holder of the lab']
    return _result(changes, {'hosts': hosts}, {}, hosts if check else ())


def _wanted(topology: Topology) -> State:
    networks = tuple(network.name for network in topology.networks)
    return state.shown(networks, state.desired_hosts(topology))


def _shown(seen: Mapping[str, state.Seen]) -> State:
    switch: Optional[state.Seen] = seen.get(naming.SWITCH)
    hosts = {name: state.observed_host(item, switch) for name, item in seen.items() if name != naming.SWITCH}
    return state.shown(state.bridges(switch), hosts) if seen else {}


def _result(changes: Sequence[str], before: State, after: State, hosts: Iterable[str]) -> Result:
    """before stays as it is when nothing changes, so that a diff without changes is empty."""
    return {
        'changed': bool(changes),
        'changes': list(changes),
        'hosts': list(hosts),
        'diff': {'before': _text(before), 'after': _text(after if changes else before)},
    }


def _text(value: State) -> str:
    return json.dumps(value, indent=1, sort_keys=True) + '\n' if value else ''


if __name__ == '__main__':
    main()
