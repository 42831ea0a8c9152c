# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look at a lab: its namespaces, their links, addresses and settings."""

from __future__ import annotations

import contextlib
import json
from typing import Dict, Iterable, Mapping, Set

from ..errors import KernelError, PolicyError
from ..kernel.sysctls import read_sysctls
from . import namespace, naming, processes
from .iproute import Iproute
from .plan import SWITCH_SYSCTLS
from .state import Seen, parse_links
from .topology import Topology


def hosts_up(lab: str, directory: str = namespace.DIRECTORY) -> Dict[str, str]:
    """Namespaces named as the lab's that are alive: host (the switch too) -> name."""
    found = namespace.names(naming.namespace(lab, ''), directory)
    return {name[len(lab) + 1 :]: name for name in found if namespace.alive(f'{directory}/{name}')}


def settings_of_interest(topology: Topology) -> Dict[str, Iterable[str]]:
    """The sysctls to read, by host."""
    return {naming.SWITCH: SWITCH_SYSCTLS, **{host.name: host.sysctls for host in topology.hosts}}


def observe(lab: str, ip: Iproute, settings: Mapping[str, Iterable[str]]) -> Dict[str, Seen]:
    """The lab's namespaces by host name; PolicyError if one of that name is not the lab's own."""
    names = hosts_up(lab)
    texts = ip.query(names.values(), '-j', '-d', 'address', 'show')
    seen: Dict[str, Seen] = {}
    for host, name in names.items():
        with namespace.inside(name):
            sysctls = {path: ' '.join(text.split()) for path, text in read_sysctls(settings.get(host, ())).items()}
        seen[host] = Seen(parse_links(json.loads(texts[name] or '[]')), sysctls)
        if seen[host].owner() != naming.tag(lab):
            owner = seen[host].owner() or 'nobody: its lo has no alias'
            raise PolicyError('name', lab, f'namespace {name} is there and belongs to {owner}; take another lab name')
    return seen


def strays(lab: str, ip: Iproute) -> Set[processes.Identity]:
    """Namespaces of the lab that lost their name, as `ip netns del` does, but still have processes."""
    named = {namespace.identity(namespace.path_of(name)) for name in hosts_up(lab).values()}
    tenants = {where: pid for pid, where in processes.homes().items() if where not in named}
    found: Set[processes.Identity] = set()
    for where, pid in tenants.items():
        # Others' namespaces may be forbidden, and a process may end while it is looked at.
        with contextlib.suppress(KernelError):
            path = f'/proc/{pid}/ns/net'
            text = ip.query([path], '-j', '-d', 'address', 'show', 'dev', 'lo')[path]
            if Seen(parse_links(json.loads(text or '[]')), {}).owner() == naming.tag(lab):
                found.add(where)
    return found
