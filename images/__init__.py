# SPDX-License-Identifier: GPL-3.0-or-later
"""The image set of withovnk, made without an image registry: `python3 -m images`; see images/README.md."""
