# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plan: desired against observed, as ordered changes. Pure.

The order is the one in which no packet is lost or misrouted (docs/architecture.md):
remember and set sysctls, routes, exclusions, selectors, the nft table with old and new
rules at once; only then take away what is no longer wanted: nft rules, rules, routes, and
last the sysctls.
Only objects with our tag are ever replaced or deleted; somebody else's in the way is an error.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Container, Dict, Iterable, List, Optional, Tuple

from .desired import Desired
from .errors import PolicyError
from .nft import NftTable, normal, union
from .objects import ALIAS, PROTOCOL, Link, Route, Rule, Sysctl, Vrf
from .observed import MAIN, Observed


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

    remember: Dict[str, str] = field(default_factory=dict)
    set_sysctls: Tuple[Sysctl, ...] = ()
    add_vrfs: Tuple[Vrf, ...] = ()
    moves: Tuple[Move, ...] = ()
    add_routes: Tuple[Route, ...] = ()
    replace_routes: Tuple[Tuple[Route, Route], ...] = ()
    add_rules: Tuple[Rule, ...] = ()
    #: The nft table while old and new selectors both hold, and once only the new ones do.
    nft_during: Optional[NftTable] = None
    drain: bool = False
    nft: Optional[NftTable] = None
    delete_rules: Tuple[Rule, ...] = ()
    delete_routes: Tuple[Route, ...] = ()
    delete_vrfs: Tuple[Link, ...] = ()
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
                self.moves,
                self.delete_vrfs,
                self.add_routes,
                self.replace_routes,
                self.add_rules,
                self.delete_rules,
                self.delete_routes,
                self.restore_sysctls,
            )
        )


def make_plan(desired: Desired, host: Observed) -> Plan:
    """The changes that lead from what is observed to what is desired."""
    saved = dict(host.nft.saved) if host.nft else {}
    wanted = {item.path: item.value for item in desired.sysctls}
    remember = {path: _current(host, path) for path in wanted if path not in saved}
    forget = tuple(path for path in saved if path not in wanted)
    moved = _moved(desired, host)
    adds, replaces, deletes = _routes(desired.routes, (item for item in host.routes if not _via(item, moved)))
    rules_ours = tuple(rule for rule in host.rules if rule.protocol == PROTOCOL)
    there = set(rules_ours)
    nft = _with_saved(desired.nft, {**saved, **remember})
    delete_rules = tuple(rule for rule in rules_ours if rule not in desired.rules)
    return Plan(
        remember=remember,
        set_sysctls=tuple(item for item in desired.sysctls if host.sysctl(item.path) != item.value),
        add_vrfs=tuple(vrf for vrf in desired.vrfs if host.link(vrf.name) is None),
        moves=tuple(_move(nic, masters, adds, host.routes) for nic, masters in moved.items()),
        add_routes=tuple(route for route in adds if not _via(route, moved)),
        replace_routes=replaces,
        add_rules=_in_order(rule for rule in desired.rules if rule not in there),
        nft_during=union(host.nft, nft),
        drain=desired.drain and bool(delete_rules or deletes or union(host.nft, nft) != nft),
        nft=nft,
        delete_rules=delete_rules,
        delete_routes=deletes,
        delete_vrfs=tuple(link for link in host.links if _is_left(link, desired)),
        restore_sysctls=tuple(
            Sysctl(path, saved[path]) for path in forget if host.sysctl(path) not in (None, saved[path])
        ),
        rules_before=rules_ours,
        nft_before=host.nft,
        nft_after=_with_saved(desired.nft, _without({**saved, **remember}, forget)),
    )


Masters = Tuple[Optional[str], Optional[str]]


def _moved(desired: Desired, host: Observed) -> Dict[str, Masters]:
    """The interfaces whose VRF changes: those that come, and those that leave one of ours."""
    wanted = {vrf.nic: vrf.name for vrf in desired.vrfs}
    ours = {link.name for link in host.links if link.alias == ALIAS}
    moved: Dict[str, Masters] = {}
    for link in host.links:
        after = wanted.get(link.name)
        if link.master != after and (after is not None or link.master in ours):
            moved[link.name] = (link.master, after)
    return moved


def _is_left(link: Link, desired: Desired) -> bool:
    return link.alias == ALIAS and link.kind == 'vrf' and link.name not in {vrf.name for vrf in desired.vrfs}


def _via(route: Route, nics: Container[str]) -> bool:
    return any(hop.device in nics for hop in route.next_hops)


def _move(nic: str, masters: Masters, adds: Iterable[Route], there: Iterable[Route]) -> Move:
    """What the kernel makes by itself, and what routers advertise, comes again without us."""
    lost = tuple(route for route in there if _via(route, [nic]) and route.protocol not in _COME_AGAIN)
    others = tuple(route for route in lost if route.protocol != PROTOCOL)
    return Move(nic, *masters, lost, (*others, *(route for route in adds if _via(route, [nic]))))


def _current(host: Observed, path: str) -> str:
    value = host.sysctl(path)
    if value is None:
        raise PolicyError('sysctl', path, 'this kernel does not have it')
    return value


def _without(saved: Dict[str, str], forget: Iterable[str]) -> Dict[str, str]:
    gone = set(forget)
    return {path: value for path, value in saved.items() if path not in gone}


def _with_saved(table: Optional[NftTable], saved: Dict[str, str]) -> Optional[NftTable]:
    return normal(replace(table or NftTable(), saved=saved))


def _in_order(rules: Iterable[Rule]) -> Tuple[Rule, ...]:
    """Exclusions before the selectors they protect from; then descending, which the kernel inserts fastest."""
    return tuple(sorted(rules, key=lambda rule: (rule.table != MAIN, -rule.priority)))


#: Routing protocols kernel and ra (linux/rtnetlink.h).
_COME_AGAIN = (2, 9)
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
