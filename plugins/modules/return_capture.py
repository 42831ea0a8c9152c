#!/usr/bin/python
# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module return_capture: what all NICs of a host see while flows are fired at it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: return_capture
short_description: Capture packets on all NICs of a host at once
version_added: 1.0.0
author: returntraffic contributors (@returntraffic)
description:
  - Captures, in the background, the packets that a host exchanges with some addresses, on every NIC of its network
    namespace, with the direction of each. M(returntraffic.net.return_proof) judges by them.
  - The host needs no tcpdump. A filter in the kernel copies nothing else, so that a loaded host can be captured on.
  - Started means that no packet is missed from then on. The capture is reached by an abstract unix socket; there is no
    file, and nothing stays behind. If nobody stops it, it ends by itself after O(max_seconds).
  - Nothing on the host is changed, so V(changed) is always false. In check mode nothing is captured.
extends_documentation_fragment:
  - returntraffic.net._attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: N/A
    details: Each call starts or ends one capture.
  platform:
    platforms: linux
requirements:
  - python >= 3.8
  - CAP_NET_RAW (root) in the network namespace
options:
  state:
    description:
      - V(started) begins a capture.
      - V(stopped) ends it and returns what it saw.
    type: str
    choices: [started, stopped]
    required: true
  token:
    description:
      - Tells captures on one host from each other. 1 to 64 letters, digits, dots, dashes and underscores.
      - Required with O(state=stopped). With O(state=started) a random one is made if none is given.
    type: str
  addresses:
    description:
      - The clients' addresses, of both families. Packets from and to them are captured, and ICMP errors about those.
      - An empty list captures all IP packets. Only for O(state=started).
    type: list
    elements: str
    default: []
  max_seconds:
    description: After so many seconds (1 to 3600) an unstopped capture ends by itself. Only for O(state=started).
    type: int
    default: 120
seealso:
  - module: returntraffic.net.return_flows
  - module: returntraffic.net.return_proof
"""

EXAMPLES = r"""
- name: Capture what the clients' addresses are part of
  returntraffic.net.return_capture:
    state: started
    addresses:
      - 10.111.223.23
      - fd00:10:111:223::23
  register: capture

- name: End the capture
  returntraffic.net.return_capture:
    state: stopped
    token: "{{ capture.token }}"
  register: captured
"""

RETURN = r"""
token:
  description: What the capture is stopped by.
  returned: O(state=started)
  type: str
  sample: 2f6c1c0d9a5b4e37
frames:
  description: The packets in the order seen, each a list of the fields of C(Frame) in C(module_utils/proof/frames.py).
  returned: O(state=stopped)
  type: list
  elements: list
links:
  description: The host's network devices when the capture ended, each a list of the fields of C(Link).
  returned: O(state=stopped)
  type: list
  elements: list
dropped:
  description: How many matching packets were lost. With any lost no flow can pass.
  returned: O(state=stopped)
  type: int
  sample: 0
"""

import os
import re
from typing import Any, Dict, List

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.errors import KernelError, PolicyError
from ..module_utils.kernel.links import list_links
from ..module_utils.kernel.netlink import Netlink
from ..module_utils.objects import Link
from ..module_utils.proof.capture import to_json
from ..module_utils.proof.daemon import MAX_SECONDS, start, stop
from ..module_utils.proof.spec import canonical

ARGUMENTS = {
    'state': {'type': 'str', 'choices': ['started', 'stopped'], 'required': True},
    'token': {'type': 'str', 'no_log': False},
    'addresses': {'type': 'list', 'elements': 'str', 'default': []},
    'max_seconds': {'type': 'int', 'default': MAX_SECONDS},
}


def run(options: Dict[str, Any], check_mode: bool) -> Dict[str, Any]:
    """The module's results; PolicyError on bad options, KernelError when capturing is refused."""
    token = options['token'] or os.urandom(8).hex()
    if not re.fullmatch(r'[A-Za-z0-9_.-]{1,64}', token):
        raise PolicyError('token', token, '1 to 64 letters, digits, dots, dashes and underscores')
    if not 1 <= options['max_seconds'] <= 3600:
        raise PolicyError('max_seconds', options['max_seconds'], 'a number from 1 to 3600 is wanted')
    addresses = [canonical(f'addresses[{place}]', given) for place, given in enumerate(options['addresses'])]
    if check_mode:
        return {'skipped': True, 'msg': 'nothing is captured in check mode'}
    if options['state'] == 'started':
        start(token, addresses, _links, options['max_seconds'])
        return {'token': token}
    result: Dict[str, Any] = to_json(stop(token))
    return result


def _links() -> List[Link]:
    with Netlink() as netlink:
        return list_links(netlink)


def main() -> None:
    module = AnsibleModule(
        argument_spec=ARGUMENTS, required_if=[('state', 'stopped', ['token'])], supports_check_mode=True
    )
    try:
        results = run(module.params, module.check_mode)
    except (PolicyError, KernelError) as problem:
        module.fail_json(msg=str(problem))
    module.exit_json(changed=False, **results)


if __name__ == '__main__':
    main()
