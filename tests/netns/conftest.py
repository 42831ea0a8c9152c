# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every test with namespaces may ask for."""

from __future__ import annotations

from typing import Iterator

import pytest
from namespaces import Namespace


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    """An empty namespace of its own for one test."""
    with Namespace() as made:
        yield made
