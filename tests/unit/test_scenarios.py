# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""tests/scenarios counts what passed, failed and could not run, with a molecule that only pretends."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import List

import pytest

SCRIPT = Path(__file__).resolve().parent.parent / 'scenarios'
MOLECULE = """#!/bin/sh
# Fails for the scenario `bad`, and says what a scenario gets.
echo "$1 $2 $3 in $MOLECULE_LAB_PREFIX at $MOLECULE_EPHEMERAL_DIRECTORY"
[ "$3" != bad ]
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with the script, the pretender, and no scenario yet."""
    (tmp_path / 'tests').mkdir()
    shutil.copy(SCRIPT, tmp_path / 'tests/scenarios')
    (tmp_path / 'bin').mkdir()
    executable(tmp_path / 'bin/molecule', MOLECULE)
    (tmp_path / 'molecule/shared').mkdir(parents=True)
    return tmp_path


def executable(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def add(project: Path, *names: str) -> None:
    for name in names:
        (project / 'molecule' / name).mkdir()
        (project / 'molecule' / name / 'molecule.yml').touch()


def run(project: Path, *names: str) -> subprocess.CompletedProcess[str]:
    path = f'{project}/bin:{os.environ["PATH"]}'
    command = [str(project / 'tests/scenarios'), *names]
    return subprocess.run(command, env={'PATH': path}, capture_output=True, text=True, check=False)


def lines(output: str) -> List[str]:
    """What was printed, without the times."""
    return [re.sub(r'\d+ s\b', 'N s', line) for line in output.splitlines()]


def test_each_scenario_has_a_line_and_all_have_one(project: Path) -> None:
    add(project, 'default', 'other')
    done = run(project)
    assert done.returncode == 0
    assert lines(done.stdout) == [
        'molecule default: passed in N s',
        'molecule other: passed in N s',
        'scenarios: 2 passed, 0 failed, 0 skipped',
    ]


def test_a_failure_is_shown_and_fails_the_whole_after_the_others(project: Path) -> None:
    add(project, 'bad', 'good')
    done = run(project)
    assert done.returncode == 1
    shown, *rest = lines(done.stdout)
    assert shown.startswith('test -s bad in mol')
    assert rest == [
        'molecule bad: FAILED after N s, see reports/molecule-bad.log',
        'molecule good: passed in N s',
        'scenarios: 1 passed, 1 failed, 0 skipped',
    ]


def test_what_is_not_possible_here_is_skipped_with_its_reason(project: Path) -> None:
    add(project, 'docker', 'bare')
    executable(project / 'molecule/docker/possible', '#!/bin/sh\necho no docker here\nexit 1\n')
    executable(project / 'molecule/bare/possible', '#!/bin/sh\n')
    done = run(project)
    assert done.returncode == 0
    assert lines(done.stdout) == [
        'molecule bare: passed in N s',
        'molecule docker: skipped: no docker here',
        'scenarios: 1 passed, 0 failed, 1 skipped',
    ]


def test_runs_that_are_named_run_alone_and_share_nothing(project: Path) -> None:
    add(project, 'one', 'two')
    told = []
    for _turn in range(2):
        assert lines(run(project, 'two').stdout)[-1] == 'scenarios: 1 passed, 0 failed, 0 skipped'
        told.append((project / 'reports/molecule-two.log').read_text())
    assert not (project / 'reports/molecule-one.log').exists()
    assert told[0] != told[1]
    folder = Path(told[0].split(' at ')[1].strip())
    assert folder.name == 'two'
    assert not folder.parent.exists()
