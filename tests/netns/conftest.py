# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every test with namespaces may ask for."""

from __future__ import annotations

from collections import Counter
from typing import Iterator, List

import pytest
from lab import Lab
from namespaces import Namespace

_MATRIX: Counter[str] = Counter()


@pytest.fixture(scope='session')
def matrix() -> Counter[str]:
    """How many cells of the matrix came out how; told at the end of the run."""
    return _MATRIX


_NOTES: List[str] = []


@pytest.fixture(scope='session')
def notes() -> List[str]:
    """Figures that a test has measured; told at the end of the run."""
    return _NOTES


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Figures; one line of the matrix, and what was refused why."""
    for note in _NOTES:
        terminalreporter.write_line(note)
    if not _MATRIX:
        return
    refused = {key: count for key, count in _MATRIX.items() if key.startswith('refused: ')}
    skipped = len(terminalreporter.stats.get('skipped', []))
    passed, controls, declined = _MATRIX['passed'], _MATRIX['control'], sum(refused.values())
    terminalreporter.write_line('')
    terminalreporter.write_line(
        f'matrix: {passed + declined} cells: {passed} passed, {declined} refused with reason, {skipped} skipped; '
        f'negative control: {controls} cells, none passed'
    )
    for reason, count in refused.items():
        terminalreporter.write_line(f'  {count} {reason}')


@pytest.fixture(scope='session')
def bare_lab() -> Iterator[Lab]:
    """One bare lab for all tests that leave it as they found it; they say themselves which rp_filter they want."""
    # Here, for it needs the whole of Ansible, which the tools of an older Debian are tested without.
    from quick_lab import QuickLab

    with QuickLab() as made:
        yield made


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    """An empty namespace of its own for one test."""
    with Namespace() as made:
        yield made
