# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make a lab what its topology says, or remove it."""

from __future__ import annotations

import time
from typing import Dict, Iterable, Mapping

from ..errors import KernelError
from ..kernel.sysctls import write_sysctl
from ..objects import Sysctl
from . import namespace, naming, processes
from .iproute import Iproute
from .observe import observe, settings_of_interest, strays
from .plan import HostPlan, Plan, plan_lab
from .state import Seen, not_ready
from .topology import Topology

#: One round builds; a second one mends what the first had to take along, such as secondary addresses.
_ROUNDS = 3
#: Seconds until every NIC must have its carrier; it takes milliseconds.
_READY_WITHIN = 10.0


def build(topology: Topology, ip: Iproute, seen: Mapping[str, Seen]) -> Dict[str, Seen]:
    """Apply the difference to `seen`, wait until packets pass, and return the lab as it is then."""
    for _round in range(_ROUNDS):
        plan = plan_lab(topology, seen)
        if plan.empty():
            return _wait(topology, ip, dict(seen))
        apply(topology.name, ip, plan)
        seen = observe(topology.name, ip, settings_of_interest(topology))
    rest = plan_lab(topology, seen)
    if rest.empty():
        return _wait(topology, ip, dict(seen))
    raise KernelError('build', f'lab {topology.name}', f'does not keep: {"; ".join(rest.changes[:5])}')


def apply(lab: str, ip: Iproute, plan: Plan) -> None:
    """Run one plan."""
    for host in plan.create:
        _create(lab, ip, host, plan.hosts[host])
    old = {host: plan.hosts[host] for host in plan.hosts if host not in plan.create}
    _write(lab, {host: todo.settings for host, todo in old.items()})
    ip.batches({naming.namespace(lab, host): (*todo.loopback, *todo.clear) for host, todo in old.items()})
    # A namespace that was removed a moment ago takes its cables along whenever the kernel gets to it.
    ip.batches({naming.namespace(lab, naming.SWITCH): plan.unplug}, may_miss=True)
    ip.batches({naming.namespace(lab, naming.SWITCH): plan.switch})
    ip.batches({naming.namespace(lab, host): todo.lines for host, todo in plan.hosts.items()})
    _write(lab, {host: todo.late_settings for host, todo in plan.hosts.items()})
    remove_hosts(lab, plan.remove)
    if plan.create:
        # A host that was made anew may have left its processes behind, in a namespace without a name.
        processes.end(strays(lab, ip))


def _create(lab: str, ip: Iproute, host: str, todo: HostPlan) -> None:
    def prepare() -> None:
        # Settings before anything else: links take conf/default's values when they are made.
        _write_here(todo.settings)
        ip.batch(todo.loopback)

    # What a crash left behind under this name is only a file.
    namespace.remove(naming.namespace(lab, host))
    namespace.create(naming.namespace(lab, host), prepare)


def _write(lab: str, settings: Mapping[str, Mapping[str, str]]) -> None:
    for host, items in settings.items():
        if items:
            with namespace.inside(naming.namespace(lab, host)):
                _write_here(items)


def _write_here(settings: Mapping[str, str]) -> None:
    for path, value in settings.items():
        write_sysctl(Sysctl(path, value))


def _wait(topology: Topology, ip: Iproute, seen: Dict[str, Seen]) -> Dict[str, Seen]:
    """The lab once every cable carries packets: the kernel reports carrier a moment after `up`."""
    deadline = time.monotonic() + _READY_WITHIN
    while not_ready(topology, seen):
        if time.monotonic() > deadline:
            waiting = ', '.join(not_ready(topology, seen))
            raise KernelError('wait for', f'lab {topology.name}', f'no carrier after {_READY_WITHIN:.0f} s: {waiting}')
        seen = observe(topology.name, ip, settings_of_interest(topology))
    return seen


def remove_hosts(lab: str, hosts: Iterable[str]) -> None:
    """End the processes of these namespaces and remove them."""
    names = [naming.namespace(lab, host) for host in hosts]
    if names:
        processes.end(namespace.identity(namespace.path_of(name)) for name in names)
    for name in names:
        namespace.remove(name)


def remove_lab(lab: str, ip: Iproute) -> None:
    """Remove all of a lab. PolicyError if a namespace of its name is not its own."""
    remove_hosts(lab, observe(lab, ip, {}))
    processes.end(strays(lab, ip))
    # What has the lab's name and is no namespace any more is only a file.
    for name in namespace.names(naming.namespace(lab, '')):
        namespace.remove(name)
