# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The line of the data, put together: intent, observe, bind, compile, preflight, plan, apply."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Dict, List, Optional

from .bind import Bound, bind
from .desired import Desired
from .errors import PolicyError
from .intent import parse_policy
from .kernel.apply import apply_plan
from .kernel.observe import observe
from .observed import Observed
from .plan import Plan, make_plan
from .preflight import Finding, preflight, refusals
from .strategies.registry import compile_policy


@dataclass(frozen=True)
class Outcome:
    """One run of the line, for the module to show."""

    plan: Plan
    host: Observed
    desired: Desired
    bound: Optional[Bound] = None
    findings: List[Finding] = field(default_factory=list)


def ensure_present(intent: Dict[str, Any], check: bool) -> Outcome:
    """Make the policy hold. PolicyError before, KernelError (everything put back) while changing."""
    policy = parse_policy(intent)
    host = observe(probe_vrf=policy.strategy == 'vrf')
    bound = bind(policy, host)
    desired = compile_policy(bound, host)
    findings = preflight(bound, desired, host)
    refused = refusals(findings)
    if refused:
        first = refused[0]
        raise PolicyError(first.check, first.subject, f'{first.reason}; {first.cure}')
    return _finish(Outcome(make_plan(desired, host), host, desired, bound, findings), check)


def ensure_absent(check: bool) -> Outcome:
    """Take away everything that carries our tag, and give sysctls back."""
    host = observe()
    desired = Desired()
    return _finish(Outcome(make_plan(desired, host), host, desired), check)


def _finish(outcome: Outcome, check: bool) -> Outcome:
    if outcome.plan.changed and not check:
        apply_plan(outcome.plan, outcome.bound.policy.drain if outcome.bound else 0.0)
    return outcome
