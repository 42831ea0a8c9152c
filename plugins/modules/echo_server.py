#!/usr/bin/python
# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: echo_server
short_description: Run a TCP and UDP echo server in the network namespace of the host
version_added: 1.0.0
description:
  - Starts one process that sends back what it gets, on a list of addresses and ports. It stays after the play.
  - The process is found again through an abstract socket of the network namespace, so there is no pid file,
    and on a host of a lab it ends with the lab.
  - All sockets are bound and listening when the module returns.
  - A UDP answer leaves from the address that the datagram was sent to, also on a wildcard listener.
  - A TCP client that does not read its echo is not read from any more, and keeps nobody else waiting.
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
    description: Tells several servers in one network namespace apart. Up to 63 letters, digits and C(_ . -).
    type: str
    default: default
  state:
    description:
      - V(present) makes a server run with exactly O(listeners). One that listens on others is replaced.
      - V(absent) ends it.
    type: str
    choices: [present, absent]
    default: present
  listeners:
    description: Where to listen. Required with O(state=present).
    type: list
    elements: dict
    suboptions:
      address:
        description:
          - An IPv4 or IPv6 address. It need not be there yet.
          - V(0.0.0.0) and V(::) stand for all addresses of their family, also those that come later.
        type: str
        required: true
      port:
        description: Port, 1 to 65535.
        type: int
        required: true
      protocols:
        description: V(tcp), V(udp) or both.
        type: list
        elements: str
        choices: [tcp, udp]
        default: [tcp, udp]
author:
  - returntraffic contributors (@returntraffic)
"""

EXAMPLES = r"""
- name: Echo on a VIP and on all addresses
  returntraffic.net.echo_server:
    listeners:
      - {address: 192.168.1.1, port: 8080}
      - {address: 'fd00:192:168:1::1', port: 8080}
      - {address: 0.0.0.0, port: 8081, protocols: [udp]}

- name: End it
  returntraffic.net.echo_server:
    state: absent
"""

RETURN = r"""
listeners:
  description: What the server listens on after the call, or would in check mode.
  returned: success
  type: list
  elements: str
  sample: ['tcp 192.168.1.1:8080', 'udp [::]:8081']
"""

from typing import Any, Dict, List, Mapping, Optional

from ansible.module_utils.basic import AnsibleModule

from ..module_utils import values
from ..module_utils.errors import KernelError, PolicyError
from ..module_utils.lab.echo_control import EchoControl
from ..module_utils.lab.echo_server import configuration
from ..module_utils.lab.echo_spec import Listener, parse_listeners

_LISTENER = {
    'address': {'type': 'str', 'required': True},
    'port': {'type': 'int', 'required': True},
    'protocols': {'type': 'list', 'elements': 'str', 'choices': ['tcp', 'udp'], 'default': ['tcp', 'udp']},
}
_ARGUMENTS = {
    'name': {'type': 'str', 'default': 'default'},
    'state': {'type': 'str', 'choices': ['present', 'absent'], 'default': 'present'},
    'listeners': {'type': 'list', 'elements': 'dict', 'options': _LISTENER},
}


def main() -> None:
    """Ansible's entry point."""
    module = AnsibleModule(
        argument_spec=_ARGUMENTS,
        required_if=[('state', 'present', ('listeners',))],
        supports_check_mode=True,
    )
    try:
        module.exit_json(**_run(module.params, module.check_mode))
    except (PolicyError, KernelError) as error:
        module.fail_json(msg=str(error))


def _run(params: Mapping[str, Any], check: bool) -> Dict[str, Any]:
    server = EchoControl(values.name('name', params['name']))
    wanted = parse_listeners(params['listeners']) if params['state'] == 'present' else []
    running = server.running()
    before = _listeners(running)
    changed = running != (configuration(wanted) if wanted else None)
    if changed and not check:
        server.stop()
        if wanted:
            server.start(wanted)
    after = [str(listener) for listener in wanted]
    return {
        'changed': changed,
        'listeners': after,
        'diff': {'before': _text(before), 'after': _text(after)},
    }


def _listeners(running: Optional[Mapping[str, Any]]) -> List[str]:
    return [str(Listener(*item)) for item in (running or {}).get('listeners', ())]


def _text(listeners: List[str]) -> str:
    return ''.join(f'{listener}\n' for listener in listeners)


if __name__ == '__main__':
    main()
