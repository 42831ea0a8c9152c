# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""This host's tools and Python: each policy goes in, is found as it is, and goes away, whichever release's they are.

What nft lists differs from version to version; a run that changes nothing shows that what is listed is understood.
tests/kernels runs this with the tools of older and newer Debian releases, see jobs.py there.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, Dict, Iterator

import pytest
from ansible_collections.returntraffic.net.plugins.module_utils.engine import ensure_absent, ensure_present
from lab import has_vrf
from modules import run_module
from namespaces import Namespace
from samples import make_intent

PLUGINS = Path(__file__).resolve().parents[2] / 'plugins'
NICS = """
link add eth{0} type veth peer name peer{0}
addr add 10.111.22{0}.11/24 dev eth{0}
addr add fd00:10:111:22{0}::11/64 dev eth{0} nodad
link set eth{0} up
link set peer{0} up
"""
MORE = """
route add default via 10.111.220.1
route add default via fd00:10:111:220::1
addr add 192.168.1.1/32 dev lo
addr add 192.168.2.1/32 dev lo
addr add 192.168.2.2/32 dev lo
addr add fd00:192:168:1::1/128 dev lo
"""
#: What else may be listed beside our table: kinds of objects, statements and types that are not ours.
OTHERS = """
table ip nat {
  map backends {
    type ipv4_addr : ipv4_addr
    elements = { 10.9.9.9 : 10.244.0.9 }
  }
  set seen { type ipv4_addr; flags dynamic, timeout; timeout 1m; }
  counter requests { }
  chain prerouting {
    type nat hook prerouting priority dstnat; policy accept;
    counter name requests
    dnat to ip daddr map @backends
  }
}
table bridge other {
  set places { type ipv4_addr . inet_service; elements = { 10.9.9.9 . 80 }; }
  chain forward { type filter hook forward priority 0; policy accept; }
}
"""


@pytest.fixture
def host(namespace: Namespace) -> Namespace:
    """A host as samples.make_intent wants it, with tables of others."""
    namespace.batch(''.join(NICS.format(number) for number in range(3)) + MORE)
    forwarding = ('net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1')
    namespace.run('sysctl', '-qw', 'net.ipv4.conf.all.rp_filter=1', *forwarding)
    namespace.run('nft', '-f', '-', stdin=OTHERS)
    return namespace


def policies() -> Iterator[Dict[str, Any]]:
    """Each strategy, and zones, which is an option of one."""
    for strategy in ('static', 'source', 'mark', 'connmark'):
        yield make_intent(strategy)
    yield make_intent('connmark', zones=True)
    for selector in ('source', 'mark', 'connmark'):
        yield make_intent('vrf', selector=selector)


def policy_name(policy: Dict[str, Any]) -> str:
    """For the list of tests."""
    return '-'.join([policy['strategy'], *(str(policy[key]) for key in ('selector', 'zones') if key in policy)])


def lists_vips(policy: Dict[str, Any]) -> bool:
    """Whether one VIP more changes anything."""
    return policy.get('selector', policy['strategy']) in ('source', 'mark')


def applied(host: Namespace, policy: Dict[str, Any]) -> bool:
    """Apply it as the module does, in this process; whether that changed anything."""
    with host.entered():
        return ensure_present(copy.deepcopy(policy), False).plan.changed


@pytest.mark.parametrize('policy', list(policies()), ids=policy_name)
def test_a_policy_is_found_as_it_is_and_goes_away(host: Namespace, policy: Dict[str, Any]) -> None:
    if policy['strategy'] == 'vrf' and not has_vrf(host):
        pytest.skip('this kernel is built without VRF')
    before = host.run('nft', '-s', 'list', 'ruleset')
    assert applied(host, policy)
    assert not applied(host, policy)
    # One VIP more: with mark single elements, of which the listing must show the new one as well.
    policy['services'][1]['vips'].append('192.168.2.2')
    assert applied(host, policy) == lists_vips(policy)
    assert not applied(host, policy)
    with host.entered():
        assert ensure_absent(False).plan.changed
    assert host.run('nft', '-s', 'list', 'ruleset') == before


def test_the_module_runs_with_this_python(host: Namespace) -> None:
    for changed in (True, False):
        answer = run_module(host, 'return_policy', **make_intent())
        assert answer.get('changed') == changed, answer
    assert run_module(host, 'return_policy_info')['present']
    assert run_module(host, 'return_policy', state='absent')['changed']


@pytest.mark.parametrize('folder', ['modules', 'module_utils'])
def test_all_that_runs_on_hosts_compiles(folder: str) -> None:
    files = sorted((PLUGINS / folder).rglob('*.py'))
    assert len(files) > 5
    for file in files:
        compile(file.read_text(), str(file), 'exec')
