#!/usr/bin/python
# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: docker_lab_info
short_description: Say what a lab is in Docker's terms
version_added: 1.1.0
description:
  - Takes a lab as M(returntraffic.net.netns_lab) does, compares it with the networks and containers of a Docker daemon,
    and returns what M(community.docker.docker_network) and M(community.docker.docker_container) are to be told.
  - Refuses what Docker cannot have before anything is made. That is a subnet that another Docker network overlaps,
    an address that Docker takes for itself, a name that belongs to others, a setting of a NIC.
  - Asks nobody; what the daemon has is the answer of M(community.docker.docker_host_info).
extends_documentation_fragment:
  - returntraffic.net._attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: N/A
    details: This module changes nothing.
  idempotent:
    support: full
options:
  name:
    description: Name of the lab. Networks and containers are called C(<name>-<network>) and C(<name>-<host>).
    type: str
    default: rt
  state:
    description:
      - With V(absent) everything of the lab's is stale, and O(networks) and O(hosts) are not looked at.
    type: str
    choices: [present, absent]
    default: present
  networks:
    description:
      - The networks, as O(returntraffic.net.netns_lab#module:networks). Each needs one prefix, or one of each family.
    type: list
    elements: dict
    default: []
  hosts:
    description: The hosts, as O(returntraffic.net.netns_lab#module:hosts). Each NIC needs an address.
    type: list
    elements: dict
    default: []
  daemon:
    description:
      - What M(community.docker.docker_host_info) returned, asked for containers and networks with
        O(community.docker.docker_host_info#module:verbose_output=true)
        and O(community.docker.docker_host_info#module:containers_all=true).
    type: dict
    required: true
seealso:
  - module: returntraffic.net.container_nics
author:
  - returntraffic contributors (@returntraffic)
"""

EXAMPLES = r"""
- name: Ask the daemon
  community.docker.docker_host_info:
    networks: true
    containers: true
    containers_all: true
    verbose_output: true
  register: daemon

- name: Say what is to be done
  returntraffic.net.docker_lab_info:
    name: rt
    networks: "{{ lab_networks }}"
    hosts: "{{ groups['lab'] | map('extract', hostvars, 'lab_host') | list }}"
    daemon: "{{ daemon }}"
  register: lab
"""

RETURN = r"""
networks:
  description: Options of M(community.docker.docker_network), one element a network.
  returned: success
  type: list
  elements: dict
containers:
  description: Options of M(community.docker.docker_container), one element a host, without image and capabilities.
  returned: success
  type: list
  elements: dict
stale_networks:
  description: Docker networks of this lab that are not wanted.
  returned: success
  type: list
  elements: str
stale_containers:
  description: Containers of this lab that are not wanted.
  returned: success
  type: list
  elements: str
beside:
  description: Containers that share the network of a wanted one, and which one.
  returned: success
  type: list
  elements: dict
  sample: [{name: rt-router-frr, of: rt-router}]
hosts:
  description: The hosts whose containers run now.
  returned: success
  type: list
  elements: str
  sample: [client1, node]
"""

from typing import Any, Dict, List, Mapping

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.errors import PolicyError
from ..module_utils.lab import containers, naming
from ..module_utils.lab.topology import parse_topology

_ARGUMENTS = {
    'name': {'type': 'str', 'default': 'rt'},
    'state': {'type': 'str', 'choices': ['present', 'absent'], 'default': 'present'},
    'networks': {'type': 'list', 'elements': 'dict', 'default': []},
    'hosts': {'type': 'list', 'elements': 'dict', 'default': []},
    'daemon': {'type': 'dict', 'required': True},
}


def main() -> None:
    """Ansible's entry point."""
    module = AnsibleModule(argument_spec=_ARGUMENTS, supports_check_mode=True)
    try:
        module.exit_json(**_run(module.params))
    except PolicyError as error:
        module.fail_json(msg=str(error))


def _run(params: Mapping[str, Any]) -> Dict[str, Any]:
    lab = naming.lab_name('name', params['name'])
    daemon = params['daemon']
    if not daemon.get('can_talk_to_docker'):
        said = ' '.join(str(daemon.get('msg', 'no answer')).split())
        raise PolicyError('docker', said, 'no Docker daemon answers; start one (scripts/dockerd in a clone does)')
    networks = containers.parse_networks(daemon.get('networks') or ())
    found = containers.parse_containers(daemon.get('containers') or ())
    plan = containers.Containers([], [], _of(lab, networks), _of(lab, found), [])
    if params['state'] == 'present':
        topology = parse_topology({key: params[key] for key in ('name', 'networks', 'hosts')})
        plan = containers.plan_containers(topology, networks, found)
    hosts = sorted(item.name[len(lab) + 1 :] for item in found if item.lab == lab and item.runs)
    return {'changed': False, 'hosts': hosts, **plan._asdict()}


def _of(lab: str, found: List[containers.Found]) -> List[str]:
    return sorted(item.name for item in found if item.lab == lab)


if __name__ == '__main__':
    main()
