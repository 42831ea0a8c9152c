#!/usr/bin/python
# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module return_policy_info: what is there, what is ours, and what of others' overlaps."""

from __future__ import annotations

DOCUMENTATION = r"""
module: return_policy_info
short_description: Show the return policy of a host, and what of others overlaps with one
version_added: 1.0.0
author: returntraffic contributors (@returntraffic)
description:
  - Reads rules, routes, nft objects and sysctls of the host and tells which of them are ours, and which of others'
    could be in the way of a policy. Nothing is changed.
extends_documentation_fragment:
  - returntraffic.net._attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
  platform:
    platforms: linux
options:
  priority_base:
    description:
      - The first priority of the block that is looked at for others' rules, from V(1) to V(32765), as in
        M(returntraffic.net.return_policy).
    type: int
    default: 3000
  priority_count:
    description: The size of that block, which must end before 32766.
    type: int
    default: 1000
  mark_mask:
    description: The mark bits that are looked at for others' use, one run of bits, as a number or as text.
    type: raw
    default: '0x00ff0000'
seealso:
  - module: returntraffic.net.return_policy
"""

EXAMPLES = r"""
- name: Look before a policy is given to a host
  returntraffic.net.return_policy_info:
  register: policy

- name: Show what others have in the way
  ansible.builtin.debug:
    var: policy.overlaps
"""

RETURN = r"""
present:
  description: Whether any object carries our tag.
  returned: success
  type: bool
  sample: true
rules:
  description: Our rules.
  returned: success
  type: list
  elements: str
  sample: ["ipv4 3000: from all fwmark 0x10000/0xff0000 lookup 3001 protocol 201"]
routes:
  description: Our routes.
  returned: success
  type: list
  elements: str
  sample: ["ipv4 table 3001: default via 10.111.221.21 dev eth1 protocol 201"]
nft:
  description: Our nft table, one line an object.
  returned: success
  type: list
  elements: str
  sample: ["nft inet returntraffic"]
sysctls_before:
  description: The values that sysctls had before the policy, by path; they are given back when it goes.
  returned: success
  type: dict
  sample: {"net/ipv4/conf/eth1/rp_filter": "0"}
interfaces:
  description: The interfaces there are, with addresses and the rp_filter in effect (the larger of all and interface).
  returned: success
  type: list
  elements: dict
  contains:
    name: {description: The interface's name., type: str}
    mac: {description: Its MAC address., type: str}
    master: {description: 'The bridge, bond or VRF that it is in, if any.', type: str}
    addresses: {description: 'Its addresses, with prefix length.', type: list, elements: str}
    rp_filter: {description: 'What is in effect for it, 0 off, 1 strict, 2 loose.', type: int}
  sample:
    - {name: eth1, mac: '02:00:00:00:00:03', master: null, addresses: [10.111.221.11/24], rp_filter: 2}
overlaps:
  description: Others' rules in the priority block, others' rules and nft statements with bits of the mask.
  returned: success
  type: list
  elements: dict
  contains:
    level: {description: Always V(warning)., type: str}
    check: {description: V(priority) or V(mark)., type: str}
    subject: {description: The object., type: str}
    reason: {description: How it overlaps., type: str}
    cure: {description: What to do about it., type: str}
  sample:
    - level: warning
      check: priority
      subject: ipv4 3005
      reason: "is inside the block 3000-3999: it is asked between our rules"
      cure: choose another priority_base
"""

from typing import Any, Dict, List

from ansible.module_utils.basic import AnsibleModule

from ..module_utils import values
from ..module_utils.errors import KernelError, PolicyError
from ..module_utils.kernel.observe import observe
from ..module_utils.nft_text import table_lines
from ..module_utils.objects import PROTOCOL, Link
from ..module_utils.observed import Observed
from ..module_utils.preflight import overlaps
from ..module_utils.text import route_text, rule_text


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            'priority_base': {'type': 'int', 'default': 3000},
            'priority_count': {'type': 'int', 'default': 1000},
            'mark_mask': {'type': 'raw', 'default': '0x00ff0000'},
        },
        supports_check_mode=True,
    )
    try:
        module.exit_json(changed=False, **_facts(module.params))
    except (PolicyError, KernelError) as error:
        module.fail_json(msg=str(error))


def _facts(parameters: Dict[str, Any]) -> Dict[str, Any]:
    base = values.integer('priority_base', parameters['priority_base'], 1, 32765)
    count = values.integer('priority_count', parameters['priority_count'], 1, 32766 - base)
    mask = values.mark_mask('mark_mask', parameters['mark_mask'])
    host = observe()
    rules = [rule_text(rule) for rule in host.rules if rule.protocol == PROTOCOL]
    routes = [route_text(route) for route in host.routes if route.protocol == PROTOCOL]
    return {
        'present': bool(rules or routes or host.nft),
        'rules': rules,
        'routes': routes,
        'nft': table_lines(host.nft),
        'sysctls_before': dict(host.nft.saved) if host.nft else {},
        'interfaces': [_interface(host, link) for link in host.links],
        'overlaps': [item._asdict() for item in overlaps(host, base, count, mask)],
    }


def _interface(host: Observed, link: Link) -> Dict[str, Any]:
    addresses: List[str] = [
        f'{item.address}/{item.prefix_length}' for item in host.addresses if item.device == link.name
    ]
    return {
        'name': link.name,
        'mac': link.mac,
        'master': link.master,
        'addresses': addresses,
        'rp_filter': host.effective_rp_filter(link.name),
    }


if __name__ == '__main__':
    main()
