# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Strategy static: a route to each client network through the network it comes in by.

Nothing but routes in table main; passes strict rp_filter. A client network can belong
to one network only, so a client that uses the VIP of another one is answered wrongly.
"""

from __future__ import annotations

from typing import Dict

from ..bind import Bound
from ..desired import Desired
from ..errors import PolicyError
from ..objects import Route
from ..observed import MAIN, Observed
from ..values import family_of
from .common import via_gateway


def compile_static(bound: Bound, host: Observed) -> Desired:
    """One route a client network, in table main."""
    owner: Dict[str, str] = {}
    routes: Dict[Route, str] = {}
    for at, item in enumerate(bound.attachments):
        key = f'networks[{at}].clients'
        if not item.clients:
            raise PolicyError(key, [], 'strategy static needs the client networks behind this network')
        for prefix in item.clients:
            _claim(owner, key, prefix, item.name)
            _check_gateway(key, prefix, item.gateways, item.name)
            route = via_gateway(item, family_of(prefix), MAIN, prefix)
            routes[route] = f'{item.name}: clients in {prefix} come in by it and are answered through it'
    return Desired(routes=routes)


def _claim(owner: Dict[str, str], key: str, prefix: str, name: str) -> None:
    if owner.setdefault(prefix, name) != name:
        raise PolicyError(
            key, prefix, f'is behind {owner[prefix]} too; a static route leads one way only, use strategy connmark'
        )


def _check_gateway(key: str, prefix: str, gateways: Dict[str, str], name: str) -> None:
    if family_of(prefix) not in gateways:
        raise PolicyError(key, prefix, f'{name} has no {family_of(prefix)} gateway')
