#!/usr/bin/python
# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module ip_route: routes of any table, a whole list in one call."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ip_route
short_description: Manage routes of any routing table
version_added: 1.0.0
author: returntraffic contributors (@returntraffic)
description:
  - Adds, changes and deletes routes, as C(ip route) shows them, of both families and a whole list in one call.
  - Every route gets a routing protocol (O(protocol)) that says whose it is. Routes that carry another one are never
    touched; when one of them has the table, destination and metric of a wanted route, that is an error.
  - Routes are compared with the kernel's own view of them, so any way to write an address or a table is idempotent.
  - A route whose gateway (or anything but table, destination and metric) changes is replaced in one step, during
    which no packet is without it. Additions come first, deletions last.
  - If the kernel refuses a route, its message is shown with that route, and what had been changed is put back.
  - Routes are runtime state of the kernel. They do not survive a boot, nor their interface going down.
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
  routes:
    description:
      - The routes, in any order.
      - The kernel keeps routes apart by family, table, destination and metric; an entry for each of them.
    type: list
    elements: dict
    required: true
    suboptions:
      destination:
        description: Prefix or address, without host bits, or V(default).
        type: str
        required: true
      family:
        description:
          - Family of the route. Only needed for V(default) where neither O(routes[].gateway) nor O(routes[].source)
            tell it; otherwise O(family) is the default.
          - V(both) makes one route a family, and is only for entries without addresses.
        type: str
        choices: [ipv4, ipv6, both]
      table:
        description: Routing table by number or name.
        type: raw
        default: main
      gateway:
        description:
          - Address of the next router. An IPv4 route may have an IPv6 one.
          - With O(state=absent), a route is deleted only if it has this gateway (and O(routes[].device)), if given.
        type: str
      device:
        description: Name of the interface to send by. The kernel finds it by the gateway if there is one.
        type: str
      metric:
        description:
          - Preference among routes of one destination, V(0) to V(4294967295), lower is better. V(0) means V(1024) for
            IPv6.
        type: int
        default: 0
      source:
        description: Address of this host that its own packets prefer on this route.
        type: str
      mtu:
        description: Path MTU of the route in bytes, up to V(65520), from V(68) for IPv4 and from V(1280) for IPv6.
        type: int
      advmss:
        description:
          - TCP segment size in bytes that connections by this route advertise, from V(1) to V(65495).
          - Without it the kernel takes it from the MTU.
        type: int
      type:
        description: Kind of route. V(blackhole), V(unreachable), V(prohibit) and V(throw) lead nowhere.
        type: str
        choices: [unicast, local, broadcast, blackhole, unreachable, prohibit, throw]
        default: unicast
      onlink:
        description: Take the gateway as a neighbour on O(routes[].device) although no route says so.
        type: bool
        default: false
      next_hops:
        description: Several ways at once, among which flows are spread, in the place of gateway and device.
        type: list
        elements: dict
        suboptions:
          gateway:
            description: Address of the next router.
            type: str
          device:
            description: Name of the interface.
            type: str
          weight:
            description: Share of this way, from V(1) to V(256).
            type: int
            default: 1
          onlink:
            description: As in O(routes[].onlink).
            type: bool
            default: false
  state:
    description:
      - V(present) makes every listed route exist.
      - V(absent) deletes the listed routes, known by table, destination, metric and type, and by next hops if given.
        One that is not there is no error.
    type: str
    choices: [present, absent]
    default: present
  purge:
    description:
      - Also delete all other routes that carry O(protocol). Routes of other protocols are not touched.
      - Only with O(state=present).
    type: bool
    default: false
  tables:
    description: Purge only these tables (by number or name).
    type: list
    elements: raw
  protocol:
    description:
      - Routing protocol that the routes carry, and by which they are known again.
      - From V(19) to V(255), without those of routing daemons (42, 84, 99, 186-198), which sweep theirs away, and
        without that of M(returntraffic.net.return_policy), 201.
    type: int
    default: 202
  family:
    description: Family of default routes that neither say one nor have an address.
    type: str
    choices: [ipv4, ipv6, both]
    default: ipv4
seealso:
  - module: returntraffic.net.ip_rule
  - module: returntraffic.net.return_policy
  - name: ip-route(8)
    description: What the keys mean to the kernel.
    link: https://man7.org/linux/man-pages/man8/ip-route.8.html
"""

EXAMPLES = r"""
- name: A table that leads back to the storage network, and nowhere else when its interface is down
  returntraffic.net.ip_route:
    routes:
      - destination: default
        gateway: 10.111.221.21
        device: eth1
        table: 3001
      - destination: default
        type: unreachable
        metric: 4278198272
        table: 3001
        family: both

- name: Spread over two routers, three flows of four by the first
  returntraffic.net.ip_route:
    routes:
      - destination: fd00:10:111:223::/64
        next_hops:
          - gateway: fd00:10:111:221::21
            weight: 3
          - gateway: fd00:10:111:222::21

- name: Have exactly these routes of ours in table 3001
  returntraffic.net.ip_route:
    purge: true
    tables: [3001]
    routes:
      - destination: 10.111.223.0/24
        gateway: 10.111.221.21
        table: 3001

- name: Delete a route, whatever its gateway is
  returntraffic.net.ip_route:
    state: absent
    routes:
      - destination: 10.111.223.0/24
        table: 3001
"""

RETURN = r"""
added:
  description: The routes that were added (in check mode, would be), by family, table and destination.
  returned: success
  type: list
  elements: str
  sample: ["ipv4 table 3001: default via 10.111.221.21 dev eth1 protocol 202"]
removed:
  description: The routes that were deleted (in check mode, would be), by family, table and destination.
  returned: success
  type: list
  elements: str
  sample: []
replaced:
  description: The routes that were changed in place (in check mode, would be).
  returned: success
  type: list
  elements: dict
  contains:
    before:
      description: The route that was there.
      type: str
    after:
      description: The route that is there now.
      type: str
  sample: []
"""

import gc
from typing import Any, Dict

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.errors import KernelError, PolicyError
from ..module_utils.list_spec import short_invocation
from ..module_utils.route_list import ensure_routes

#: Entries of `routes` have no options here: parse_routes checks ten thousand of them while Ansible checks a hundred.
_ARGUMENTS: Dict[str, Dict[str, Any]] = {
    'routes': {'type': 'list', 'elements': 'dict', 'required': True},
    'state': {'type': 'str', 'choices': ['present', 'absent'], 'default': 'present'},
    'purge': {'type': 'bool', 'default': False},
    'tables': {'type': 'list', 'elements': 'raw'},
    'protocol': {'type': 'int', 'default': 202},
    'family': {'type': 'str', 'choices': ['ipv4', 'ipv6', 'both'], 'default': 'ipv4'},
}


def main() -> None:
    gc.disable()  # the process lives for one call; with ten thousand entries collections are a quarter of its time
    module = AnsibleModule(argument_spec=_ARGUMENTS, supports_check_mode=True)
    try:
        result = ensure_routes(module.params, module.check_mode, module._diff)
    except (PolicyError, KernelError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result, invocation=short_invocation(module.params, 'routes'))


if __name__ == '__main__':
    main()
