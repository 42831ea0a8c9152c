# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Flows from targets: what is data becomes a list, what is wrong one line."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.returntraffic.net.plugins.module_utils.errors import PolicyError
from ansible_collections.returntraffic.net.plugins.module_utils.proof.spec import (
    FLOW_KEYS,
    KINDS,
    TIMEOUT,
    canonical,
    expand,
    parse_flow,
)
from hypothesis import given
from hypothesis import strategies as st

TARGET = {
    'name': 'vip1',
    'addresses': ['192.168.1.1', 'fd00:0:0::1'],
    'flows': [{'kind': 'tcp', 'port': 8080}, {'kind': 'icmp'}],
}


def test_a_target_is_a_flow_for_each_address_and_kind() -> None:
    flows = expand('client1', [TARGET])
    assert [(flow.vip, flow.family, flow.kind, flow.port) for flow in flows] == [
        ('192.168.1.1', 'ipv4', 'tcp', 8080),
        ('192.168.1.1', 'ipv4', 'icmp', 0),
        ('fd00::1', 'ipv6', 'tcp', 8080),
        ('fd00::1', 'ipv6', 'icmp', 0),
    ]
    assert {(flow.client, flow.target, flow.path, flow.timeout) for flow in flows} == {
        ('client1', 'vip1', 'host', TIMEOUT)
    }


def test_a_target_may_be_for_some_clients_only() -> None:
    target = dict(TARGET, clients=['client1'])
    assert len(expand('client1', [target, TARGET])) == 8
    assert len(expand('client2', [target, TARGET])) == 4


def test_a_flow_overrides_the_common_timeout() -> None:
    flows = expand(
        'c', [dict(TARGET, flows=[{'kind': 'icmp', 'timeout': 5.0}, {'kind': 'icmp', 'timeout': None}])], 2.0
    )
    assert [flow.timeout for flow in flows] == [5.0, 2.0, 5.0, 2.0]


def test_a_source_limits_the_flow_to_its_family() -> None:
    flows = expand('c', [dict(TARGET, flows=[{'kind': 'icmp', 'source': 'fd00:1::0002'}])])
    assert [(flow.vip, flow.source) for flow in flows] == [('fd00::1', 'fd00:1::2')]


@pytest.mark.parametrize(
    ('target', 'words'),
    [
        ({'addresses': []}, 'targets[0].addresses: []: a list with at least one entry'),
        ({'flows': None}, 'targets[0].flows: None: a list'),
        ({'addresses': ['10.0.0']}, "targets[0].addresses[0]: '10.0.0': an IPv4 or IPv6 address is wanted"),
        ({'flows': [{'kind': 'sctp', 'port': 1}]}, "targets[0].flows[0].kind: 'sctp': one of tcp, udp"),
        ({'flows': [{'kind': 'tcp'}]}, 'targets[0].flows[0].port: 0: a number from 1 to 65535'),
        ({'flows': [{'kind': 'tcp', 'port': 65536}]}, 'port: 65536'),
        ({'flows': [{'kind': 'tcp', 'port': '80'}]}, "port: '80'"),
        ({'flows': [{'kind': 'icmp', 'port': 80}]}, 'port: 80: icmp has no port'),
        ({'flows': [{'kind': 'icmp', 'count': 0}]}, 'count: 0: a number from 1 to 10000'),
        ({'flows': [{'kind': 'icmp', 'timeout': 0}]}, 'timeout: 0: above 0 and at most 60 seconds'),
        ({'flows': [{'kind': 'icmp', 'timeout': 'soon'}]}, "timeout: 'soon': a number of seconds"),
        ({'flows': [{'kind': 'icmp', 'path': 'magic'}]}, "path: 'magic': one of host, dnat"),
        (
            {'flows': [{'kind': 'udp', 'port': 1, 'expect': 'connect'}]},
            "expect: 'connect': only for kind tcp, and kind is udp",
        ),
        ({'flows': [{'kind': 'icmp', 'payload': 7}]}, 'payload: 7: a text is wanted'),
        ({'flows': [{'kind': 'icmp', 'prot': 1}]}, 'prot: 1: unknown key, allowed are'),
        ({'flows': [{'kind': 'icmp', 'source': 'me'}]}, "source: 'me': an IPv4 or IPv6 address is wanted"),
    ],
)
def test_what_is_wrong_is_named_in_one_line(target: dict[str, Any], words: str) -> None:
    with pytest.raises(PolicyError) as caught:
        expand('c', [{**TARGET, **target}])
    assert words in str(caught.value)
    assert '\n' not in str(caught.value)


def test_a_source_of_the_other_family_is_refused() -> None:
    with pytest.raises(PolicyError, match='source: .* family of 192.168.1.1'):
        parse_flow('flow', {'client': 'c', 'vip': '192.168.1.1', 'kind': 'icmp', 'source': 'fd00::1'})


def test_addresses_are_written_as_the_kernel_does() -> None:
    assert canonical('vip', 'FD00:0::0001') == 'fd00::1'
    assert canonical('vip', '::ffff:10.0.0.1') == '::ffff:10.0.0.1'


_ANYTHING = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.lists(st.none(), max_size=2)
)
_KEYS = st.sampled_from([*FLOW_KEYS, 'other'])


@given(st.dictionaries(_KEYS, _ANYTHING, max_size=3))
def test_any_flow_is_taken_or_refused_in_one_line(given_keys: dict[str, Any]) -> None:
    try:
        flow = parse_flow('flow', {'vip': '10.0.0.1', 'kind': 'tcp', 'port': 80, **given_keys})
    except PolicyError as problem:
        assert '\n' not in str(problem)
    else:
        assert flow.kind in KINDS
        assert isinstance(flow.payload.encode(), bytes)
