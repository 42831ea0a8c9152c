# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The strategies by name. A new one is a file here and a line below."""

from __future__ import annotations

from typing import Callable, Dict

from ..bind import Bound
from ..desired import Desired
from ..observed import Observed
from .connmark import compile_connmark
from .egress_service import compile_egress_service
from .mark import compile_mark
from .reverse_path import reverse_path_chain
from .source import compile_source
from .static import compile_static
from .vrf import compile_vrf

COMPILERS: Dict[str, Callable[[Bound, Observed], Desired]] = {
    'static': compile_static,
    'source': compile_source,
    'mark': compile_mark,
    'connmark': compile_connmark,
    'vrf': compile_vrf,
    'egress_service': compile_egress_service,
}


def compile_policy(bound: Bound, host: Observed) -> Desired:
    """What the policy's strategy asks for on this host."""
    desired = COMPILERS[bound.policy.strategy](bound, host)
    if bound.policy.strict_reverse_path:
        # Inside a VRF the lookup needs no mark: it honours the VRF of the interface.
        desired.reverse_path = reverse_path_chain(bound, marked=desired.nft is not None and not desired.vrfs)
    return desired
