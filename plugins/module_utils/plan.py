# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plan: desired against observed, as ordered changes. Pure.

The order is the one in which no packet is lost or misrouted (docs/architecture.md):
remember and set sysctls, devices, routes, exclusions, interfaces, selectors, the nft table
with old and new rules at once; only then take away what is no longer wanted: nft rules,
rules, routes, devices, and last the sysctls.
Only objects with our tag are ever replaced or deleted; somebody else's in the way is an error.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Container, Dict, Iterable, List, Optional, Set, Tuple

from .desired import Desired
from .errors import PolicyError
from .nft import REVERSE_PATH, Chain, NftTable, normal, union, without_chain
from .objects import ALIAS, KERNEL, PROTOCOL, Link, Route, Rule, Sysctl, Veth, Vrf
from .observed import LOCAL, MAIN, Observed, leads_to_local, moved_local


@dataclass(frozen=True)
class Move:
    """An interface into a VRF, out of it (None), or into another; the kernel drops its routes, so they come again."""

    nic: str
    before: Optional[str]
    after: Optional[str]
    routes_before: Tuple[Route, ...]
    routes_after: Tuple[Route, ...]


@dataclass(frozen=True)
class Plan:
    """What to do, in the order of the fields."""

    #: The nft table before, with what the sysctls are now, and without a check that is to change.
    nft_first: Optional[NftTable] = None
    set_sysctls: Tuple[Sysctl, ...] = ()
    add_vrfs: Tuple[Vrf, ...] = ()
    add_veths: Tuple[Veth, ...] = ()
    #: Those of the devices just made; they are gone with them, so nothing is remembered.
    set_device_sysctls: Tuple[Sysctl, ...] = ()
    add_routes: Tuple[Route, ...] = ()
    replace_routes: Tuple[Tuple[Route, Route], ...] = ()
    #: Exclusions, and the rule `local` of ours: they protect from what comes after them.
    add_protecting_rules: Tuple[Rule, ...] = ()
    #: The kernel's own rule `local`, once one of ours is there.
    take_local: Tuple[Rule, ...] = ()
    moves: Tuple[Move, ...] = ()
    add_rules: Tuple[Rule, ...] = ()
    #: The nft table while old and new selectors both hold, and once only the new ones do.
    nft_during: Optional[NftTable] = None
    drain: bool = False
    nft: Optional[NftTable] = None
    #: The kernel's own rule `local`, before ours goes.
    give_local: Tuple[Rule, ...] = ()
    delete_rules: Tuple[Rule, ...] = ()
    delete_routes: Tuple[Route, ...] = ()
    #: VRFs, and the outer ends of veth pairs: the inner ones go with them.
    delete_links: Tuple[Link, ...] = ()
    restore_sysctls: Tuple[Sysctl, ...] = ()
    #: Our rules before; the nft table before, and after the sysctls that were given back are forgotten.
    rules_before: Tuple[Rule, ...] = ()
    nft_before: Optional[NftTable] = None
    nft_after: Optional[NftTable] = None

    @property
    def changed(self) -> bool:
        """Whether there is anything to do."""
        return self.nft_before != self.nft_after or any(
            (
                self.set_sysctls,
                self.add_vrfs,
                self.add_veths,
                self.set_device_sysctls,
                self.moves,
                self.delete_links,
                self.add_routes,
                self.replace_routes,
                self.add_protecting_rules,
                self.take_local,
                self.add_rules,
                self.give_local,
                self.delete_rules,
                self.delete_routes,
                self.restore_sysctls,
            )
        )


def make_plan(desired: Desired, host: Observed) -> Plan:
    """The changes that lead from what is observed to what is desired."""
    moved = _moved(desired, host)
    veths = tuple(veth for veth in desired.veths if not _stands(veth, host))
    # What hangs on an interface that moves, or on a pair that is made anew, is lost and comes again.
    lost = {*moved, *(name for veth in veths for name in (veth.outer, veth.inner))}
    adds, replaces, deletes = _routes(desired.routes, (item for item in host.routes if not _via(item, lost)))
    rules, nft = _plan_rules(desired, host), _plan_nft(desired, host, bool(moved))
    return Plan(
        **rules,
        **nft,
        **_plan_sysctls(desired, host),
        add_vrfs=tuple(vrf for vrf in desired.vrfs if host.link(vrf.name) is None),
        add_veths=veths,
        moves=tuple(_move(nic, masters, adds, host.routes) for nic, masters in moved.items()),
        add_routes=tuple(route for route in adds if not _via(route, moved)),
        replace_routes=replaces,
        drain=desired.drain and bool(rules['delete_rules'] or deletes or nft['nft_during'] != nft['nft']),
        delete_routes=deletes,
        delete_links=tuple(link for link in host.links if _is_left(link, desired)),
    )


