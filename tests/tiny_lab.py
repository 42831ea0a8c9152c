# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Labs of a few hosts for tests of the module netns_lab itself; names never clash between runs."""

from __future__ import annotations

import copy
import itertools
import json
import os
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any, Dict, List, Optional, Type

from modules import module_arguments, module_command
from namespaces import Namespace

_COUNTER = itertools.count()
_QUIET = {'net.ipv6.conf.all.accept_dad': 0, 'net.ipv6.conf.default.accept_dad': 0}

NETWORKS = [{'name': 'blue', 'prefixes': ['10.8.0.0/24', 'fd08::/64']}, {'name': 'red'}]
HOSTS: List[Dict[str, Any]] = [
    {
        'name': 'left',
        'sysctls': {**_QUIET, 'net.ipv4.ip_forward': 1, 'net.ipv4.conf.all.rp_filter': 2},
        'loopback_addresses': ['192.168.8.1', 'fd08:8::1'],
        'interfaces': [
            {'name': 'eth0', 'network': 'blue', 'addresses': ['10.8.0.1/24', 'fd08::1/64']},
            {'name': 'eth1', 'network': 'red', 'addresses': ['10.8.1.1/24'], 'mtu': 1400},
        ],
    },
    {
        'name': 'right',
        'sysctls': _QUIET,
        'interfaces': [{'name': 'eth0', 'network': 'blue', 'addresses': ['10.8.0.2/24', 'fd08::2/64']}],
    },
]


def netns_lab(**options: Any) -> Dict[str, Any]:
    """The module's answer, run where the test runs: a lab is made from outside of it."""
    text = module_arguments(**options)
    done = subprocess.run(module_command('netns_lab'), input=text, capture_output=True, text=True, check=False)
    assert 'Traceback' not in done.stdout + done.stderr, done.stdout + done.stderr
    answer: Dict[str, Any] = json.loads(done.stdout)
    return answer


class TinyLab:
    """Two hosts, two networks; `hosts` and `networks` may be edited before each `build`."""

    def __init__(self) -> None:
        self.name = f'tt{os.getpid()}x{next(_COUNTER)}'
        self.hosts = copy.deepcopy(HOSTS)
        self.networks = copy.deepcopy(NETWORKS)

    def __enter__(self) -> TinyLab:
        self.build()
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.remove()

    def build(self, **options: Any) -> Dict[str, Any]:
        """The module's answer to state=present; AssertionError with its message if it failed."""
        answer = netns_lab(name=self.name, networks=self.networks, hosts=self.hosts, **options)
        assert not answer.get('failed'), answer['msg']
        return answer

    def remove(self, **options: Any) -> Dict[str, Any]:
        """The module's answer to state=absent."""
        answer = netns_lab(name=self.name, state='absent', **options)
        assert not answer.get('failed'), answer['msg']
        return answer

    def host(self, name: str) -> Namespace:
        """The namespace of a host, or of the switch."""
        return Namespace(f'{self.name}-{name}')

    def names(self) -> List[str]:
        """The names in /run/netns that are this lab's."""
        return sorted(path.name for path in Path('/run/netns').glob(f'{self.name}-*'))
