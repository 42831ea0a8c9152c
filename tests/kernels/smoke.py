# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The smoke job: the kernel has what the strategies need. Runs as root in a booted kernel, in a namespace of its own.

Not collected by a plain pytest (its name does not start with test_): on a kernel without these features it would fail.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Iterator

import pytest

NFT = """\
table inet smoke {
  chain request { type filter hook prerouting priority mangle;
    iifname "eth1" ct direction original ct mark set 0x10000; }
  chain restore { type route hook output priority mangle;
    ct direction reply meta mark set ct mark; }
  chain strict { type filter hook prerouting priority filter; fib saddr . mark . iif oif missing drop; }
  chain services { type nat hook prerouting priority dstnat; tcp dport 9080 dnat ip to 10.0.0.2:8080; }
}
"""
FLOWTABLE = """\
table inet smoke {
  flowtable fast { hook ingress priority 0; devices = { nic1, nic2 }; }
  chain forward { type filter hook forward priority 0; ct state established flow add @fast; }
}
"""


def sh(*command: str, text: str | None = None) -> str:
    """Output of a command that must succeed."""
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f'{" ".join(command)}: {done.stderr}'
    return done.stdout


@pytest.fixture
def netns() -> Iterator[str]:
    """A network namespace with a veth pair nic1-nic2."""
    name = f'smoke-{os.getpid()}'
    sh('ip', 'netns', 'add', name)
    try:
        sh('ip', '-n', name, 'link', 'add', 'nic1', 'type', 'veth', 'peer', 'name', 'nic2')
        yield name
    finally:
        sh('ip', 'netns', 'delete', name)


def test_runs_the_kernel_that_was_booted() -> None:
    booted = Path(os.environ['KERNEL_RESULTS']).parent / 'booted'
    assert booted.read_text().strip() == os.uname().release


def test_is_root_with_loopback_up() -> None:
    assert os.geteuid() == 0
    assert 'UP' in sh('ip', 'link', 'show', 'lo').split('<')[1].split('>')[0].split(',')


def test_enslaves_a_nic_to_a_vrf(netns: str) -> None:
    sh('ip', '-n', netns, 'link', 'add', 'vrf1', 'type', 'vrf', 'table', '101')
    sh('ip', '-n', netns, 'link', 'set', 'nic1', 'master', 'vrf1')
    assert 'vrf_slave table 101' in sh('ip', '-n', netns, '-d', 'link', 'show', 'nic1')


@pytest.mark.parametrize('ruleset', [NFT, FLOWTABLE], ids=['marks', 'flowtable'])
def test_takes_nft_rules(netns: str, ruleset: str) -> None:
    sh('ip', 'netns', 'exec', netns, 'nft', '-f', '-', text=ruleset)
    assert 'table inet smoke' in sh('ip', 'netns', 'exec', netns, 'nft', 'list', 'ruleset')


def test_delays_and_loses_packets_by_netem(netns: str) -> None:
    sh('tc', '-n', netns, 'qdisc', 'add', 'dev', 'nic1', 'root', 'netem', 'delay', '5ms', 'loss', '2%')
    assert 'netem' in sh('tc', '-n', netns, 'qdisc', 'show', 'dev', 'nic1')


@pytest.mark.parametrize(
    'link', ['name made type dummy', 'link nic1 name made type vlan id 7', 'name made type bridge']
)
def test_makes_links(netns: str, link: str) -> None:
    sh('ip', '-n', netns, 'link', 'add', *link.split())
    assert f'{link.split("type ")[1].split()[0]} ' in sh('ip', '-n', netns, '-d', 'link', 'show', 'made')


def test_has_the_datapath_of_openvswitch() -> None:
    families = sh('genl', 'ctrl', 'list')
    assert {'ovs_datapath', 'ovs_flow', 'ovs_vport'} <= set(families.split())


def test_loads_modules_by_itself() -> None:
    assert not Path('/sys/module/sch_tbf').exists()
    sh('modprobe', 'sch_tbf')
    assert Path('/sys/module/sch_tbf').is_dir()


def test_bridges_without_iptables_hooks() -> None:
    assert not Path('/sys/module/br_netfilter').exists()