# --- sysctls and the nft table, which remembers them ------------------------------------------------------------


def _plan_sysctls(desired: Desired, host: Observed) -> Dict[str, Any]:
    own = _own_devices(desired, host)
    to_set = [item for item in desired.sysctls if host.sysctl(item.path) != item.value]
    saved, forget = _saved(host), _forget(desired, host)
    return {
        'set_sysctls': tuple(item for item in to_set if _device_of(item.path) not in own),
        'set_device_sysctls': tuple(item for item in to_set if _device_of(item.path) in own),
        'restore_sysctls': tuple(
            Sysctl(path, saved[path]) for path in forget if host.sysctl(path) not in (None, saved[path])
        ),
    }


def _plan_nft(desired: Desired, host: Observed, moving: bool) -> Dict[str, Any]:
    saved, own = _saved(host), _own_devices(desired, host)
    wanted = [item.path for item in desired.sysctls if _device_of(item.path) not in own]
    saved.update({path: _current(host, path) for path in wanted if path not in saved})
    nft = _with_saved(_whole(desired), saved)
    first = _with_saved(host.nft, saved)
    if moving or _check_of(first) != _check_of(nft):
        # Until everything is where it should be, no way back would be found for packets that are in order.
        first = without_chain(first, REVERSE_PATH)
    kept = {path: value for path, value in saved.items() if path not in _forget(desired, host)}
    return {
        'nft_before': host.nft,
        'nft_first': first,
        'nft_during': union(first, nft),
        'nft': nft,
        'nft_after': _with_saved(_whole(desired), kept),
    }


def _saved(host: Observed) -> Dict[str, str]:
    return dict(host.nft.saved) if host.nft else {}


def _forget(desired: Desired, host: Observed) -> Tuple[str, ...]:
    """Sysctls that are no longer wanted, and so are given back."""
    wanted = {item.path for item in desired.sysctls}
    return tuple(path for path in _saved(host) if path not in wanted)


def _own_devices(desired: Desired, host: Observed) -> Set[str]:
    """Devices that are ours or will be: their settings begin and end with them."""
    vrfs = {vrf.name for vrf in desired.vrfs if host.link(vrf.name) is None or host.is_ours(vrf.name)}
    return vrfs | _ends(desired)


def _ends(desired: Desired) -> Set[str]:
    return {name for veth in desired.veths for name in (veth.outer, veth.inner)}


def _device_of(path: str) -> str:
    """'eth1' of net/ipv4/conf/eth1/rp_filter; '' for a setting of the whole host."""
    words = path.split('/')
    return words[3] if words[2:3] == ['conf'] else ''


def _whole(desired: Desired) -> NftTable:
    """The selectors and the check, which live in one table."""
    table = desired.nft or NftTable()
    return replace(table, chains=(*table.chains, desired.reverse_path)) if desired.reverse_path else table


def _check_of(table: Optional[NftTable]) -> Optional[Chain]:
    return next((chain for chain in table.chains if chain.name == REVERSE_PATH), None) if table else None


def _with_saved(table: Optional[NftTable], saved: Dict[str, str]) -> Optional[NftTable]:
    return normal(replace(table or NftTable(), saved=saved))


def _current(host: Observed, path: str) -> str:
    value = host.sysctl(path)
    if value is None:
        raise PolicyError('sysctl', path, 'this kernel does not have it')
    return value


# --- rules ------------------------------------------------------------------------------------------------------


def _plan_rules(desired: Desired, host: Observed) -> Dict[str, Any]:
    ours = (*(rule for rule in host.rules if rule.protocol == PROTOCOL), *moved_local(host))
    there = set(ours)
    adds = _in_order(rule for rule in desired.rules if rule not in there)
    return {
        'add_protecting_rules': tuple(rule for rule in adds if rule.table in (MAIN, LOCAL)),
        'take_local': _take_local(desired, host),
        'add_rules': tuple(rule for rule in adds if rule.table not in (MAIN, LOCAL)),
        'give_local': _give_local(desired, host),
        'delete_rules': tuple(rule for rule in ours if rule not in desired.rules),
        'rules_before': ours,
    }


def _in_order(rules: Iterable[Rule]) -> Tuple[Rule, ...]:
    """Exclusions before the selectors they protect from; then descending, which the kernel inserts fastest."""
    return tuple(sorted(rules, key=lambda rule: (rule.table != MAIN, -rule.priority)))


