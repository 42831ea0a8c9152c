# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kernel objects in the kernel's own normal form.

Desired and observed state use the same types, so a difference is set arithmetic.
Named tuples and not dataclasses: ten thousand of them are built and hashed in a
run, and a tuple does both in C.
"""

from __future__ import annotations

from typing import Dict, NamedTuple, Optional, Tuple

#: Routing protocol that tags every rule and route of the return policy. Not below 200: the kernel and
#: routing daemons have theirs there (linux/rtnetlink.h), and FRR sweeps all of 186-198 as its own.
PROTOCOL = 201
#: The same for the lists of ip_rule and ip_route, so that a policy and a list never take each other's objects.
LIST_PROTOCOL = 202
#: Routing protocol of what the kernel adds by itself (linux/rtnetlink.h).
KERNEL = 2
#: ifAlias that tags every device of ours.
ALIAS = 'returntraffic'

#: Families as Ansible users write them; the value is the AF_* number of Linux.
FAMILIES: Dict[str, int] = {'ipv4': 2, 'ipv6': 10}

#: Netlink attributes that our types have no field for, (type, payload) as the kernel sent them.
#: They keep two objects apart that differ only there, and let an undo put back all of it.
Attributes = Tuple[Tuple[int, bytes], ...]


class Rule(NamedTuple):
    """One policy rule (ip-rule(8)). None means: not part of the selector.

    Addresses are canonical prefixes ('192.168.1.1/32', 'fd00::/8'); ranges are
    (low, high), both inclusive. Two rules are equal when the kernel would say so.
    """

    family: str
    priority: int
    action: str = 'to-table'
    from_: Optional[str] = None
    to: Optional[str] = None
    fwmark: Optional[int] = None
    fwmask: Optional[int] = None
    iif: Optional[str] = None
    oif: Optional[str] = None
    invert: bool = False
    ipproto: Optional[int] = None
    sport: Optional[Tuple[int, int]] = None
    dport: Optional[Tuple[int, int]] = None
    tos: Optional[int] = None
    uid: Optional[Tuple[int, int]] = None
    suppress_prefixlength: Optional[int] = None
    l3mdev: bool = False
    goto: Optional[int] = None
    table: int = 0
    protocol: int = PROTOCOL
    other: Attributes = ()


class NextHop(NamedTuple):
    """One way out of a route: a gateway, a device, or both."""

    gateway: Optional[str] = None
    device: Optional[str] = None
    weight: int = 1
    onlink: bool = False


class Route(NamedTuple):
    """One route (ip-route(8)). The default route's destination is '0.0.0.0/0' or '::/0'.

    `metric` is the kernel's: 1024 for an IPv6 route that was given none. `from_` is the
    source prefix of a source-specific IPv6 route.
    """

    family: str
    table: int
    destination: str
    type: str = 'unicast'
    next_hops: Tuple[NextHop, ...] = ()
    metric: int = 0
    source: Optional[str] = None
    scope: int = 0
    mtu: Optional[int] = None
    tos: int = 0
    protocol: int = PROTOCOL
    other: Attributes = ()
    from_: Optional[str] = None


class Link(NamedTuple):
    """One network interface.

    `number` is what the kernel knows it by (its ifindex); a tuple's own method is called index.
    `lower` is the device it stands on in the same namespace (IFLA_LINK): that of a VLAN
    or macvlan; of a veth its other end, None when that is in another namespace.
    """

    number: int
    name: str
    mac: Optional[str] = None
    up: bool = False
    mtu: int = 0
    kind: Optional[str] = None
    master: Optional[str] = None
    vrf_table: Optional[int] = None
    lower: Optional[str] = None
    #: ifAlias, which a person or a program can set; it is how we know our own devices again.
    alias: Optional[str] = None


class Vrf(NamedTuple):
    """A VRF device of ours on a table, and the interface that is to be in it."""

    name: str
    table: int
    nic: str


class Address(NamedTuple):
    """One address of an interface, with its prefix length."""

    family: str
    device: str
    address: str
    prefix_length: int


class Veth(NamedTuple):
    """A pair of ours that leads from a VRF to the sockets of the host, which are outside.

    Both ends have one MAC address and no ARP, so that a packet needs no neighbour to go from one to the other.
    """

    outer: str
    inner: str
    mac: str
    vrf: str

    @property
    def address(self) -> Address:
        """What the outer end must have, or rp_filter drops all that comes in by it, even when it is loose.

        (fib_validate_source() of the kernel: a device without any IPv4 address.) It is the dummy address of RFC 7600,
        which nobody has or can reach.
        """
        return Address('ipv4', self.outer, '192.0.0.8', 32)


class Sysctl(NamedTuple):
    """One kernel setting by its path below /proc/sys ('net/ipv4/conf/eth1/rp_filter')."""

    path: str
    value: str
