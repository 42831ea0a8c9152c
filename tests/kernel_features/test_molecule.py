# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Molecule's scenario vrf, as users run it: the playbooks, the roles, again without a change, and absent."""

from __future__ import annotations

import subprocess

from lab import ROOT


def test_the_scenario_vrf_passes_where_the_kernel_has_vrf() -> None:
    done = subprocess.run(['tests/scenarios', 'vrf'], cwd=ROOT, capture_output=True, text=True, check=False)
    assert 'scenarios: 1 passed, 0 failed, 0 skipped' in done.stdout, done.stdout[-3000:]
