#!/usr/bin/python
# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: container_nics
short_description: Make the NICs of a container those of a lab's host
version_added: 1.1.0
description:
  - Runs in a container that Docker has attached to the networks of a lab, and does what Docker cannot be told.
    Docker numbers NICs as it likes, gives their addresses the prefix length of the network, and sets a default route.
  - Finds each NIC by its address, whatever it is called, and gives it name, MAC, MTU and addresses;
    gives C(lo) its addresses; removes the default routes that Docker has set.
  - Changes only differences, and returns when every address can be used.
  - NICs that are not in the list stay as they are, but for a name that a NIC of the list is to have.
extends_documentation_fragment:
  - returntraffic.net._attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
requirements:
  - C(ip) of iproute2
  - CAP_NET_ADMIN in the network namespace
options:
  lab:
    description: Name of the lab, as O(returntraffic.net.netns_lab#module:name).
    type: str
    required: true
  networks:
    description: The networks of the lab, as O(returntraffic.net.netns_lab#module:networks).
    type: list
    elements: dict
    required: true
  host:
    description:
      - The host that the container is, as an element of O(returntraffic.net.netns_lab#module:hosts).
      - Its settings are compared and not written, as a container has got them at its creation. One that differs is an
        error.
    type: dict
    required: true
seealso:
  - module: returntraffic.net.docker_lab_info
author:
  - returntraffic contributors (@returntraffic)
"""

EXAMPLES = r"""
- name: Have the NICs that the inventory says
  returntraffic.net.container_nics:
    lab: rt
    networks:
      - {name: network0, prefixes: [10.111.220.0/24]}
    host:
      name: gateway
      interfaces:
        - {name: eth0, network: network0, addresses: [10.111.220.1/24]}
"""

RETURN = r"""
changes:
  description: What was done, as lines for C(ip). In check mode the first lines; others may follow from them.
  returned: success
  type: list
  elements: str
  sample: ['link set dev eth2 name nic1', 'address add 192.168.1.1/32 dev lo']
"""

import json
import time
from typing import Any, Dict, List, Mapping, Tuple

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.errors import KernelError, PolicyError
from ..module_utils.kernel.sysctls import read_sysctls
from ..module_utils.lab.attached import Default, duplicate_lines, parse_defaults, plan_attached, unequal_settings
from ..module_utils.lab.iproute import Iproute
from ..module_utils.lab.state import Seen, parse_links
from ..module_utils.lab.topology import Topology, parse_topology

_ARGUMENTS = {
    'lab': {'type': 'str', 'required': True},
    'networks': {'type': 'list', 'elements': 'dict', 'required': True},
    'host': {'type': 'dict', 'required': True},
}
#: Names, then the rest, then what a renamed NIC lost while it was down.
_ROUNDS = 5
#: Seconds until every NIC must have its carrier and its addresses; it takes milliseconds.
_READY_WITHIN = 10.0
_POLL = 0.05


def main() -> None:
    """Ansible's entry point."""
    module = AnsibleModule(argument_spec=_ARGUMENTS, supports_check_mode=True)
    try:
        module.exit_json(**_run(module.params, module.check_mode))
    except (PolicyError, KernelError) as error:
        module.fail_json(msg=str(error))


def _run(params: Mapping[str, Any], check: bool) -> Dict[str, Any]:
    host = params['host']
    topology = parse_topology({'name': params['lab'], 'networks': params['networks'], 'hosts': [host]})
    ip = Iproute()
    seen, defaults = _observe(topology, ip)
    _check_settings(topology, seen)
    changes = _next(topology, ip) if check else _build(topology, ip)
    before = _text(seen, defaults)
    after = before if check or not changes else _text(*_observe(topology, ip))
    return {'changed': bool(changes), 'changes': changes, 'diff': {'before': before, 'after': after}}


def _observe(topology: Topology, ip: Iproute) -> Tuple[Seen, List[Default]]:
    (host,) = topology.hosts
    settings = {path: ' '.join(text.split()) for path, text in read_sysctls(host.sysctls).items()}
    links = parse_links(json.loads(ip.show('-j', '-d', 'address', 'show') or '[]'))
    defaults: List[Default] = []
    for family in ('ipv4', 'ipv6'):
        text = ip.show('-j', f'-{family[-1]}', 'route', 'show', 'default')
        defaults += parse_defaults(family, json.loads(text or '[]'))
    return Seen(links, settings), defaults


def _check_settings(topology: Topology, seen: Seen) -> None:
    unequal = unequal_settings(topology.hosts[0], seen)
    if unequal:
        reason = 'a container gets its settings at its creation; remove it, the next run makes it anew'
        raise PolicyError('sysctls', '; '.join(unequal), reason)


def _next(topology: Topology, ip: Iproute) -> List[str]:
    return list(plan_attached(topology, *_observe(topology, ip)))


def _build(topology: Topology, ip: Iproute) -> List[str]:
    done: List[str] = []
    for _round in range(_ROUNDS):
        lines = _next(topology, ip)
        if not lines:
            _wait(topology, ip)
            return done
        ip.batch(lines)
        done += lines
    raise KernelError('build', topology.hosts[0].name, f'does not keep: {"; ".join(lines[:5])}')


def _wait(topology: Topology, ip: Iproute) -> None:
    """The kernel reports carrier a moment after `up`."""
    names = [nic.name for nic in topology.hosts[0].interfaces]
    deadline = time.monotonic() + _READY_WITHIN
    waiting = names
    while waiting:
        ip.batch(duplicate_lines(json.loads(ip.show('-j', 'address', 'show') or '[]')))
        links = _observe(topology, ip)[0].links
        waiting = [name for name in names if not links[name].ready]
        if waiting and time.monotonic() > deadline:
            reason = f'no carrier, or an address that somebody else has, after {_READY_WITHIN:.0f} s'
            raise KernelError('wait for', ', '.join(waiting), reason)
        time.sleep(_POLL if waiting else 0)


def _text(seen: Seen, defaults: List[Default]) -> str:
    links = {
        name: {'mac': link.mac, 'mtu': link.mtu, 'up': link.up, 'addresses': sorted(link.addresses)}
        for name, link in seen.links.items()
    }
    routes = [f'default via {route.gateway} dev {route.device}' for route in defaults]
    return json.dumps({'links': links, 'defaults': routes}, indent=1, sort_keys=True) + '\n'


if __name__ == '__main__':
    main()
