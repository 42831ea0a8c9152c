# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run one job in one virtual machine and see what became of it."""

from __future__ import annotations

import subprocess
import threading
import time
from pathlib import Path
from typing import Callable, NamedTuple, Sequence

from . import guest, qemu
from .junit import Cells, cells_of
from .store import Stored

POLL = 0.1  # seconds between looks at the files the guest writes
POWER_OFF = 30.0  # seconds for the guest to switch itself off after the job


class Limits(NamedTuple):
    """Seconds the boot and the job may take, and the machine's size.

    One processor by default: emulated ones wait for each other's locks and interrupts, a job of many short processes
    took 1.4 times as long with two and nearly twice the host's time.
    """

    boot: float = 180.0
    job: float = 3600.0
    memory: int = 2048  # MiB
    processors: int = 1


class Outcome(NamedTuple):
    """What became of a boot. ``problem`` is empty when the kernel booted, the job ended with 0 and no cell failed."""

    kernel: str
    problem: str
    release: str = ''
    boot_seconds: float | None = None
    job_seconds: float | None = None
    cells: Cells = Cells()
    folder: Path | None = None


def boot(name: str, kernel: Stored, initramfs: Path, job: guest.Job, share: Path, limits: Limits,
         stop: threading.Event) -> Outcome:  # fmt: skip
    """Boot the kernel with the job; whatever the guest writes comes to be in ``share``. Ends within the limits."""
    (share / 'results').mkdir(parents=True, exist_ok=True)
    (share / 'settings.sh').write_text(guest.settings(job, kernel.folder))
    (share / 'job.sh').write_text(guest.job_script(job))
    size = {'memory': limits.memory, 'processors': limits.processors}
    command = qemu.command(qemu.Machine(kernel.image, initramfs, share, share / 'console.log', **size))
    started = time.time()
    with (share / 'qemu.log').open('w') as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            problem = watch(process, share, limits, stop)
        finally:
            end(process)
    return outcome(name, share, started, problem)


def watch(process: subprocess.Popen[bytes], share: Path, limits: Limits, stop: threading.Event) -> str:
    """Wait for the boot, the job and the power-off; '' or what went wrong."""
    if not appears(share / 'booted', limits.boot, process, stop):
        return f'did not boot: {why(process, stop, limits.boot)}'
    if not appears(share / 'status', limits.job, process, stop):
        return f'the job did not end: {why(process, stop, limits.job)}'
    wait(lambda: process.poll() is not None, POWER_OFF, stop)
    status = (share / 'status').read_text().strip()
    return '' if status == '0' else f'the job ended with status {status}'


def appears(file: Path, seconds: float, process: subprocess.Popen[bytes], stop: threading.Event) -> bool:
    """Whether the file appears before the time is over or qemu ends."""
    wait(lambda: file.exists() or process.poll() is not None, seconds, stop)
    return file.exists()


def wait(ready: Callable[[], bool], seconds: float, stop: threading.Event) -> None:
    """Wait until it is ready, the time is over or the run is to stop."""
    limit = time.monotonic() + seconds
    while not ready() and time.monotonic() < limit and not stop.wait(POLL):
        pass


def why(process: subprocess.Popen[bytes], stop: threading.Event, seconds: float) -> str:
    """The reason for which a wait was in vain."""
    if stop.is_set():
        return 'interrupted'
    return f'not within {seconds:.0f} s' if process.poll() is None else f'qemu ended with status {process.returncode}'


def end(process: subprocess.Popen[bytes]) -> None:
    """End this qemu if it still runs."""
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def outcome(name: str, share: Path, started: float, problem: str) -> Outcome:
    """Read what the guest left behind."""
    cells = cells_of(sorted((share / 'results').rglob('*.xml')))
    booted, ended = written(share / 'booted'), written(share / 'status')
    return Outcome(
        kernel=name,
        problem=problem or problem_of(cells),
        release=(share / 'booted').read_text().strip() if booted else '',
        boot_seconds=booted - started if booted else None,
        job_seconds=(ended or time.time()) - booted if booted else None,
        cells=cells,
        folder=share,
    )


def problem_of(cells: Cells) -> str:
    """What is wrong with the cells of a job that ended with 0."""
    if cells.broken:
        return f'unreadable results: {"; ".join(cells.broken)}'
    return f'{cells.failed} cells failed' if cells.failed else ''


def written(file: Path) -> float | None:
    """When the file was written, None when it was not."""
    return file.stat().st_mtime if file.exists() else None


def last_lines(file: Path, count: int) -> Sequence[str]:
    """The end of a text file of the guest."""
    text = file.read_text(errors='replace') if file.exists() else ''
    return [line.rstrip() for line in text.splitlines() if line.strip()][-count:]
