# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the module ip_route does: read, parse, plan, apply, and tell."""

from __future__ import annotations

import functools
import socket
from typing import Any, Callable, Dict, Iterable, List, Mapping, Sequence

from .errors import PolicyError
from .kernel.changes import send_changes
from .kernel.names import table_names
from .kernel.netlink import Netlink
from .kernel.routes import identity, list_routes, route_changes, route_message
from .list_spec import parse_context, parse_tables
from .objects import Route
from .plan_list import RoutePlan, plan_no_routes, plan_routes, refuse_taken
from .route_spec import Placed, need_devices, parse_routes
from .text import route_text


def ensure_routes(options: Mapping[str, Any], check: bool = False, diff: bool = False) -> Dict[str, Any]:
    """Brings this namespace's routes to what the options of ip_route say, and returns the module's result.

    With `check` nothing is changed. PolicyError: the options are wrong or somebody else's route is in
    the way. KernelError: the kernel refused; nothing is changed then either.
    """
    tables = table_names()
    context = parse_context(options, tables)
    present = options['state'] == 'present'
    wanted = parse_routes('routes', options['routes'], context, complete=present)
    purgeable = _purgeable(options, tables)
    names = dict(socket.if_nameindex())
    with Netlink() as netlink:
        owned = list_routes(netlink, None, names, context.protocol)
        if present:
            need_devices(wanted, sorted(names.values()))
            refuse_taken(wanted, _others(netlink, wanted, names, context.protocol))
        routes = [route for _place, route in wanted]
        plan = plan_routes(routes, owned, purgeable) if present else plan_no_routes(routes, owned)
        if not check:
            message = functools.partial(route_message, indexes={name: index for index, name in names.items()})
            send_changes(netlink, route_changes(plan.add, plan.replace, plan.delete), message, route_text)
    return _result(plan, owned, diff)


def _others(netlink: Netlink, wanted: Sequence[Placed], names: Mapping[int, str], protocol: int) -> List[Route]:
    """Everybody else's routes in the tables that are written to."""
    tables = sorted({route.table for _place, route in wanted})
    return [route for route in list_routes(netlink, tables, names) if route.protocol != protocol]


def _purgeable(options: Mapping[str, Any], tables: Mapping[str, int]) -> Callable[[Route], bool]:
    """Which of our routes a purge may delete."""
    in_tables = parse_tables('tables', options['tables'], tables)
    if not options['purge']:
        return lambda _route: False
    if options['state'] == 'absent':
        raise PolicyError('purge', True, 'only with state present; an empty list there purges all of ours')
    return lambda route: in_tables is None or route.table in in_tables


def _result(plan: RoutePlan, owned: List[Route], diff: bool) -> Dict[str, Any]:
    result: Dict[str, Any] = {
        'changed': bool(plan.add or plan.replace or plan.delete),
        'added': _lines(plan.add),
        'removed': _lines(plan.delete),
        'replaced': [{'before': route_text(former), 'after': route_text(new)} for former, new in plan.replace],
    }
    if diff:
        result['diff'] = {'before': _text(owned), 'after': _text(plan.after)}
    return result


def _lines(routes: Iterable[Route]) -> List[str]:
    return [route_text(route) for route in sorted(routes, key=identity)]


def _text(routes: Iterable[Route]) -> str:
    return ''.join(f'{line}\n' for line in _lines(routes))
