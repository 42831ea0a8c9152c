# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Any intent at all: it compiles, or it is one line. 2,000 intents, some of them good and most nearly so."""

from __future__ import annotations

from typing import Any, Dict, Iterable

from ansible_collections.returntraffic.net.plugins.module_utils.bind import bind
from ansible_collections.returntraffic.net.plugins.module_utils.errors import PolicyError
from ansible_collections.returntraffic.net.plugins.module_utils.intent import (
    NETWORK_KEYS,
    POLICY_KEYS,
    SERVICE_KEYS,
    STRATEGIES,
    parse_policy,
)
from ansible_collections.returntraffic.net.plugins.module_utils.plan import make_plan
from ansible_collections.returntraffic.net.plugins.module_utils.preflight import preflight
from ansible_collections.returntraffic.net.plugins.module_utils.strategies.registry import compile_policy
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from samples import make_host, make_intent

JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
ADDRESS = st.ip_addresses().map(str) | st.sampled_from(['10.111.221.21', 'fe80::1', '192.168.1.1', '10.1', ''])
PREFIX = st.sampled_from(['10.0.0.0/8', 'fd00::/8', '10.0.0.1/8', '0.0.0.0/0', '10.0.0.0/33']) | ADDRESS
NUMBER = st.integers(-1, 2**33) | st.sampled_from(['0x10000', '7', 'x', 3000, 254])


def mutated(base: Dict[str, Any], keys: Iterable[str]) -> st.SearchStrategy:
    """The good mapping with a few keys replaced by something plausible, by junk, or left out."""
    keys = tuple(keys)
    plausible = (
        ADDRESS | st.lists(PREFIX, max_size=4) | NUMBER | st.sampled_from(['eth1', 'eth2', 'network1', 'storage'])
    )
    changes = st.dictionaries(st.sampled_from(keys) | st.text(max_size=4), plausible | JUNK, max_size=2)
    dropped = st.sets(st.sampled_from(keys), max_size=1)
    return st.tuples(changes, dropped).map(
        lambda pair: {key: value for key, value in {**base, **pair[0]}.items() if key not in pair[1]}
    )


_GOOD = make_intent()
NETWORKS = st.lists(st.sampled_from(_GOOD['networks']) | mutated(_GOOD['networks'][0], NETWORK_KEYS), max_size=4)
SERVICES = st.lists(st.sampled_from(_GOOD['services']) | mutated(_GOOD['services'][0], SERVICE_KEYS), max_size=4)
WHOLE = st.fixed_dictionaries(
    {'strategy': st.sampled_from(STRATEGIES)},
    optional={'networks': NETWORKS, 'services': SERVICES, 'exclude': st.lists(PREFIX, max_size=3)},
)
INTENTS = st.one_of(
    WHOLE.map(lambda changes: {**_GOOD, **changes}),
    mutated(_GOOD, POLICY_KEYS),
    st.sampled_from(STRATEGIES).map(make_intent),
    JUNK,
)


@settings(max_examples=2000, deadline=None, suppress_health_check=list(HealthCheck))
@given(INTENTS)
def test_an_intent_compiles_or_is_one_line(intent: Any) -> None:
    host = make_host()
    try:
        bound = bind(parse_policy(intent), host)
        desired = compile_policy(bound, host)
        findings = preflight(bound, desired, host)
        plan = make_plan(desired, host)
    except PolicyError as error:
        event('refused')
        assert str(error).count('\n') == 0
        assert str(error).startswith(f'{error.key}: ')
        assert error.allowed
    else:
        event('compiled')
        assert plan.changed
        assert all(finding.reason and finding.cure for finding in findings)


def test_each_strategy_compiles_the_sample_on_its_host() -> None:
    """The property above cannot be satisfied by refusing everything."""
    host = make_host()
    for strategy in STRATEGIES:
        bound = bind(parse_policy(make_intent(strategy)), host)
        assert make_plan(compile_policy(bound, host), host).changed
