# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prints what is on this host, as the distribution's tools list it, as JSON: all of it, and what is not ours.

What is ours is told by its tag alone, not by our code: routing protocol 201, and nft's table inet returntraffic.
"""

from __future__ import annotations

import glob
import json
import subprocess
from typing import Any, Dict, List

PROTOCOL = '201'
LISTINGS = {
    'rules of IPv4': ['ip', '-N', '-j', '-4', 'rule'],
    'rules of IPv6': ['ip', '-N', '-j', '-6', 'rule'],
    'routes of IPv4': ['ip', '-N', '-j', '-4', 'route', 'show', 'table', 'all'],
    'routes of IPv6': ['ip', '-N', '-j', '-6', 'route', 'show', 'table', 'all'],
    'nft': ['nft', '-j', 'list', 'ruleset'],
}
SYSCTLS = (
    '/proc/sys/net/ipv4/conf/*/*',
    '/proc/sys/net/ipv6/conf/*/forwarding',
    '/proc/sys/net/ipv6/conf/*/keep_addr_on_down',
    '/proc/sys/net/ipv4/*fwmark*',
    '/proc/sys/net/ipv6/*fwmark*',
    '/proc/sys/net/ipv4/*l3mdev*',
    '/proc/sys/net/ipv4/ip_forward',
)


def main() -> None:
    listed = {name: run(command) for name, command in LISTINGS.items()}
    sysctls = {path[len('/proc/sys/') :]: read(path) for pattern in SYSCTLS for path in sorted(glob.glob(pattern))}
    foreign = {name: [json.dumps(item) for item in others(text)] for name, text in listed.items()}
    print(json.dumps({'all': listed, 'foreign': foreign, 'sysctls': sysctls}))


def run(command: List[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def read(path: str) -> str:
    with open(path, encoding='ascii') as stream:
        return stream.read().strip()


def others(text: str) -> List[Dict[str, Any]]:
    """The objects without our tag, in their order."""
    found = json.loads(text)
    return [item for item in (found['nftables'] if isinstance(found, dict) else found) if not is_ours(item)]


def is_ours(item: Dict[str, Any]) -> bool:
    if str(item.get('protocol')) == PROTOCOL:
        return True
    inner = next(iter(item.values()))
    if not isinstance(inner, dict) or inner.get('family') != 'inet':
        return False
    return inner.get('table', inner.get('name') if 'table' in item else None) == 'returntraffic'


main()
