#!/usr/bin/python
# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module return_flows: a client asks services, all at once, and says what it got."""

from __future__ import annotations

DOCUMENTATION = r"""
module: return_flows
short_description: Fire test flows from a client at the VIPs of services
version_added: 1.0.0
author: returntraffic contributors (@returntraffic)
description:
  - Fires every flow of O(targets) that O(client) has a part in, all at the same time, each from its own source port,
    and returns what came of each. M(returntraffic.net.return_proof) judges by that.
  - Nothing is changed, so V(changed) is always false. In check mode nothing is fired.
extends_documentation_fragment:
  - returntraffic.net._attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: N/A
    details: Each call fires its flows.
  platform:
    platforms: linux
requirements:
  - python >= 3.8
  - For kind V(icmp), CAP_NET_RAW, or a group within C(net.ipv4.ping_group_range)
options:
  client:
    description: The name of this client in the results and in RV(answers[].client).
    type: str
    required: true
  targets:
    description: What to ask. Each target becomes a flow for each of its addresses and each of its flows.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: What the results call the target.
        type: str
        required: true
      addresses:
        description: The VIP's addresses, of one or both families.
        type: list
        elements: str
        required: true
      clients:
        description: Names of the clients that ask it. Without this all do.
        type: list
        elements: str
        default: []
      flows:
        description: The ways to ask it.
        type: list
        elements: dict
        required: true
        suboptions:
          kind:
            description:
              - V(tcp) connects and has a payload echoed, V(udp) has a datagram echoed, V(icmp) is one echo request.
              - V(tcp_closed) is answered by a reset, V(udp_closed) by an ICMP port unreachable.
              - V(pmtu) has 60 kB echoed over TCP, so that the path's MTU must be found.
            type: str
            choices: [tcp, udp, icmp, tcp_closed, udp_closed, pmtu]
            required: true
          port:
            description: Port of the service (1 to 65535). Every kind but V(icmp) needs it.
            type: int
            default: 0
          path:
            description: How the service stands behind the VIP, a socket of the host or DNAT. The report shows it.
            type: str
            choices: [host, dnat]
            default: host
          expect:
            description:
              - V(echo), the payload comes back. V(any), some octets do. V(connect), the TCP handshake is enough.
            type: str
            choices: [echo, any, connect]
            default: echo
          payload:
            description: What is sent. By default some random text, for V(pmtu) repeated to 60 kB.
            type: str
            default: ''
          source:
            description: An address of the client to send from. The flow then is only for addresses of its family.
            type: str
          timeout:
            description: Seconds for this flow instead of O(timeout).
            type: float
          count:
            description: How many times (1 to 10000), each from its own source port.
            type: int
            default: 1
  timeout:
    description:
      - Seconds that each flow has, above 0 and at most 60. The kernel repeats a lost SYN and an unanswered neighbour
        solicitation after one second, so that less than that fails what only needed its second try.
    type: float
    default: 1.3
  at_once:
    description:
      - How many flows are under way at the same time, from 1 to 1000; one that ends makes room for the next. Fewer for
        a host that cannot take as many new connections a second.
      - The file descriptors of the process must suffice, 1024 as a rule.
    type: int
    default: 256
    version_added: 1.1.0
seealso:
  - module: returntraffic.net.return_capture
  - module: returntraffic.net.return_proof
"""

EXAMPLES = r"""
- name: Ask a service by both families
  returntraffic.net.return_flows:
    client: client1
    targets:
      - name: vip1
        addresses: [192.168.1.1, 'fd00:192:168:1::1']
        flows:
          - {kind: tcp, port: 8080}
          - {kind: udp, port: 8080}
          - {kind: tcp, port: 9080, path: dnat}
  register: fired
"""

RETURN = r"""
answers:
  description: What came of each flow, in the order of the targets, addresses and flows.
  returned: always but in check mode
  type: list
  elements: dict
  contains:
    client: {description: The client., type: str, returned: always}
    target: {description: The target's name., type: str, returned: always}
    vip: {description: The address that was asked., type: str, returned: always}
    family: {description: V(ipv4) or V(ipv6)., type: str, returned: always}
    kind: {description: The flow's kind., type: str, returned: always}
    path: {description: The flow's path., type: str, returned: always}
    port: {description: The VIP's port., type: int, returned: always}
    local_address: {description: The address that the client sent from., type: str, returned: always}
    local_port: {description: 'The port that the client sent from, 0 with V(icmp).', type: int, returned: always}
    icmp_id: {description: 'The identifier of the echo request, -1 with other kinds.', type: int, returned: always}
    sent: {description: Whether the client could send at all., type: bool, returned: always}
    answered: {description: Whether the answer that the kind wants came., type: bool, returned: always}
    detail: {description: What happened., type: str, returned: always}
    rtt_ms: {description: Milliseconds from sending to the end of the flow., type: float, returned: always}
"""

from typing import Any, Dict

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.errors import PolicyError
from ..module_utils.proof.flows import MOST_AT_ONCE, fire
from ..module_utils.proof.spec import EXPECTATIONS, KINDS, PATHS, TIMEOUT, expand
from ..module_utils.values import integer

FLOW = {
    'kind': {'type': 'str', 'choices': list(KINDS), 'required': True},
    'port': {'type': 'int', 'default': 0},
    'path': {'type': 'str', 'choices': list(PATHS), 'default': 'host'},
    'expect': {'type': 'str', 'choices': list(EXPECTATIONS), 'default': 'echo'},
    'payload': {'type': 'str', 'default': ''},
    'source': {'type': 'str'},
    'timeout': {'type': 'float'},
    'count': {'type': 'int', 'default': 1},
}
TARGET = {
    'name': {'type': 'str', 'required': True},
    'addresses': {'type': 'list', 'elements': 'str', 'required': True},
    'clients': {'type': 'list', 'elements': 'str', 'default': []},
    'flows': {'type': 'list', 'elements': 'dict', 'required': True, 'options': FLOW},
}
ARGUMENTS = {
    'client': {'type': 'str', 'required': True},
    'targets': {'type': 'list', 'elements': 'dict', 'required': True, 'options': TARGET},
    'timeout': {'type': 'float', 'default': TIMEOUT},
    'at_once': {'type': 'int', 'default': MOST_AT_ONCE},
}


def run(options: Dict[str, Any], check_mode: bool) -> Dict[str, Any]:
    """The module's results; PolicyError when a flow is not well-formed."""
    at_once = integer('at_once', options['at_once'], 1, 1000)
    flows = expand(options['client'], options['targets'], options['timeout'])
    if check_mode:
        return {'skipped': True, 'msg': f'{len(flows)} flows are not fired in check mode'}
    return {'answers': [answer._asdict() for answer in fire(flows, at_once)]}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    try:
        results = run(module.params, module.check_mode)
    except PolicyError as problem:
        module.fail_json(msg=str(problem))
    module.exit_json(changed=False, **results)


if __name__ == '__main__':
    main()
