# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab of tests/lab.py, from the same inventory, built in this process.

ansible-playbook starts hundreds of processes, which takes an emulated processor minutes; this takes it seconds.
What is built is the same: the module's own code makes the namespaces, the role's own template the translations.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any, Dict, List, Optional, Type

from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from ansible.vars.manager import VariableManager
from ansible_collections.returntraffic.net.plugins.module_utils.lab.build import build, remove_lab
from ansible_collections.returntraffic.net.plugins.module_utils.lab.echo_control import EchoControl
from ansible_collections.returntraffic.net.plugins.module_utils.lab.echo_spec import parse_listeners
from ansible_collections.returntraffic.net.plugins.module_utils.lab.iproute import Iproute
from ansible_collections.returntraffic.net.plugins.module_utils.lab.topology import parse_topology
from lab import ROOT, Lab
from namespaces import Namespace

NAMES = ('lab_networks', 'lab_host', 'lab_routes', 'lab_dnat', 'lab_listeners')
NODE_NAMES = ('node_networks', 'node_services', 'node_exclude', 'proof_clients', 'proof_targets_own',
              'proof_targets_shared', 'proof_targets_cross')  # fmt: skip


class QuickLab(Lab):
    """A lab that no play has touched."""

    def __enter__(self) -> QuickLab:
        hosts = resolved(self.inventory, self.variables)
        networks = next(iter(hosts.values()))['lab_networks']
        described = {'name': self.name, 'networks': networks, 'hosts': [host['lab_host'] for host in hosts.values()]}
        try:
            build(parse_topology(described), Iproute(), {})
            for name, values in hosts.items():
                furnish(self.host(name), values)
        except BaseException:
            remove_lab(self.name, Iproute())
            raise
        self.data = hosts['node']
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        remove_lab(self.name, Iproute())


def furnish(host: Namespace, values: Dict[str, Any]) -> None:
    """What the roles router, clients and services do."""
    host.batch(''.join(route_line(route) for route in values['lab_routes']))
    if values['lab_dnat']:
        host.run('nft', '-f', '-', stdin=services_table(values['lab_dnat']))
    if values['lab_listeners']:
        with host.entered():
            EchoControl('default').start(parse_listeners(values['lab_listeners']))


def route_line(route: Dict[str, Any]) -> str:
    """A route of the inventory for `ip -batch`."""
    onlink = ' onlink' if route.get('onlink') else ''
    advmss = f' advmss {route["advmss"]}' if 'advmss' in route else ''
    return f'route add {route["destination"]} via {route["gateway"]} dev {route["device"]} proto 199{onlink}{advmss}\n'


def services_table(services: List[Dict[str, Any]]) -> str:
    """The role's template, rendered by Ansible."""
    text = trust_as_template((ROOT / 'roles/services/templates/lab_services.nft.j2').read_text())
    return str(Templar(DataLoader(), variables={'services_dnat': services}).template(text))


def resolved(inventory: Path, extra: Dict[str, Any]) -> Dict[str, Dict[str, Any]]:
    """The variables of each host of the lab by name, templates resolved by Ansible."""
    loader = DataLoader()
    found = InventoryManager(loader=loader, sources=[str(inventory)])
    manager = VariableManager(loader=loader, inventory=found)
    hosts: Dict[str, Dict[str, Any]] = {}
    for host in found.get_hosts('lab'):
        raw = {**manager.get_vars(host=host), **extra}
        names = NODE_NAMES if host.name == 'node' else ()
        hosts[host.name] = plain(
            Templar(loader, variables=raw).template({name: raw[name] for name in (*NAMES, *names)})
        )
    return hosts


def plain(value: Any) -> Any:
    """Without Ansible's marks on strings and containers, which parsers of plain values do not know."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, str) else value
