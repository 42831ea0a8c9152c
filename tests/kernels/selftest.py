# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The harness itself fails when it must: ``python3 -m pytest tests/kernels/selftest.py``, on the host, six boots.

``$KERNEL`` names the kernel (default 6.12). Not collected by a plain pytest, for it needs qemu and half a minute.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Dict, List

import pytest

from . import store
from .catalogue import kernel_named

CHECKOUT = Path(__file__).resolve().parents[2]
KERNEL = os.environ.get('KERNEL', '6.12')


def command(folder: Path, *arguments: str) -> List[str]:
    """Command line of the harness for the kernel under test."""
    return [sys.executable, '-m', 'tests.kernels', '--kernel', KERNEL, '--results', str(folder), *arguments]


def harness(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the harness to its end."""
    values: Dict[str, str] = {**os.environ, **environment}
    return subprocess.run(
        command(folder, *arguments), cwd=CHECKOUT, env=values, capture_output=True, text=True, check=False
    )


def test_a_job_that_ends_well_is_well(tmp_path: Path) -> None:
    done = harness(tmp_path, '--', 'sh', '-c', 'echo made > {results}/note; uname -r')
    assert done.returncode == 0, done.stdout
    assert (tmp_path / KERNEL / 'results' / 'note').read_text() == 'made\n'
    assert (tmp_path / KERNEL / 'job.log').read_text().startswith('7.' if KERNEL == 'backports' else KERNEL)
    assert done.stdout.splitlines()[-1].endswith(': ok')


@pytest.mark.parametrize(
    ('job', 'problem'),
    [
        ('echo said; exit 7', 'the job ended with status 7'),
        (
            r'echo "<testsuite><testcase name=\"a\"><failure/></testcase></testsuite>" > {results}/x.xml',
            '1 cells failed',
        ),
        ('echo c > /proc/sysrq-trigger', 'Kernel panic - not syncing'),
        ('sleep 1000', 'the job did not end: not within 3 s'),
    ],
    ids=['status', 'cell', 'panic', 'timeout'],
)
def test_a_bad_job_is_a_failure(tmp_path: Path, job: str, problem: str) -> None:
    # Only the one that is to take too long: on a busy machine three seconds are short for any job.
    limit = '3' if job == 'sleep 1000' else '120'
    done = harness(tmp_path, '--job-timeout', limit, '--', 'sh', '-c', job)
    assert done.returncode == 1
    assert problem in done.stdout
    assert done.stdout.splitlines()[-1].endswith(f'FAILED on {KERNEL}')


def test_a_kernel_that_does_not_boot_is_a_failure(tmp_path: Path) -> None:
    stored = store.stored(store.cache_folder(), kernel_named(KERNEL))
    assert stored is not None
    broken = tmp_path / 'cache' / 'kernels' / stored.folder.name
    broken.mkdir(parents=True)
    (broken / 'lib').symlink_to(stored.folder / 'lib')
    (broken / 'vmlinuz').write_bytes(bytes(100_000))
    shutil.copy(str(stored.folder.parent / f'{KERNEL}.json'), str(broken.parent))
    done = harness(tmp_path / 'out', '--', 'true', RETURNTRAFFIC_CACHE=str(tmp_path / 'cache'))
    assert done.returncode == 1
    assert 'cells 0 passed, 0 failed, 0 skipped  did not boot: qemu ended with status 1' in done.stdout


def test_a_kernel_that_cannot_be_got_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / 'bin').mkdir()
    (tmp_path / 'bin' / 'apt-get').symlink_to('/bin/false')
    path = f'{tmp_path / "bin"}:{os.environ["PATH"]}'
    done = harness(tmp_path / 'out', '--', 'true', RETURNTRAFFIC_CACHE=str(tmp_path / 'cache'), PATH=path)
    assert done.returncode == 1
    assert 'did not boot: apt-get indextargets: exit status 1' in done.stdout


def test_no_machine_outlives_the_harness(tmp_path: Path) -> None:
    with subprocess.Popen(command(tmp_path, '--', 'sleep', '1000'), cwd=CHECKOUT, stdout=subprocess.PIPE) as process:
        limit = time.monotonic() + 120
        while not (tmp_path / KERNEL / 'booted').exists() and time.monotonic() < limit:
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        output, _errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert b'interrupted' in output
    shares = [place.read_bytes() for place in Path('/proc').glob('[0-9]*/cmdline') if place.exists()]
    assert not [line for line in shares if line.startswith(b'qemu') and str(tmp_path).encode() in line]
