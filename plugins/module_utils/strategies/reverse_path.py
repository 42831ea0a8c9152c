# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Option strict_reverse_path: what comes in by a network is dropped unless its reply would leave by it, IPv6 too.

The kernel's own check (rp_filter) is IPv4's and looks up without the mark, so marking strategies need it loose.
nft's `fib` looks up with the packet's mark: it is lent the network's mark for the lookup alone.
"""

from __future__ import annotations

from typing import Iterator, List

from ..bind import Attachment, Bound
from ..nft import REVERSE_PATH, Chain, Hook, Json, NftRule, clear_bits, match, meta, no_way_back, rule
from .common import base_chain, set_mark

#: After dstnat (-100): the reply of a pod is routed by the pod's address.
AFTER_DNAT = Hook('filter', 'prerouting', -90)


def reverse_path_chain(bound: Bound, marked: bool) -> Chain:
    """The check of every network. `marked`: whether it is the mark that leads replies to the network's table."""
    rules: List[NftRule] = []
    for item in bound.attachments:
        rules += _check_marked(item, bound.policy.mark_mask) if marked else [_drop(item, 'saddr', 'iif')]
    return base_chain(REVERSE_PATH, AFTER_DNAT, rules)


def _check_marked(item: Attachment, mask: int) -> Iterator[NftRule]:
    """The packet goes on without the mark: a request that carried it would be routed back to where it came from."""
    lent = 'looked up as its reply would be'
    yield set_mark(f'{item.name}: {lent}', item, mask, *_comes_in(item))
    yield _drop(item, 'saddr', 'mark', 'iif')
    yield rule(f'{item.name}: and routed without the mark', *_comes_in(item), clear_bits(meta('mark'), mask))


def _drop(item: Attachment, *keys: str) -> NftRule:
    comment = f'{item.name}: replies to this source would not leave by {item.nic}'
    return rule(comment, *_comes_in(item), no_way_back(*keys), {'counter': None}, {'drop': None})


def _comes_in(item: Attachment) -> Iterator[Json]:
    """A family without a gateway in this network is left alone."""
    yield match(meta('iifname'), item.nic)
    if len(item.families) == 1:
        yield match(meta('nfproto'), item.families[0])
