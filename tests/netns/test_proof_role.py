# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role proof as users run it: ansible-playbook, plain inventory, hosts that are namespaces."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, Iterator, List

import pytest
from echoes import echo
from small_lab import CLIENT_4, CLIENT_6, VIP_4, VIP_6, SmallLab, small_lab

PROJECT = Path(__file__).resolve().parents[2]

PLAY = """
- name: Prove
  hosts: HOSTS
  gather_facts: false
  roles: [{role: returntraffic.net.proof}]
"""


@pytest.fixture(scope='module')
def lab() -> Iterator[SmallLab]:
    with small_lab() as made, echo(made.node, (VIP_4, 8080), (VIP_6, 8080)):
        yield made


def inventory(lab: SmallLab) -> Dict[str, Any]:
    hosts = {name: {'ansible_netns_name': getattr(lab, name).name} for name in ('node', 'client')}
    variables = {
        'ansible_connection': 'returntraffic.net.netns',
        'ansible_python_interpreter': sys.executable,
        'proof_clients': [{'name': 'client', 'addresses': [CLIENT_4, CLIENT_6]}],
        'proof_targets': [
            {'name': 'vip', 'addresses': [VIP_4, VIP_6], 'flows': [{'kind': 'tcp', 'port': 8080}, {'kind': 'icmp'}]}
        ],
        'proof_timeout': 0.5,
    }
    return {'all': {'hosts': hosts, 'vars': variables}}


def play(lab: SmallLab, folder: Path, hosts: str, *options: str, **variables: Any) -> subprocess.CompletedProcess[str]:
    (folder / 'inventory.json').write_text(json.dumps(inventory(lab)))
    (folder / 'play.yml').write_text(PLAY.replace('HOSTS', hosts))
    command = [
        sys.executable,
        '-m',
        'ansible.cli.playbook',
        '-i',
        str(folder / 'inventory.json'),
        str(folder / 'play.yml'),
    ]
    extra = ['-e', json.dumps({'proof_report_path': str(folder / 'new' / 'report.json'), **variables})]
    environment = {
        'ANSIBLE_CONFIG': str(PROJECT / 'ansible.cfg'),
        'PATH': '/usr/sbin:/usr/bin:/sbin:/bin',
        'HOME': str(folder),
    }
    return subprocess.run([*command, *extra, *options], env=environment, capture_output=True, text=True, check=False)


def report(folder: Path) -> Dict[str, Any]:
    found: Dict[str, Any] = json.loads((folder / 'new' / 'report.json').read_text())
    return found


def recap(output: str) -> List[str]:
    return [line for line in output.splitlines() if 'unreachable=' in line]


def test_a_control_without_policy_is_shown_and_reported(lab: SmallLab, tmp_path: Path) -> None:
    lab.answer_by_eth0()
    done = play(lab, tmp_path, 'node,client', proof_expect='fail', proof_label='nothing')
    assert done.returncode == 0, done.stdout + done.stderr
    assert 'Negative control: nothing' in done.stdout
    assert 'replies left by eth0, the wrong NIC' in done.stdout
    assert [line.count('changed=0') for line in recap(done.stdout)] == [1, 1]
    found = report(tmp_path)
    assert (found['passed'], found['flows_failed'], found['incomplete']) == (0, 4, 0)
    assert {tuple(verdict['wrong_replies']) for verdict in found['verdicts']} == {('eth0',)}


def test_what_is_not_as_expected_fails_in_one_line(lab: SmallLab, tmp_path: Path) -> None:
    lab.answer_by_eth0()
    done = play(lab, tmp_path, 'node,client')
    assert done.returncode == 2
    flow = 'client to 10.9.9.9 tcp 8080: FAIL, reply left by eth0, request came by eth1'
    assert f'4 of 4 flows are not PASS as expected: {flow}' in done.stdout
    assert report(tmp_path)['flows_failed'] == 4


def test_check_mode_fires_nothing_and_writes_nothing(lab: SmallLab, tmp_path: Path) -> None:
    done = play(lab, tmp_path, 'node,client', '--check')
    assert done.returncode == 0, done.stdout + done.stderr
    assert not (tmp_path / 'new').exists()
    assert 'Proof' not in done.stdout.replace('TASK [returntraffic.net.proof', '')


@pytest.mark.parametrize('hosts', ['node,client', 'node'])
def test_the_same_is_proven_with_clients_in_the_play_and_outside_of_it(
    lab: SmallLab, tmp_path: Path, hosts: str
) -> None:
    lab.answer_by_eth1()
    done = play(lab, tmp_path, hosts)
    assert done.returncode == 0, done.stdout + done.stderr
    assert '4 flows: 4 PASS' in done.stdout
    assert all('changed=0' in line for line in recap(done.stdout))
    verdicts = report(tmp_path)['verdicts']
    assert [(verdict['kind'], verdict['verdict'], list(verdict['replies'])) for verdict in verdicts] == [
        (kind, 'PASS', ['eth1']) for kind in ('tcp', 'icmp') * 2
    ]


def test_a_client_that_fires_nothing_is_not_overlooked(lab: SmallLab, tmp_path: Path) -> None:
    lab.answer_by_eth1()
    targets = [dict(inventory(lab)['all']['vars']['proof_targets'][0], clients=['somebody else'])]
    done = play(lab, tmp_path, 'node,client', proof_targets=targets)
    assert done.returncode == 2
    assert 'answers: no flow was fired by client: nothing to judge' in done.stdout


def test_a_capture_is_ended_when_clients_fail(lab: SmallLab, tmp_path: Path) -> None:
    done = play(
        lab, tmp_path, 'node', proof_targets=[{'name': 'vip', 'addresses': ['nowhere'], 'flows': [{'kind': 'icmp'}]}]
    )
    assert done.returncode == 2
    assert "targets[0].addresses[0]: 'nowhere': an IPv4 or IPv6 address is wanted" in done.stdout
    assert 'returntraffic-capture' not in lab.node.run('cat', '/proc/net/unix')
