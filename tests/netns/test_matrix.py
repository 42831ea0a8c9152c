# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every reply's way, strategy by strategy: the matrix of docs/strategies.md, cell by cell, from packets.

A cell is (strategy, family, rp_filter, kind of flow, data path, whose VIP). It passes when all its
flows do, or it is refused by the strategy for the reason that is written there.
"""

from __future__ import annotations

import copy
from collections import Counter
from typing import Any, Dict, List, Set, Tuple

import pytest
from ansible_collections.returntraffic.net.plugins.module_utils.proof.verdict import Verdict
from lab import Lab, has_vrf, state_of
from modules import run_module
from proving import prove

STRATEGIES = ('static', 'source', 'mark', 'connmark', 'vrf-source', 'vrf-mark', 'vrf-connmark', 'vrf-connmark-veth')
RP_FILTERS = ('0', '1', '2')
#: Which flows a strategy can answer; for the others it refuses the intent that asks for them.
RELATIONS = {
    'static': ('own', 'shared'),
    'source': ('own', 'cross'),
    'mark': ('own', 'cross'),
    'connmark': ('own', 'shared', 'cross'),
    'vrf-source': ('own', 'cross'),
    'vrf-mark': ('own', 'cross'),
    'vrf-connmark': ('own', 'shared', 'cross'),
    'vrf-connmark-veth': ('own', 'shared', 'cross'),
}
REASONS = {'cross': 'a static route leads one way only', 'shared': 'one source address whichever VIP was asked'}

NO_VRF = 'this kernel is built without VRF'

Cell = Tuple[str, ...]


@pytest.fixture
def lab(bare_lab: Lab) -> Lab:
    """One lab for the whole matrix."""
    return bare_lab


@pytest.fixture(params=RP_FILTERS)
def rp_filter(request: pytest.FixtureRequest, lab: Lab) -> str:
    """rp_filter of the whole node."""
    lab.set_rp_filter(request.param)
    return str(request.param)


def cells_of(prefix: Cell, relation: str, verdicts: List[Verdict]) -> Dict[Cell, List[Verdict]]:
    """The verdicts by cell."""
    cells: Dict[Cell, List[Verdict]] = {}
    for item in verdicts:
        cells.setdefault((*prefix, item.family, item.kind, item.path, relation), []).append(item)
    return cells


def relation_of(lab: Lab, item: Verdict) -> str:
    """Which of the inventory's lists a verdict's target is of."""
    for name in ('own', 'shared', 'cross'):
        if any(target['name'] == item.target for target in lab.data[f'proof_targets_{name}']):
            return name
    raise AssertionError(f'no target {item.target}')


def run_cells(lab: Lab, prefix: Cell, *relations: str) -> Dict[Cell, List[Verdict]]:
    """One proof, its verdicts by cell."""
    cells: Dict[Cell, List[Verdict]] = {}
    lab.forget_path_mtu()
    verdicts = prove(lab.node, lab.clients, lab.flows(*relations))
    for relation in relations:
        found = [item for item in verdicts if relation_of(lab, item) == relation]
        cells.update(cells_of(prefix, relation, found))
    return cells


def test_control_every_reply_goes_astray(lab: Lab, rp_filter: str, matrix: Counter[str]) -> None:
    """Without a policy no cell passes, or the rest of this file shows nothing."""
    cells = run_cells(lab, ('none', rp_filter), 'own', 'shared', 'cross')
    wrong = {
        cell: [item.reason for item in found] for cell, found in cells.items() if any(item.passed for item in found)
    }
    assert not wrong
    # rp_filter is IPv4's: strict, the request is dropped and nothing goes astray.
    nics = {(item.family, nic) for found in cells.values() for item in found for nic in item.replies}
    assert nics == {('ipv6', 'eth0')} if rp_filter == '1' else {('ipv4', 'eth0'), ('ipv6', 'eth0')}
    matrix['control'] += len(cells)


@pytest.mark.parametrize('strategy', STRATEGIES)
def test_every_reply_leaves_by_its_requests_nic(lab: Lab, rp_filter: str, strategy: str, matrix: Counter[str]) -> None:
    if strategy.startswith('vrf') and not has_vrf(lab.node):
        refuse_without_vrf(lab, strategy, matrix)
        return
    before = state_of(lab.node)
    lab.apply(strategy)
    try:
        cells = run_cells(lab, (strategy, rp_filter), *RELATIONS[strategy])
        wrong = [(cell, item.reason) for cell, found in cells.items() for item in found if not item.passed]
        assert not wrong
        assert met_packet_too_big(cells) == {
            ('ipv4', 'client1'),
            ('ipv4', 'client2'),
            ('ipv6', 'client1'),
            ('ipv6', 'client2'),
        }
    finally:
        lab.absent()
    assert state_of(lab.node) == before
    matrix['passed'] += len(cells)


def refuse_without_vrf(lab: Lab, strategy: str, matrix: Counter[str]) -> None:
    """A kernel without VRF is told so; tests/kernels shows these cells on kernels that have it."""
    before = state_of(lab.node)
    answer = run_module(lab.node, 'return_policy', **lab.intent(strategy))
    assert NO_VRF in answer['msg']
    assert state_of(lab.node) == before
    flows = {(flow.kind, flow.path, ':' in flow.vip, name) for name in RELATIONS[strategy] for flow in lab.flows(name)}
    matrix[f'refused: {NO_VRF}'] += len(flows)


def met_packet_too_big(cells: Dict[Cell, List[Verdict]]) -> Set[Tuple[str, str]]:
    """(family, client) of the pmtu flows for which a router did say packet too big."""
    return {
        (item.family, item.client) for found in cells.values() for item in found if item.kind == 'pmtu' and item.ptb
    }


@pytest.mark.parametrize('strategy', ['static', 'source', 'mark', 'vrf-source', 'vrf-mark'])
def test_what_cannot_be_answered_is_refused(lab: Lab, rp_filter: str, strategy: str, matrix: Counter[str]) -> None:
    """The intent that asks for the cells left out above is refused, for the known reason, and nothing changes."""
    relation = 'cross' if strategy == 'static' else 'shared'
    before = state_of(lab.node)
    answer = run_module(lab.node, 'return_policy', **asking_for(lab, strategy, relation))
    assert REASONS[relation] in answer['msg']
    assert state_of(lab.node) == before
    flows = {(flow.kind, flow.path, ':' in flow.vip) for flow in lab.flows(relation)}
    matrix[f'refused: {REASONS[relation]}'] += len(flows)


def asking_for(lab: Lab, strategy: str, relation: str) -> Dict[str, Any]:
    """The lab's intent plus what its cross or shared flows need."""
    intent = copy.deepcopy(lab.intent(strategy))
    first, second = intent['networks'][0], intent['networks'][1]
    if relation == 'cross':
        first['clients'] = first['clients'] + second['clients']
    else:
        other = next(item for item in intent['services'] if item['network'] == second['name'])
        mine = next(item for item in intent['services'] if item['network'] == first['name'])
        other['backends'] = other['backends'] + mine['backends']
    return intent