def _take_local(desired: Desired, host: Observed) -> Tuple[Rule, ...]:
    """The kernel's rules `local` at 0, for families that get one of ours."""
    families = {rule.family for rule in desired.rules if leads_to_local(rule)}
    kernels = {_kernels_local(family) for family in families}
    return tuple(rule for rule in host.rules if rule in kernels)


def _give_local(desired: Desired, host: Observed) -> Tuple[Rule, ...]:
    """The kernel's rules `local` again, for families whose own one we have and no longer want."""
    families = [rule.family for rule in moved_local(host) if rule not in desired.rules]
    return tuple(rule for rule in map(_kernels_local, families) if rule not in host.rules)


def _kernels_local(family: str) -> Rule:
    return Rule(family, 0, table=LOCAL, protocol=KERNEL)


# --- devices ----------------------------------------------------------------------------------------------------

Masters = Tuple[Optional[str], Optional[str]]


def _moved(desired: Desired, host: Observed) -> Dict[str, Masters]:
    """The interfaces whose VRF changes: those that come, and those that leave one of ours."""
    wanted = {vrf.nic: vrf.name for vrf in desired.vrfs}
    moved: Dict[str, Masters] = {}
    for link in host.links:
        after = wanted.get(link.name)
        leaves = after is None and link.master is not None and host.is_ours(link.master)
        if link.alias != ALIAS and link.master != after and (after is not None or leaves):
            moved[link.name] = (link.master, after)
    return moved


def _stands(veth: Veth, host: Observed) -> bool:
    """Whether the pair is there, in its VRF, up, and as it was made."""
    outer, inner = host.link(veth.outer), host.link(veth.inner)
    rest = inner is not None and inner.master == veth.vrf and veth.address in host.addresses
    return rest and all(
        end is not None and end.alias == ALIAS and end.up and end.mac == veth.mac for end in (outer, inner)
    )


def _is_left(link: Link, desired: Desired) -> bool:
    """Whether a device of ours is no longer wanted; of a pair one end stands for both."""
    if link.alias != ALIAS:
        return False
    if link.kind == 'veth':
        return link.name not in _ends(desired) and (link.lower is None or link.name < link.lower)
    return link.kind == 'vrf' and link.name not in {vrf.name for vrf in desired.vrfs}


def _via(route: Route, nics: Container[str]) -> bool:
    return any(hop.device in nics for hop in route.next_hops)


def _move(nic: str, masters: Masters, adds: Iterable[Route], there: Iterable[Route]) -> Move:
    """What the kernel makes by itself, and what routers advertise, comes again without us."""
    lost = tuple(route for route in there if _via(route, [nic]) and route.protocol not in _COME_AGAIN)
    others = tuple(route for route in lost if route.protocol != PROTOCOL)
    return Move(nic, *masters, lost, (*others, *(route for route in adds if _via(route, [nic]))))


# --- routes -----------------------------------------------------------------------------------------------------

#: Routing protocols of what comes again without us; 9 is that of router advertisements (linux/rtnetlink.h).
_COME_AGAIN = (KERNEL, 9)
RouteKey = Tuple[str, int, str, int, int]


def _routes(
    desired: Dict[Route, str], observed: Iterable[Route]
) -> Tuple[Tuple[Route, ...], Tuple[Tuple[Route, Route], ...], Tuple[Route, ...]]:
    """Routes to add, to replace in place (old, new), and to delete."""
    there: Dict[RouteKey, List[Route]] = {}
    for route in observed:
        there.setdefault(_key(route), []).append(route)
    adds: List[Route] = []
    replaces: List[Tuple[Route, Route]] = []
    for route in desired:
        _refuse_foreign(route, there.get(_key(route), ()))
        ours = [item for item in there.get(_key(route), ()) if item.protocol == PROTOCOL]
        if route in ours:
            continue
        if ours:
            replaces.append((ours[0], route))
        else:
            adds.append(route)
    kept = {_key(route) for route in desired}
    deletes = tuple(route for route in observed_ours(there) if _key(route) not in kept)
    return tuple(adds), tuple(replaces), deletes


def observed_ours(there: Dict[RouteKey, List[Route]]) -> Iterable[Route]:
    """The routes that carry our tag."""
    return (route for routes in there.values() for route in routes if route.protocol == PROTOCOL)


def _key(route: Route) -> RouteKey:
    """What the kernel tells routes apart by when it replaces one."""
    return route.family, route.table, route.destination, route.tos, route.metric


def _refuse_foreign(route: Route, there: Iterable[Route]) -> None:
    for item in there:
        if item.protocol != PROTOCOL:
            raise PolicyError(
                'routes',
                f'{route.destination} table {route.table} metric {route.metric}',
                f'there is one already with protocol {item.protocol}, which is not ours to replace; '
                'take it away or choose another table',
            )
