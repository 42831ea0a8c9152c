# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which source addresses a reply can have when it is routed, and which network each belongs to.

Routing happens before address translation is undone: a process on the host answers
from the VIP, a pod behind DNAT from its own address.
"""

from __future__ import annotations

from typing import Dict

from ..bind import Bound
from ..errors import PolicyError


def sources_by_network(bound: Bound) -> Dict[str, str]:
    """Source address -> network name, for all services; PolicyError when an address would belong to two."""
    owner: Dict[str, str] = {}
    for at, service in enumerate(bound.policy.services):
        for what, addresses in (('vips', service.vips), ('backends', service.backends)):
            for address in addresses:
                if owner.setdefault(address, service.network) != service.network:
                    raise _claimed(f'services[{at}].{what}', address, owner[address], what)
    if not owner:
        raise PolicyError(
            'services', [], f'strategy {bound.policy.strategy} selects by source address and needs services'
        )
    return owner


def _claimed(key: str, address: str, network: str, what: str) -> PolicyError:
    reason = (
        'its replies have one source address whichever VIP was asked' if what == 'backends' else 'a VIP has one network'
    )
    return PolicyError(key, address, f'is reached over {network} too; {reason}: use strategy connmark')
