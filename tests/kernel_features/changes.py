# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Changes to a lab that is up, each for as long as its `with`: other devices in the place of the lab's NICs."""

from __future__ import annotations

import contextlib
from typing import Iterator, List, Sequence, Tuple

import pytest
from lab import Lab
from namespaces import Namespace

TAG = 100
#: The router's ends of all links: what the node sends is seen on its NICs before it can be lost.
LOSSY = ('net1', 'net2', 'ext0', 'ext1')


def need(namespace: Namespace, *command: str) -> None:
    """Skip, with the kernel's words, where this command is refused; in the harness a skip is a failure."""
    done = namespace.process(*command)
    if done.returncode:
        pytest.skip(f'this kernel refuses {" ".join(command)!r}: {done.stderr.strip()}')


def addresses(host: Namespace, device: str) -> List[str]:
    """The global addresses of a device, with their lengths."""
    found = [one for link in host.ip('addr', 'show', 'dev', device) for one in link['addr_info']]
    return [f'{one["local"]}/{one["prefixlen"]}' for one in found if not one['local'].startswith('fe80')]


def routes_over(host: Namespace, device: str) -> List[str]:
    """The routes of table main over a device that an administrator made, as `ip` takes them again."""
    words = ('route', 'show', 'dev', device, 'proto', '199')
    return [line for option in ('-4', '-6') for line in host.run('ip', option, *words).splitlines()]


def move_addresses(host: Namespace, old: str, new: str) -> None:
    """Addresses and routes go from one device to the other, whose link is up."""
    routes = routes_over(host, old)
    for address in addresses(host, old):
        host.run('ip', 'addr', 'del', address, 'dev', old)
        host.run('ip', 'addr', 'add', address, 'dev', new, *(['nodad'] if ':' in address else []))
    for route in routes:
        words = route.replace(' pref medium', '').replace(' metric 1024', '').split()
        host.run('ip', 'route', 'replace', *words, 'dev', new, 'proto', '199')


@contextlib.contextmanager
def vlans(lab: Lab, *places: Tuple[str, str]) -> Iterator[None]:
    """A VLAN on each (host, NIC), which takes over the NIC's addresses: eth1 becomes eth1.100."""
    need(lab.node, 'ip', 'link', 'add', 'link', 'eth0', 'name', 'probe', 'type', 'vlan', 'id', '7')
    lab.node.run('ip', 'link', 'del', 'probe')
    with contextlib.ExitStack() as stack:
        for name, nic in places:
            host, vlan = lab.host(name), f'{nic}.{TAG}'
            host.batch(f'link add link {nic} name {vlan} type vlan id {TAG}\nlink set {vlan} up\n')
            move_addresses(host, nic, vlan)
            stack.callback(host.run, 'ip', 'link', 'del', vlan)
            stack.callback(move_addresses, host, vlan, nic)
        yield


@contextlib.contextmanager
def dummy(lab: Lab, vips: Sequence[str]) -> Iterator[str]:
    """A dummy interface on the node that has the VIPs instead of the loopback."""
    need(lab.node, 'ip', 'link', 'add', 'vips', 'type', 'dummy')
    lab.node.run('ip', 'link', 'set', 'vips', 'up')
    for vip in vips:
        lab.node.run('ip', 'addr', 'del', vip, 'dev', 'lo')
        lab.node.run('ip', 'addr', 'add', vip, 'dev', 'vips', *(['nodad'] if ':' in vip else []))
    try:
        yield 'vips'
    finally:
        lab.node.run('ip', 'link', 'del', 'vips')
        for vip in vips:
            lab.node.run('ip', 'addr', 'add', vip, 'dev', 'lo')


@contextlib.contextmanager
def loss(lab: Lab, nics: Sequence[str] = LOSSY) -> Iterator[None]:
    """5 ms of delay and 2 % of loss on whatever these NICs of the router send."""
    router = lab.host('router')
    need(router, 'tc', 'qdisc', 'add', 'dev', nics[0], 'root', 'netem', 'delay', '5ms', 'loss', '2%')
    for nic in nics[1:]:
        router.run('tc', 'qdisc', 'add', 'dev', nic, 'root', 'netem', 'delay', '5ms', 'loss', '2%')
    try:
        yield
    finally:
        for nic in nics:
            router.run('tc', 'qdisc', 'del', 'dev', nic, 'root')


@contextlib.contextmanager
def flowtable(lab: Lab, rule: str) -> Iterator[None]:
    """A flowtable of others on the node's NICs; `rule` says which packets of a connection put it there."""
    devices = 'eth1, eth2, cni0'
    table = f'flowtable fast {{ hook ingress priority 0; devices = {{ {devices} }}; }}'
    counters = 'counter requests { }\n  counter replies { }'
    chain = (
        'chain forward {\n    type filter hook forward priority 0; policy accept;\n'
        '    ct direction original counter name requests\n    ct direction reply counter name replies\n'
        f'    {rule} flow add @fast\n  }}'
    )
    done = lab.node.process('nft', '-f', '-', stdin=f'table inet fastpath {{\n  {table}\n  {counters}\n  {chain}\n}}\n')
    if done.returncode:
        pytest.skip(f'no flowtable on this kernel: {done.stderr.splitlines()[0]}')
    try:
        yield
    finally:
        lab.node.run('nft', 'delete', 'table', 'inet', 'fastpath')


def passed_hooks(lab: Lab) -> int:
    """Replies of pods that have passed the forward hook of `flowtable`: the others took the short way."""
    listed = lab.node.run('nft', 'list', 'counter', 'inet', 'fastpath', 'replies').split()
    return int(listed[listed.index('packets') + 1])
