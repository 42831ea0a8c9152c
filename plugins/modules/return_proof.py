#!/usr/bin/python
# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin return_proof, which does its work on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: return_proof
short_description: Judge by packets whether replies left by the NIC their requests came in by
version_added: 1.0.0
author: returntraffic contributors (@returntraffic)
description:
  - Judges the flows of M(returntraffic.net.return_flows) by the packets of M(returntraffic.net.return_capture).
    Runs on the controller and needs no connection.
  - A flow is V(PASS) only if its client was answered and every reply packet, resets and ICMP errors too, left by the
    one NIC that the request came in by. It is V(INCOMPLETE) if that cannot be known, as the capture lost packets, the
    client could not send, or the request never reached the node. Anything else is V(FAIL).
  - The NIC is the device that has the network, so for bridges and bonds these, not their ports; for a VLAN that, not
    the device below; for a VRF the enslaved device, not the VRF.
  - Writes a report if O(path) is given, and changes nothing else. V(changed) is always false.
extends_documentation_fragment:
  - returntraffic.net._attributes
attributes:
  check_mode:
    support: full
    details: Judges what it is given, and is skipped when nothing was fired. Writes no report.
  diff_mode:
    support: none
  idempotent:
    support: N/A
    details: Each call judges what it is given.
  platform:
    platforms: posix
options:
  answers:
    description: All clients' RV(returntraffic.net.return_flows#module:answers) in one list.
    type: list
    elements: dict
    required: true
  captured:
    description:
      - The result of M(returntraffic.net.return_capture) with V(stopped), of the node that has the VIPs.
      - Exactly one of O(captured) and O(captures) is required.
    type: dict
  captures:
    description:
      - Such results of several nodes that share the VIPs, by the nodes' names. Their NICs are then called
        C(node nic), and their clocks have to agree.
    type: dict
    version_added: 1.1.0
  clients:
    description: Names of clients that must have fired at least one flow each, so that none is missed unseen.
    type: list
    elements: str
    default: []
  label:
    description: What the report and the table are titled.
    type: str
    default: ''
  expect:
    description:
      - V(pass) fails the task unless every flow is V(PASS).
      - V(fail) is for the negative control, where no policy is in place. It fails the task unless every flow is
        V(FAIL); a flow that is V(INCOMPLETE) shows nothing.
      - V(any) never fails the task, whatever the verdicts.
    type: str
    choices: [pass, fail, any]
    default: pass
  path:
    description: A file on the controller that gets the report as JSON, all at once. Its directory is made if need be.
    type: path
  display:
    description: Whether to print the table.
    type: bool
    default: true
seealso:
  - module: returntraffic.net.return_capture
  - module: returntraffic.net.return_flows
"""

EXAMPLES = r"""
- name: Judge
  returntraffic.net.return_proof:
    label: after the policy
    answers: "{{ fired.answers }}"
    captured: "{{ captured }}"
    path: proof.json
"""

RETURN = r"""
verdicts:
  description: One for each flow, in the order of O(answers).
  returned: when flows were fired
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
    requests: {description: Request packets by NIC they came in by., type: dict, returned: always}
    replies: {description: Reply packets by NIC they left by., type: dict, returned: always}
    wrong_replies: {description: Those of the replies whose NIC no request came in by., type: dict, returned: always}
    answered: {description: Whether the client was answered., type: bool, returned: always}
    verdict: {description: 'V(PASS), V(FAIL) or V(INCOMPLETE).', type: str, returned: always}
    reason: {description: Why., type: str, returned: always}
    ptb:
      description:
        - How many packet-too-big messages came in about replies.
        - The kernel remembers a path's MTU for ten minutes, so a second V(pmtu) flow may see none.
      type: int
      returned: always
    detail: {description: What happened at the client., type: str, returned: always}
    rtt_ms: {description: Milliseconds that the flow took at the client., type: float, returned: always}
time:
  description: When the flows were judged, in UTC.
  returned: when flows were fired
  type: str
  sample: '2026-11-23T19:00:00+00:00'
as_expected:
  description: Whether all verdicts are what O(expect) wants.
  returned: when flows were fired
  type: bool
passed:
  description: How many flows are V(PASS).
  returned: when flows were fired
  type: int
flows_failed:
  description: How many flows are V(FAIL).
  returned: when flows were fired
  type: int
incomplete:
  description: How many flows are V(INCOMPLETE).
  returned: when flows were fired
  type: int
table:
  description: The verdicts as a table for people.
  returned: when flows were fired
  type: str
"""
