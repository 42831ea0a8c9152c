# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""tests/when_changed.py runs a test again whenever something it was told of is not as it was when it was green."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
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


def when_changed(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, 'tests/when_changed.py', *arguments]
    environment = {**os.environ, 'RETURNTRAFFIC_CACHE': str(project / '.git' / 'cache')}
    return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)


def ran(project: Path, script: str = SAYS) -> bool:
    done = when_changed(project, 'slow', 'inputs', '--', 'sh', '-c', script)
    assert done.returncode == 0, done.stdout + done.stderr
    assert ('working on' in done.stdout) != ('unchanged since it was green' in done.stdout)
    return 'working on' in done.stdout


def test_unchanged_is_told_with_the_closing_lines_of_then(project: Path) -> None:
    assert ran(project)
    done = when_changed(project, 'slow', 'inputs', '--', 'sh', '-c', SAYS)
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
        done = when_changed(project, 'slow', 'inputs', '--', 'sh', '-c', 'echo "working on it"; exit 7')
        assert (done.returncode, 'working on it' in done.stdout) == (7, True)


@pytest.mark.parametrize('arguments', [('slow', 'nowhere', '--', 'true'), ('slow', '--', 'true'), ('slow', 'inputs')])
def test_nothing_to_compare_or_to_run_is_an_error(project: Path, arguments: str) -> None:
    assert when_changed(project, *arguments).returncode != 0
