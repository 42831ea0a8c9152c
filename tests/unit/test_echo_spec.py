# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an echo server may be told to listen on."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.returntraffic.net.plugins.module_utils.errors import PolicyError
from ansible_collections.returntraffic.net.plugins.module_utils.lab.echo_spec import Listener, parse_listeners


def test_listeners_are_canonical_sorted_and_of_both_protocols_by_default() -> None:
    parsed = parse_listeners([{'address': 'FD00::0001', 'port': 80}, {'address': '0.0.0.0', 'port': 7}])
    assert parsed == [
        Listener('0.0.0.0', 7, 'tcp'),
        Listener('0.0.0.0', 7, 'udp'),
        Listener('fd00::1', 80, 'tcp'),
        Listener('fd00::1', 80, 'udp'),
    ]
    assert [str(item) for item in parsed[1:3]] == ['udp 0.0.0.0:7', 'tcp [fd00::1]:80']


@pytest.mark.parametrize(
    ('listeners', 'key', 'allowed'),
    [
        (None, 'listeners', 'at least 1'),
        ({}, 'listeners', 'must be a list'),
        ([5], 'listeners[0]', 'must be a mapping'),
        ([{'port': 5}], 'listeners[0].address', 'is required'),
        ([{'address': '::'}], 'listeners[0].port', 'is required'),
        ([{'address': 'localhost', 'port': 5}], 'listeners[0].address', 'IPv4 or IPv6 address'),
        ([{'address': '::', 'port': 0}], 'listeners[0].port', '1 to 65535'),
        ([{'address': '::', 'port': 65536}], 'listeners[0].port', '1 to 65535'),
        ([{'address': '::', 'port': 5, 'protocols': ['sctp']}], 'listeners[0].protocols', 'one of tcp, udp'),
        ([{'address': '::', 'port': 5, 'protocols': []}], 'listeners[0].protocols', 'at least 1'),
        ([{'address': '::', 'port': 5, 'proto': 'tcp'}], 'listeners[0].proto', 'known are address, port, protocols'),
        ([{'address': '::', 'port': 5}, {'address': '0::0', 'port': 5}], 'listeners[1]', 'is there twice'),
    ],
)
def test_an_error_names_the_key_and_what_is_allowed(listeners: Any, key: str, allowed: str) -> None:
    with pytest.raises(PolicyError) as caught:
        parse_listeners(listeners)
    assert caught.value.key == key
    assert allowed in caught.value.allowed
