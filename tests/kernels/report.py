# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the harness prints."""

from __future__ import annotations

import re
from pathlib import Path
from typing import List, Sequence

from .machine import Outcome, last_lines

TROUBLE = re.compile(r'\b(?:WARNING: CPU|BUG:|Oops:|Kernel panic|UBSAN:|KASAN:)')
#: What a job has measured or counted, told by pytest below its results.
FIGURES = re.compile(r'^(?:(?:matrix|moves|loss|flowtable): |  \d+ refused: )')
SHOWN_FAILURES = 20


def seconds(value: float | None) -> str:
    """A duration, or a dash where there is none."""
    return '-' if value is None else f'{value:.1f} s'


def summary(outcome: Outcome) -> str:
    """One line for a boot."""
    return (
        f'{outcome.kernel:<15} {outcome.release or "-":<24} boot {seconds(outcome.boot_seconds):>7}'
        f'  job {seconds(outcome.job_seconds):>8}  cells {outcome.cells}  {outcome.problem or "ok"}'
    )


def details(outcome: Outcome) -> List[str]:
    """What the job tells, and what helps to see why: failed cells, complaints of the kernel, the end of a bad log."""
    lines = [f'  failed: {name}' for name in outcome.cells.failures[:SHOWN_FAILURES]]
    if not outcome.folder:
        return lines
    lines = [*(f'  {line}' for line in figures(outcome.folder / 'job.log')), *lines]
    lines += [f'  kernel: {line}' for line in complaints(outcome.folder / 'console.log')]
    if outcome.problem:
        shown = {'console.log' if outcome.boot_seconds is None else 'job.log': 40, 'qemu.log': 5}
        lines += [
            f'  {log}: {line}' for log, count in shown.items() for line in last_lines(outcome.folder / log, count)
        ]
        lines.append(f'  kept: {outcome.folder}')
    return lines


def figures(log: Path) -> List[str]:
    """Lines with figures."""
    text = log.read_text(errors='replace') if log.exists() else ''
    return [line for line in text.splitlines() if FIGURES.match(line)]


def complaints(console: Path) -> List[str]:
    """Lines in which the kernel reports a fault of its own."""
    text = console.read_text(errors='replace') if console.exists() else ''
    return [line for line in text.splitlines() if TROUBLE.search(line)]


def closing(outcomes: Sequence[Outcome], duration: float) -> str:
    """The last line."""
    passed, failed, skipped = (sum(counts) for counts in zip(*(outcome.cells[:3] for outcome in outcomes)))
    bad = [outcome.kernel for outcome in outcomes if outcome.problem]
    verdict = f'FAILED on {", ".join(bad)}' if bad else 'ok'
    return (
        f'kernels: {len(outcomes)} boots, {passed + failed + skipped} cells: {passed} passed, {failed} failed,'
        f' {skipped} skipped, {duration:.0f} s: {verdict}'
    )
