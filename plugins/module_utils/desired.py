# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Desired: the objects a strategy asks for, each with the reason why it is there."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Dict, Optional

from .errors import PolicyError
from .nft import Chain, NftTable
from .objects import Route, Rule, Sysctl, Veth, Vrf


@dataclass
class Desired:
    """What should be on the host. The reasons are what a person is shown, never compared."""

    rules: Dict[Rule, str] = field(default_factory=dict)
    routes: Dict[Route, str] = field(default_factory=dict)
    sysctls: Dict[Sysctl, str] = field(default_factory=dict)
    vrfs: Dict[Vrf, str] = field(default_factory=dict)
    veths: Dict[Veth, str] = field(default_factory=dict)
    nft: Optional[NftTable] = None
    #: The check of option strict_reverse_path; in the same nft table, but it selects nothing.
    reverse_path: Optional[Chain] = None
    #: Its marks are set on requests, so those that are in already need the old selectors for their replies.
    drain: bool = False


class PriorityBlock:
    """Hands out the priorities of one block in ascending order, each once.

    Never the kernel's automatic priority: it is 'one below the lowest', so it
    depends on what others have and differs from run to run.
    """

    def __init__(self, base: int, count: int) -> None:
        self._next = base
        self._end = base + count
        self._count = count

    def take(self) -> int:
        """The next priority of the block; PolicyError when it is used up."""
        if self._next >= self._end:
            raise PolicyError('priority_count', self._count, 'the block is too small for the rules this policy needs')
        self._next += 1
        return self._next - 1
