# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Apply: carry out a plan. What the kernel refuses is told in its own words, and everything is put back."""

from __future__ import annotations

import time
from functools import partial
from typing import Any, Callable, Iterable, List, Optional, Sequence

from ..errors import KernelError
from ..nft import NftTable, transition
from ..objects import Sysctl
from ..plan import Plan
from ..text import route_text, rule_text
from . import routes, rules
from .changes import ADD, DELETE, REPLACE, Change, inverse, send_changes
from .netlink import Netlink
from .nftables import apply_commands
from .sysctls import read_sysctls, write_sysctl

Undo = Callable[[], None]


def apply_plan(plan: Plan, drain: float) -> None:
    """All of the plan, or none of it and a KernelError. `drain`: see the option of return_policy, in seconds."""
    undo: List[Undo] = []
    with Netlink() as netlink:
        try:
            _carry_out(plan, netlink, undo, drain)
        except KernelError:
            for step in reversed(undo):
                step()
            raise


def _carry_out(plan: Plan, netlink: Netlink, undo: List[Undo], drain: float) -> None:
    """The order is the one of docs/architecture.md: add before delete, sysctls first and last."""
    table = plan.nft_before
    if plan.remember:
        table = _nft(table, _remembering(table, plan), undo)
    _sysctls(plan.set_sysctls, undo)
    _routes(netlink, [Change(ADD, route) for route in plan.add_routes], undo)
    _routes(netlink, [Change(REPLACE, new, old) for old, new in plan.replace_routes], undo)
    _rules(netlink, [Change(ADD, rule) for rule in plan.add_rules], undo)
    table = _nft(table, plan.nft_during, undo)
    if plan.drain:
        time.sleep(drain)
    table = _nft(table, plan.nft, undo)
    _rules(netlink, _deletions(plan), undo)
    _routes(netlink, [Change(DELETE, route) for route in plan.delete_routes], undo)
    _sysctls(plan.restore_sysctls, undo)
    _nft(table, plan.nft_after, undo)


def _deletions(plan: Plan) -> List[Change]:
    """Deletions that cannot hit a rule of ours that is to stay."""
    return rules.rule_changes(delete=plan.delete_rules, among=[*plan.rules_before, *plan.add_rules])


def _remembering(table: Optional[NftTable], plan: Plan) -> NftTable:
    """The table as it is, with what the sysctls are now: written down before the first of them changes."""
    before = table or NftTable()
    return NftTable(before.chains, before.maps, {**before.saved, **plan.remember})


def _nft(before: Optional[NftTable], after: Optional[NftTable], undo: List[Undo]) -> Optional[NftTable]:
    apply_commands(transition(before, after))
    undo.append(lambda: apply_commands(transition(after, before)))
    return after


def _sysctls(items: Iterable[Sysctl], undo: List[Undo]) -> None:
    for item in items:
        before = read_sysctls([item.path]).get(item.path, item.value)
        write_sysctl(item)
        undo.append(partial(write_sysctl, Sysctl(item.path, before)))


def _rules(netlink: Netlink, changes: Sequence[Change], undo: List[Undo]) -> None:
    _send(partial(send_changes, netlink, message=rules.rule_message, text=rule_text), changes, undo)


def _routes(netlink: Netlink, changes: Sequence[Change], undo: List[Undo]) -> None:
    _send(partial(send_changes, netlink, message=routes.route_message, text=route_text), changes, undo)


def _send(send: Callable[..., Any], changes: Sequence[Change], undo: List[Undo]) -> None:
    """All changes, or none and a KernelError; once made they can be taken back, the last one first."""
    if changes:
        send(changes=changes)
        undo.append(partial(send, changes=[inverse(change) for change in reversed(changes)]))
