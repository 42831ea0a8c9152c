# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the NICs that Docker gave a container to those of the lab's host, as lines for ip(8). Pure.

Docker numbers NICs as it likes, gives them the prefix length of the network, and sets a default route. A NIC is known
by its MAC once it has the lab's, before that by an address.
"""

from __future__ import annotations

from typing import Any, Iterable, Iterator, List, Mapping, NamedTuple, Tuple

from ..errors import KernelError
from .containers import gateway_of
from .plan import loopback_lines, nic_lines
from .state import LinkSeen, Seen
from .topology import Host, Interface, Topology


class Default(NamedTuple):
    """A default route as `ip -j route` shows it."""

    family: str
    gateway: str
    device: str


def parse_defaults(family: str, data: Iterable[Mapping[str, Any]]) -> List[Default]:
    """The output of `ip -j route show default` of one family."""
    return [Default(family, str(item.get('gateway', '')), str(item.get('dev', ''))) for item in data]


def duplicate_lines(data: Iterable[Mapping[str, Any]]) -> List[str]:
    """Lines that bring addresses back which duplicate address detection has given up, from `ip -j address`.

    A container that is made anew has the MAC of the former one, whose network may take a moment to be gone; what the
    kernel saw of it then it would hold against the new one for ever.
    """
    lines: List[str] = []
    for item in data:
        for info in item.get('addr_info', ()):
            if info.get('dadfailed'):
                address = f'{info["local"]}/{info["prefixlen"]} dev {item["ifname"]}'
                lines += [f'address del {address}', f'address add {address} nodad']
    return lines


def plan_attached(topology: Topology, seen: Seen, defaults: Iterable[Default]) -> Tuple[str, ...]:
    """The next lines that bring the topology's one host nearer, until there are none.

    First the names, as everything else is said by name. KernelError if a NIC is not there.
    """
    (host,) = topology.hosts
    found = {nic.name: _find(nic, seen) for nic in host.interfaces}
    names = tuple(_name_lines(found, seen))
    if names:
        return names
    # Routes go first: with the address that Docker gave, the kernel may take them away itself.
    lines = [*_route_lines(topology, defaults), *loopback_lines(topology.name, frozenset(host.loopback), seen)]
    for nic in host.interfaces:
        lines += nic_lines(nic, found[nic.name])
    return tuple(lines)


def _find(nic: Interface, seen: Seen) -> LinkSeen:
    plain = {address.partition('/')[0] for address in nic.addresses}
    links = [link for link in seen.links.values() if link.name != 'lo']
    for link in (*(one for one in links if one.mac == nic.mac), *links):
        if link.mac == nic.mac or plain.intersection(address.partition('/')[0] for address in link.addresses):
            return link
    reason = f'no NIC has the MAC {nic.mac} or one of {", ".join(sorted(plain))}: is the container on {nic.network}?'
    raise KernelError('find', nic.name, reason)


def _name_lines(found: Mapping[str, LinkSeen], seen: Seen) -> Iterator[str]:
    """Renames by way of names that nobody has, as NICs may have to swap theirs. A link that is up keeps its name."""
    wrong = {link.name: name for name, link in found.items() if link.name != name}
    in_the_way = {name for name in wrong.values() if name in seen.links and name not in wrong}
    moving = (*wrong, *sorted(in_the_way))
    free = [
        name for number in range(1, len(seen.links) + len(moving) + 1) if (name := f'nic{number}') not in seen.links
    ]
    passing = dict(zip(moving, free))
    for name in moving:
        yield f'link set dev {name} down'
        yield f'link set dev {name} name {passing[name]}'
    for name, wanted in wrong.items():
        yield f'link set dev {passing[name]} name {wanted}'


def _route_lines(topology: Topology, defaults: Iterable[Default]) -> Iterator[str]:
    """Docker's default routes go: they lead to bridges, and the lab has its own."""
    gateways = {gateway_of(prefix) for network in topology.networks for prefix in network.prefixes}
    for route in defaults:
        if route.gateway in gateways:
            yield f'route del default via {route.gateway} dev {route.device}'


def unequal_settings(host: Host, seen: Seen) -> List[str]:
    """Settings that a container was to get at its creation and does not have, in words.

    A container runtime writes settings in any order, and net.ipv4.ip_forward resets accept_redirects
    (ip-sysctl.rst), so that one may be either.
    """
    wrong = [
        (path, value, seen.sysctls.get(path))
        for path, value in host.sysctls.items()
        if seen.sysctls.get(path) != value and not path.endswith('/accept_redirects')
    ]
    return [f'{path} is {found}, wanted {value}' for path, value, found in wrong]
