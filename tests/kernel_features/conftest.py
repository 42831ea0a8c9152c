# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One lab for all of a job, and the figures that its tests have measured."""

from __future__ import annotations

from typing import Iterator, List

import pytest
from lab import Lab
from quick_lab import QuickLab

_NOTES: List[str] = []


@pytest.fixture(scope='session')
def lab() -> Iterator[Lab]:
    """The bare lab with strict rp_filter, where a strategy has most to do."""
    with QuickLab(lab_rp_filter=1) as made:
        yield made


@pytest.fixture(scope='session')
def notes() -> List[str]:
    """Figures that a test has measured; told at the end of the run."""
    return _NOTES


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The figures, below the results."""
    for note in _NOTES:
        terminalreporter.write_line(note)
