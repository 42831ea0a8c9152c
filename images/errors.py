# SPDX-License-Identifier: GPL-3.0-or-later
"""What ends a run with one line."""

from __future__ import annotations


class ImagesError(Exception):
    """Something that an image needs is missing, or a tool failed; the text says which and what to do."""
