# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one error of the harness."""

from __future__ import annotations


class HarnessError(Exception):
    """The harness cannot do its work; the message is one line that says what is missing or broken."""
