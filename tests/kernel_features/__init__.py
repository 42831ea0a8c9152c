# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What stock kernels allow and many test machines do not: loss, VLANs, dummies, Open vSwitch, flowtables.

Jobs of tests/kernels (``python3 -m tests.kernels --job NAME``). A plain pytest does not collect this folder; where it
is named on a kernel that lacks something, the tests that need it are skipped and say so.
"""
