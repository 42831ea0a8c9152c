# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Strategy egress_service: the tables of the networks; OVN-Kubernetes makes the rules that lead to them.

It does so at priority 5000, for each Service with an EgressService object whose `network` is the number of a table:
from the ClusterIP, from the pods, and from the masquerade address with the node port (its go-controller,
pkg/node/controllers/egressservice). It takes away what strangers put at that priority, so that nothing of ours is
there. Those rules catch all that the pods send; the exclusions, which come first, keep them in reach of the cluster.
"""

from __future__ import annotations

from ..bind import Bound
from ..desired import Desired, PriorityBlock
from ..observed import Observed
from .common import all_tables, exclusion_rules


def compile_egress_service(bound: Bound, _host: Observed) -> Desired:
    """The exclusions, and a table for each network with its way back and a guard."""
    block = PriorityBlock(bound.policy.priority_base, bound.policy.priority_count)
    return Desired(rules=exclusion_rules(bound, block), routes=all_tables(bound.attachments))
