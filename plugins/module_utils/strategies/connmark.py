# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Strategy connmark: conntrack remembers by which NIC a connection came in; its replies leave by the same.

Knows no services, so none is listed and none is missed: N networks are N rules. The only
one that can answer one pod behind VIPs of two networks, and one client address behind both.
"""

from __future__ import annotations

from typing import Iterator, List, Tuple

from ..bind import Attachment, Bound
from ..desired import Desired, PriorityBlock
from ..nft import Chain, NftRule, NftTable, ct, match, meta, rule, set_bits
from ..observed import Observed
from .common import OUTPUT, POSTROUTING_NAT, PREROUTING, RAW, base_chain, marked_desired, restore_mark


def compile_connmark(bound: Bound, host: Observed) -> Desired:
    """Tables, exclusions, a fwmark rule a network, and the nft rules that set and restore the mark."""
    block = PriorityBlock(bound.policy.priority_base, bound.policy.priority_count)
    desired = marked_desired(bound, host, block)
    desired.drain = True
    desired.nft = NftTable(
        chains=(
            base_chain('prerouting', PREROUTING, _prerouting(bound)),
            base_chain('output', OUTPUT, _restores(bound)),
            *(_zone_chains(bound) if bound.policy.zones else ()),
        )
    )
    return desired


def _zone_chains(bound: Bound) -> Tuple[Chain, ...]:
    """Keeps connections apart that have the same addresses and ports but come in by different networks.

    Only the original direction has a zone: replies are looked up in zone 0 as ever, where address translation has
    given the second of two equal connections another port. That works only while some nat chain is loaded.
    """
    zones = (
        rule(
            f'{item.name}: connections of equal addresses and ports are kept apart by their network',
            match(meta('iifname'), item.nic),
            {'mangle': {'key': {'ct': {'key': 'zone', 'dir': 'original'}}, 'value': bound.policy.zone_base + at}},
        )
        for at, item in enumerate(bound.attachments, start=1)
    )
    return base_chain('zones', RAW, zones), base_chain('port_translation', POSTROUTING_NAT, ())


def _prerouting(bound: Bound) -> Iterator[NftRule]:
    for item in bound.attachments:
        yield _remember(item, bound.policy.mark_mask)
    nics: List[str] = [item.nic for item in bound.attachments]
    yield rule(
        'what comes in by these is a request, or a reply to the host', match(meta('iifname'), nics), {'return': None}
    )
    yield from _restores(bound)


def _remember(item: Attachment, mask: int) -> NftRule:
    """`ct direction original` and not `ct state new`: connections that are already open are marked too."""
    return rule(
        f'{item.name}: remember that the connection came in by {item.nic}',
        match(meta('iifname'), item.nic),
        match(ct('direction'), 'original'),
        set_bits(ct('mark'), mask, item.mark),
    )


def _restores(bound: Bound) -> Iterator[NftRule]:
    for item in bound.attachments:
        yield restore_mark(item, bound.policy.mark_mask)
