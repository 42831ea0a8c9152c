# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a list of wanted rules or routes and what the kernel has to the least that must change.

`owned` are the kernel's objects with our protocol; nothing else is ever deleted or replaced.
"""

from __future__ import annotations

from typing import Callable, Dict, Iterable, List, NamedTuple, Sequence, Set, Tuple

from .errors import PolicyError
from .kernel.routes import Identity, identity
from .objects import NextHop, Route, Rule


class RulePlan(NamedTuple):
    """What to add and to delete, and all of ours after that."""

    add: List[Rule]
    delete: List[Rule]
    after: List[Rule]


class RoutePlan(NamedTuple):
    """What to add, to replace in place (former, new) and to delete, and all of ours after that."""

    add: List[Route]
    replace: List[Tuple[Route, Route]]
    delete: List[Route]
    after: List[Route]


def plan_rules(wanted: Sequence[Rule], owned: Sequence[Rule], purgeable: Callable[[Rule], bool]) -> RulePlan:
    """Makes the wanted rules exist, once each, and every other purgeable one of ours vanish."""
    listed, seen = set(wanted), set()
    kept: List[Rule] = []
    delete: List[Rule] = []
    for rule in owned:
        again = rule in seen
        seen.add(rule)
        goes = again if rule in listed else purgeable(rule)
        (delete if goes else kept).append(rule)
    add = [rule for rule in wanted if rule not in seen]
    return RulePlan(add, delete, kept + add)


def plan_no_rules(unwanted: Sequence[Rule], owned: Sequence[Rule]) -> RulePlan:
    """Makes the listed rules vanish, every copy of them."""
    listed = set(unwanted)
    delete = [rule for rule in owned if rule in listed]
    return RulePlan([], delete, [rule for rule in owned if rule not in listed])


def plan_routes(wanted: Sequence[Route], owned: Sequence[Route], purgeable: Callable[[Route], bool]) -> RoutePlan:
    """Makes the wanted routes exist, one in the place of the one with its identity, others of ours vanish."""
    by_identity: Dict[Identity, List[Route]] = {}
    for route in owned:
        by_identity.setdefault(identity(route), []).append(route)
    add: List[Route] = []
    replace: List[Tuple[Route, Route]] = []
    settled: Set[Route] = set()
    for route in wanted:
        there = by_identity.get(identity(route), [])
        same = [former for former in there if same_route(route, former)]
        settled.update(same[:1] or there[:1])
        if not there:
            add.append(route)
        elif not same:
            replace.append((there[0], route))
    listed = {identity(route) for route in wanted}
    delete = [route for route in owned if route not in settled and (identity(route) in listed or purgeable(route))]
    gone = {*delete, *(former for former, _new in replace)}
    kept = [route for route in owned if route not in gone]
    return RoutePlan(add, replace, delete, kept + add + [new for _former, new in replace])


def plan_no_routes(unwanted: Sequence[Route], owned: Sequence[Route]) -> RoutePlan:
    """Makes the listed routes vanish; a listed one without next hops means those with any."""
    listed: Dict[Identity, List[Route]] = {}
    for route in unwanted:
        listed.setdefault(identity(route), []).append(route)
    delete = [route for route in owned if any(_meant(one, route) for one in listed.get(identity(route), ()))]
    gone = set(delete)
    return RoutePlan([], [], delete, [route for route in owned if route not in gone])


def _meant(listed: Route, route: Route) -> bool:
    if listed.type != route.type:
        return False
    return not listed.next_hops or same_hops(listed.next_hops, route.next_hops)


def same_route(wanted: Route, there: Route) -> bool:
    """Whether the kernel already has what is wanted. A next hop without a device means the one it found."""
    if wanted == there:
        return True
    found = there._replace(next_hops=wanted.next_hops)
    return wanted == found and same_hops(wanted.next_hops, there.next_hops)


def same_hops(wanted: Sequence[NextHop], there: Sequence[NextHop]) -> bool:
    """Whether two lists of next hops, in any order, are the same where the wanted one says something."""
    if len(wanted) != len(there):
        return False
    bare = [hop if one.device else hop._replace(device=None) for one, hop in zip(_sorted(wanted), _sorted(there))]
    return bare == _sorted(wanted)


def _sorted(hops: Iterable[NextHop]) -> List[NextHop]:
    return sorted(hops, key=lambda hop: (hop.gateway or '', hop.weight, hop.onlink, hop.device or ''))


def refuse_taken(wanted: Sequence[Tuple[int, Route]], others: Iterable[Route]) -> None:
    """PolicyError when somebody else's route already has the identity of a wanted one (place in the list, route).

    The kernel would refuse it anyway; but in check mode it is not asked.
    """
    taken = {identity(route): route for route in others}
    for place, route in wanted:
        other = taken.get(identity(route))
        if other is not None:
            raise PolicyError(
                f'routes[{place}].destination',
                route.destination,
                f'table {route.table} has a route of protocol {other.protocol} with metric {other.metric} to it; '
                'choose another metric or table',
            )
