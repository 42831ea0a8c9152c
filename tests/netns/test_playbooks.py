# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks as users run them: first, again, in check mode, with each option, and the end of it all."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterator, List, Set

import pytest
from lab import Lab, state_of

#: Seconds for the first run: twice what an idle machine takes, and on a busy one as much more as others are served.
LIMIT = 30.0 * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))

HOSTS = {'node', 'router', 'gateway', 'client1', 'client2', 'pod1', 'pod2', 'localhost'}


@dataclass
class Run:
    """One run of bare.yml: what it printed, and how long it took."""

    output: str
    seconds: float

    @property
    def changed(self) -> Dict[str, int]:
        """changed= of the recap, by host."""
        return {host: int(count) for host, count in re.findall(r'^(\S+) +: ok=\d+ +changed=(\d+)', self.output, re.M)}

    @property
    def diffs(self) -> List[str]:
        """Each diff that was shown, whole, and whether its task changed something."""
        return re.findall(r'^--- before.*?^(?:changed|ok):', self.output, re.M | re.S)

    def says(self, text: str) -> bool:
        """Whether it printed a text, wherever lines were broken."""
        return text in ' '.join(self.output.split())


class Bare:
    """bare.yml on a lab of its own, with a folder of its own for its reports."""

    def __init__(self, lab: Lab, reports: Path) -> None:
        self.lab = lab
        self.reports = reports

    def run(self, *words: str, **variables: Any) -> Run:
        """Run it; AssertionError when it fails."""
        started = time.monotonic()
        output = self.lab.play('bare.yml', *words, reports=str(self.reports), **variables)
        return Run(output, time.monotonic() - started)

    def report(self, name: str) -> Dict[str, Any]:
        """control or proof, as last written."""
        found: Dict[str, Any] = json.loads((self.reports / f'{name}.json').read_text())
        return found

    def has_policy(self) -> bool:
        """Whether the table of a policy is in the kernel."""
        return 'table inet returntraffic' in self.lab.node.run('nft', 'list', 'tables')


@pytest.fixture(scope='module')
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bare]:
    """Nothing yet: the first run builds the lab."""
    made = Bare(Lab(), tmp_path_factory.mktemp('reports'))
    yield made
    made.lab.play('down.yml')


@pytest.fixture(scope='module')
def first(bare: Bare) -> Run:
    """The first run of all."""
    return bare.run()


def test_the_first_run_shows_the_fault_and_its_cure_in_time(bare: Bare, first: Run) -> None:
    print(f'\nbare.yml from nothing: {first.seconds:.1f} s')
    assert first.seconds < LIMIT
    assert set(first.changed) == HOSTS
    assert first.output.index('Negative control: no policy') < first.output.index('Proof: strategy connmark')
    control, proof = bare.report('control'), bare.report('proof')
    assert (control['passed'], control['flows_failed'], control['incomplete']) == (0, len(control['verdicts']), 0)
    assert {nic for verdict in control['verdicts'] for nic in verdict['wrong_replies']} == {'eth0'}
    assert (proof['passed'], proof['flows_failed'], proof['incomplete']) == (len(proof['verdicts']), 0, 0)


def test_a_second_run_changes_nothing_and_says_when_the_fault_was_shown(bare: Bare, first: Run) -> None:
    shown = bare.report('control')['time']
    before = state_of(bare.lab.node)
    second = bare.run()
    assert second.changed == dict.fromkeys(HOSTS, 0)
    assert second.says(f'it was shown at {shown}')
    assert 'Negative control' not in second.output
    assert state_of(bare.lab.node) == before
    assert bare.report('proof')['flows_failed'] == 0


@pytest.mark.parametrize('rp_filter', ['0', '1'])
def test_the_control_can_be_had_again_whatever_rp_filter_is(bare: Bare, first: Run, rp_filter: str) -> None:
    """2 is what the first run had."""
    shown = bare.report('control')['time']
    run = bare.run(control='always', lab_rp_filter=rp_filter)
    assert run.changed == {**dict.fromkeys(HOSTS, 0), 'localhost': 1, 'node': 2}
    assert bare.lab.node.run('sysctl', '-n', 'net.ipv4.conf.all.rp_filter').strip() == rp_filter
    control = bare.report('control')
    assert control['time'] > shown
    assert control['flows_failed'] == len(control['verdicts'])
    # Strict, the node drops what it would answer wrongly: nothing of IPv4 is seen to leave.
    astray = {verdict['family'] for verdict in control['verdicts'] if verdict['wrong_replies']}
    assert astray == ({'ipv6'} if rp_filter == '1' else {'ipv4', 'ipv6'})
    assert bare.report('proof')['flows_failed'] == 0
    assert bare.has_policy()


def test_check_mode_predicts_what_the_run_then_does(bare: Bare, first: Run) -> None:
    bare.lab.play('lab.yml', lab_rp_filter=1)
    bare.lab.absent()
    before = state_of(bare.lab.node)
    planned = bare.run('--check', '--diff', lab_rp_filter=1)
    assert state_of(bare.lab.node) == before
    done = bare.run('--diff', lab_rp_filter=1)
    assert planned.changed == done.changed == {**dict.fromkeys(HOSTS, 0), 'node': 1}
    assert planned.diffs == done.diffs
    assert len(planned.diffs) == 1
    assert 'fwmark 0x10000/0xff0000' in planned.diffs[0]
    assert bare.has_policy()


def test_the_end_leaves_nothing(bare: Bare, first: Run) -> None:
    name = bare.lab.name
    assert len(named(name)) > 0
    processes = living_in(name)
    assert len(processes) > 0
    bare.lab.play('down.yml')
    assert named(name) == set()
    assert [pid for pid in processes if runs(pid)] == []
    assert name not in Path('/proc/self/mountinfo').read_text()
    again = bare.lab.play('down.yml')
    assert Run(again, 0.0).changed == {'localhost': 0}


def test_check_mode_of_a_lab_that_is_not_there_makes_nothing(bare: Bare) -> None:
    bare.lab.play('down.yml')
    planned = bare.run('--check', '--diff')
    assert planned.changed['localhost'] == 1
    assert sum(planned.changed.values()) == 1
    assert named(bare.lab.name) == set()


def named(lab: str) -> Set[Path]:
    """Files and folders that are called after the lab, wherever such things are kept."""
    places = ('/run', '/tmp', '/var/tmp', '/dev/shm', '/etc/netns', '/var/run/netns')
    return {path for place in places if Path(place).is_dir() for path in find(place, f'*{lab}*')}


def find(place: str, pattern: str) -> List[Path]:
    command = ['find', place, '-path', '/tmp/bash_jobs*', '-prune', '-o', '-name', pattern, '-print']
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return [Path(line) for line in done.stdout.splitlines()]


def living_in(lab: str) -> List[str]:
    """The processes whose network is one of the lab's namespaces."""
    found: List[str] = []
    for path in Path('/run/netns').glob(f'{lab}-*'):
        done = subprocess.run(['ip', 'netns', 'pids', path.name], capture_output=True, text=True, check=True)
        found += done.stdout.split()
    return found


def runs(pid: str) -> bool:
    """Whether a process is there and more than an entry that its parent has not read yet."""
    try:
        return Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0] != 'Z'
    except (FileNotFoundError, ProcessLookupError):
        return False
