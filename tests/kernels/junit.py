# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Count the cells (test cases) in JUnit XML files."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Iterable, NamedTuple, Tuple


class Cells(NamedTuple):
    """Test cases of a job by result. ``failures`` names the failed ones, ``broken`` the unreadable files."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    failures: Tuple[str, ...] = ()
    broken: Tuple[str, ...] = ()

    def __str__(self) -> str:
        return f'{self.passed} passed, {self.failed} failed, {self.skipped} skipped'


def cells_of(files: Iterable[Path]) -> Cells:
    """Sum up the files. One that is no XML (the job died while writing it) is named in ``broken``."""
    total = Cells()
    for file in files:
        total = added(total, read(file))
    return total


def read(file: Path) -> Cells:
    """Cells of one JUnit file."""
    try:
        cases = list(ElementTree.parse(str(file)).iter('testcase'))
    except ElementTree.ParseError as error:
        return Cells(broken=(f'{file.name}: {error}',))
    failures = tuple(case_name(case) for case in cases if has(case, 'failure', 'error'))
    skipped = sum(has(case, 'skipped') for case in cases)
    return Cells(sum(not has(case, 'failure', 'error', 'skipped') for case in cases), len(failures), skipped, failures)


def has(case: ElementTree.Element, *tags: str) -> bool:
    """Whether the test case holds one of these child elements."""
    return any(case.find(tag) is not None for tag in tags)


def case_name(case: ElementTree.Element) -> str:
    """``class::name`` of a test case, as pytest's own node names read."""
    return '::'.join(part for part in (case.get('classname', ''), case.get('name', '')) if part)


def added(one: Cells, other: Cells) -> Cells:
    """Sum of two counts."""
    return Cells(
        one.passed + other.passed,
        one.failed + other.failed,
        one.skipped + other.skipped,
        one.failures + other.failures,
        one.broken + other.broken,
    )
