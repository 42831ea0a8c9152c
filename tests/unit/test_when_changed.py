# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""tests/when_changed.py runs a test again whenever something it was told of is not as it was when it was green."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parent.parent / 'when_changed.py'
SAYS = 'echo "working on $0"; echo "kernels: 2 boots, 9 cells: ok"'


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with the script and one folder of inputs."""
    (tmp_path / 'tests').mkdir()
    shutil.copy(SCRIPT, tmp_path / 'tests')
    (tmp_path / 'inputs').mkdir()
    (tmp_path / 'inputs' / 'one').write_text('1')
    subprocess.run(['git', 'init', '-q', str(tmp_path)], check=True)
    subprocess.run(['git', 'add', 'inputs'], cwd=tmp_path, check=True)
    return tmp_path


def when_changed(project: Path, *arguments: str, deadline: str = '') -> subprocess.CompletedProcess[str]:
    command = [sys.executable, 'tests/when_changed.py', *arguments]
    cache = str(project / '.git' / 'cache')
    environment = {**os.environ, 'RETURNTRAFFIC_CACHE': cache, 'RETURNTRAFFIC_DEADLINE': deadline}
    return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)


def ran(project: Path, script: str = SAYS) -> bool:
    done = when_changed(project, 'slow', '3', 'inputs', '--', 'sh', '-c', script)
    assert done.returncode == 0, done.stdout + done.stderr
    assert ('working on' in done.stdout) != ('unchanged since it was green' in done.stdout)
    return 'working on' in done.stdout


def test_unchanged_is_told_with_the_closing_lines_of_then(project: Path) -> None:
    assert ran(project)
    done = when_changed(project, 'slow', '3', 'inputs', '--', 'sh', '-c', SAYS)
    assert done.stdout.startswith('slow: unchanged since it was green')
    assert 'Last green: 20' in done.stdout
    assert '  then: kernels: 2 boots, 9 cells: ok' in done.stdout.splitlines()


@pytest.mark.parametrize(
    'change',
    ['echo 2 > inputs/one', 'touch inputs/new', 'rm inputs/one', 'chmod +x inputs/one', 'ln -sf /tmp inputs/one'],
)
def test_whatever_changes_below_a_path_counts(project: Path, change: str) -> None:
    assert ran(project)
    subprocess.run(['sh', '-c', change], cwd=project, check=True)
    assert ran(project)
    assert not ran(project)


def test_another_command_is_another_test(project: Path) -> None:
    assert ran(project)
    assert ran(project, SAYS + '; true')


def test_what_failed_was_not_green(project: Path) -> None:
    for _turn in range(2):
        done = when_changed(project, 'slow', '3', 'inputs', '--', 'sh', '-c', 'echo "working on it"; exit 7')
        assert (done.returncode, 'working on it' in done.stdout) == (7, True)


@pytest.mark.parametrize(
    'arguments', ['slow 3 nowhere -- true', 'slow 3 -- true', 'slow 3 inputs', 'slow x inputs -- true']
)
def test_nothing_to_compare_or_to_run_is_an_error(project: Path, arguments: str) -> None:
    assert when_changed(project, *arguments.split()).returncode != 0


def test_what_does_not_fit_before_the_deadline_is_told_with_the_time_it_was_last_green(project: Path) -> None:
    arguments = ('slow', '3', 'inputs', '--', 'sh', '-c', SAYS)
    soon = str(int(time.time()) + 150)
    done = when_changed(project, *arguments, deadline=soon)
    assert (done.returncode, done.stdout.count('\n')) == (0, 1)
    assert done.stdout.startswith('slow: skipped: takes up to 3 minutes and 2 are left. It has not been green here.')
    assert ran(project)
    (project / 'inputs' / 'one').write_text('2')
    assert 'Last green: 20' in when_changed(project, *arguments, deadline=soon).stdout
    assert 'working on' in when_changed(project, *arguments, deadline=str(int(time.time()) + 250)).stdout
