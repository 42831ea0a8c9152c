#!/usr/bin/python
# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module ip_rule: policy routing rules, a whole list in one call."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ip_rule
short_description: Manage policy routing rules
version_added: 1.0.0
author: returntraffic contributors (@returntraffic)
description:
  - Adds and deletes rules of the routing policy database, as C(ip rule) shows them, of both families and a whole list
    in one call.
  - Every rule gets a routing protocol (O(protocol)) that says whose it is. Rules that carry another one are never
    touched, whatever they look like.
  - Rules are compared with the kernel's own view of them, so any way to write an address, a mark or a table is
    idempotent.
  - All rules that are missing are added before one is deleted. If the kernel refuses one, its message is shown with
    that rule, and what had been changed is put back.
  - Rules are runtime state of the kernel and do not survive a boot.
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
options:
  rules:
    description:
      - The rules, in any order; O(rules[].priority) says which the kernel looks at first.
      - Entries that mean the same rule count once.
    type: list
    elements: dict
    required: true
    suboptions:
      priority:
        description: Place of the rule among all, from V(0) (looked at first) to V(4294967295).
        type: int
        required: true
      action:
        description:
          - What the kernel does with a packet that the rule selects.
          - The default is V(goto) for a rule with O(rules[].goto) and V(to-table) for all others.
        type: str
        choices: [to-table, goto, nop, blackhole, prohibit, unreachable]
      family:
        description:
          - Family of the rule. Not needed where O(rules[].from) or O(rules[].to) tell it; otherwise O(family) is the
            default.
          - V(both) makes one rule a family, and is only for rules without addresses.
        type: str
        choices: [ipv4, ipv6, both]
      from:
        description:
          - Source address or prefix of the packet, without host bits. A prefix of length 0 selects all.
          - Not that of another family than O(rules[].to).
        type: str
      to:
        description: Destination address or prefix of the packet, without host bits. A prefix of length 0 selects all.
        type: str
      fwmark:
        description: Mark of the packet, a number such as V(16) or V(0x10), or mark and mask such as V(0x10/0xff).
        type: raw
      fwmask:
        description:
          - Bits of the mark that count, V(1) to V(0xffffffff), unless O(rules[].fwmark) says it already. All of them by
            default. The mark may have no bit outside.
        type: raw
      iif:
        description: Name of the interface that the packet came in by; V(lo) for the host's own packets.
        type: str
      oif:
        description: Name of the interface that a local socket is bound to.
        type: str
      invert:
        description: Select the packets that do B(not) match.
        type: bool
        default: false
      ipproto:
        description:
          - IP protocol of the packet, V(1) to V(255), or one of V(icmp), V(igmp), V(tcp), V(udp), V(dccp), V(gre),
            V(esp), V(ah), V(icmpv6), V(sctp), V(udplite).
        type: raw
      sport:
        description: Source port of the packet, V(1) to V(65534), or a range such as V(1000-2000), both ends included.
        type: raw
      dport:
        description: Destination port of the packet, V(1) to V(65534), or a range such as V(1000-2000).
        type: raw
      tos:
        description: Type of service field of the packet, V(1) to V(255).
        type: raw
      uid:
        description: User id of the socket's owner, V(0) to V(4294967294), or a range such as V(1000-2000).
        type: raw
      suppress_prefixlength:
        description:
          - Reject a route found in the table whose prefix has this length or a shorter one, and go on with the next
            rule. V(0) to V(32), for IPv6 to V(128). V(0) rejects default routes.
        type: int
      table:
        description: Routing table by number or name. Required for V(to-table) unless O(rules[].l3mdev) is set.
        type: raw
      l3mdev:
        description: Look up the table of the VRF that the packet belongs to. Not together with O(rules[].table).
        type: bool
        default: false
      goto:
        description: Priority of the rule to go on with; must be higher than this rule's own.
        type: int
  state:
    description:
      - V(present) makes every listed rule exist.
      - V(absent) deletes the listed rules, each exactly as it is described. One that is not there is no error.
    type: str
    choices: [present, absent]
    default: present
  purge:
    description:
      - Also delete all other rules that carry O(protocol). Rules of other protocols are not touched.
      - Only with O(state=present).
    type: bool
    default: false
  tables:
    description: Purge only rules that look up these tables (by number or name).
    type: list
    elements: raw
  priorities:
    description: Purge only rules with these priorities, numbers or ranges such as V(3000-3999).
    type: list
    elements: raw
  protocol:
    description:
      - Routing protocol that the rules carry, and by which they are known again.
      - From V(19) to V(255), without those of routing daemons (42, 84, 99, 186-198), which sweep theirs away, and
        without that of M(returntraffic.net.return_policy), 201.
    type: int
    default: 202
  family:
    description: Family of rules that neither say one nor have an address.
    type: str
    choices: [ipv4, ipv6, both]
    default: ipv4
seealso:
  - module: returntraffic.net.ip_route
  - module: returntraffic.net.return_policy
  - name: ip-rule(8)
    description: What the keys mean to the kernel.
    link: https://man7.org/linux/man-pages/man8/ip-rule.8.html
"""

EXAMPLES = r"""
- name: Send replies of two services out by their own tables
  returntraffic.net.ip_rule:
    rules:
      - priority: 3000
        from: 192.168.1.1
        table: 3001
      - priority: 3001
        from: fd00:192:168:2::1
        table: storage

- name: Have exactly these rules of ours, in the priorities that are ours
  returntraffic.net.ip_rule:
    purge: true
    priorities: [3000-3999]
    rules:
      - priority: 3000
        fwmark: 0x10000/0xff0000
        family: both
        table: 3001
      - priority: 3010
        to: 10.244.0.0/16
        table: main

- name: Delete one rule
  returntraffic.net.ip_rule:
    state: absent
    rules:
      - priority: 3010
        to: 10.244.0.0/16
        table: main

- name: Delete all rules that carry our protocol
  returntraffic.net.ip_rule:
    purge: true
    rules: []
"""

RETURN = r"""
added:
  description: The rules that were added (in check mode, would be), by family and priority.
  returned: success
  type: list
  elements: str
  sample: ["ipv4 3000: from 192.168.1.1/32 lookup 3001 protocol 202"]
removed:
  description: The rules that were deleted (in check mode, would be), by family and priority.
  returned: success
  type: list
  elements: str
  sample: []
"""

import gc
from typing import Any, Dict

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.errors import KernelError, PolicyError
from ..module_utils.list_spec import short_invocation
from ..module_utils.rule_list import ensure_rules

#: Entries of `rules` have no options here: parse_rules checks ten thousand of them while Ansible checks a hundred.
_ARGUMENTS: Dict[str, Dict[str, Any]] = {
    'rules': {'type': 'list', 'elements': 'dict', 'required': True},
    'state': {'type': 'str', 'choices': ['present', 'absent'], 'default': 'present'},
    'purge': {'type': 'bool', 'default': False},
    'tables': {'type': 'list', 'elements': 'raw'},
    'priorities': {'type': 'list', 'elements': 'raw'},
    'protocol': {'type': 'int', 'default': 202},
    'family': {'type': 'str', 'choices': ['ipv4', 'ipv6', 'both'], 'default': 'ipv4'},
}


def main() -> None:
    gc.disable()  # the process lives for one call; with ten thousand entries collections are a quarter of its time
    module = AnsibleModule(argument_spec=_ARGUMENTS, supports_check_mode=True)
    try:
        result = ensure_rules(module.params, module.check_mode, module._diff)
    except (PolicyError, KernelError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result, invocation=short_invocation(module.params, 'rules'))


if __name__ == '__main__':
    main()
