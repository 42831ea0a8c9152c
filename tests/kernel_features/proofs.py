# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A policy on the lab's node, proven from packets, and taken away again."""

from __future__ import annotations

import contextlib
from typing import Any, Dict, Iterator, List, Set

import pytest
from ansible_collections.returntraffic.net.plugins.module_utils.engine import Outcome, ensure_absent, ensure_present
from ansible_collections.returntraffic.net.plugins.module_utils.kernel.observe import observe
from ansible_collections.returntraffic.net.plugins.module_utils.proof.spec import Flow
from ansible_collections.returntraffic.net.plugins.module_utils.proof.verdict import Verdict
from lab import Lab, has_vrf
from proving import prove


@contextlib.contextmanager
def policy(lab: Lab, variant: str, **changes: Any) -> Iterator[Outcome]:
    """What the module return_policy does, in this process; afterwards the node is what it was before."""
    if variant.startswith('vrf') and not has_vrf(lab.node):
        pytest.skip('this kernel is built without VRF')
    intent = lab.intent(variant, **changes)
    with lab.node.entered():
        before = everything()
        outcome = ensure_present(intent, False)
    try:
        with lab.node.entered():
            assert not ensure_present(intent, False).plan.changed
        yield outcome
    finally:
        with lab.node.entered():
            ensure_absent(False)
            after = everything()
    assert sorted(after ^ before) == []


def everything() -> Set[str]:
    """Rules, routes, links, addresses, sysctls and nft objects of this namespace; counters of others count on."""
    seen = observe()
    others = [entry for entry in seen.foreign_nft or () if 'counter' not in entry]
    found = (*seen.rules, *seen.routes, *seen.links, *seen.addresses, *seen.sysctls.items(), *others, seen.nft)
    return set(map(repr, found))


def networks(lab: Lab, *finders: Dict[str, str]) -> List[Dict[str, Any]]:
    """The inventory's networks, each found by another key than there."""
    kept = [{key: value for key, value in one.items() if key != 'interface'} for one in lab.data['node_networks']]
    return [{**one, **finder} for one, finder in zip(kept, finders)]


def verdicts(lab: Lab, flows: List[Flow]) -> List[Verdict]:
    """One proof of all flows, whose path MTU is not known yet."""
    lab.forget_path_mtu()
    return prove(lab.node, lab.clients, flows)


def failed(found: List[Verdict]) -> List[str]:
    """One line for each flow that did not pass."""
    return [f'{item.family} {item.kind} {item.path} {item.target}: {item.reason}' for item in found if not item.passed]


def nics(found: List[Verdict]) -> Set[str]:
    """All NICs that requests came in or replies left by."""
    return {nic for item in found for nic in (*item.requests, *item.replies)}
