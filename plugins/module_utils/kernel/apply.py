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
from ..objects import ALIAS, Link, Route, Sysctl, Veth
from ..plan import Move, Plan
from ..text import route_text, rule_text
from . import addresses, links, routes, rules
from .changes import ADD, DELETE, REPLACE, Change, inverse, send_changes
from .netlink import Message, Netlink
from .nftables import apply_commands
from .sysctls import read_sysctls, write_sysctl

Undo = Callable[[], None]


def apply_plan(plan: Plan, drain: float) -> None:
    """All of the plan, or none of it and a KernelError. `drain`: see the option of return_policy, in seconds."""
    undo: List[Undo] = []
    with Netlink() as netlink:
        try:
            _carry_out(plan, netlink, undo, drain)
        except KernelError as error:
            raise _after_undo(error, undo) from error


def _after_undo(error: KernelError, undo: Sequence[Undo]) -> KernelError:
    """Take back all that was done, the last first; what cannot be taken back is told with the first error."""
    left: List[str] = []
    for step in reversed(undo):
        try:
            step()
        except KernelError as second:
            left.append(str(second))
    if not left:
        return error
    return KernelError(
        error.operation, error.subject, f'{error.reason}; could not be put back: {"; ".join(left)}', error.errno
    )


def _carry_out(plan: Plan, netlink: Netlink, undo: List[Undo], drain: float) -> None:
    """The order is the one of docs/architecture.md: add before delete, sysctls first and last."""
    table = _nft(plan.nft_before, plan.nft_first, undo)
    _sysctls(plan.set_sysctls, undo)
    _devices(plan, netlink, undo)
    _routes(netlink, [Change(ADD, route) for route in plan.add_routes], undo)
    _routes(netlink, [Change(REPLACE, new, old) for old, new in plan.replace_routes], undo)
    _rules(netlink, [Change(ADD, rule) for rule in plan.add_protecting_rules], undo)
    _rules(netlink, [Change(DELETE, rule) for rule in plan.take_local], undo)
    for move in plan.moves:
        _move(netlink, move, undo)
    _rules(netlink, [Change(ADD, rule) for rule in plan.add_rules], undo)
    table = _nft(table, plan.nft_during, undo)
    if plan.drain:
        time.sleep(drain)
    table = _nft(table, plan.nft, undo)
    _rules(netlink, [Change(ADD, rule) for rule in plan.give_local], undo)
    _rules(netlink, _deletions(plan), undo)
    _routes(netlink, [Change(DELETE, route) for route in plan.delete_routes], undo)
    for link in plan.delete_links:
        _delete_link(netlink, link, undo)
    _sysctls(plan.restore_sysctls, undo)
    _nft(table, plan.nft_after, undo)


def _devices(plan: Plan, netlink: Netlink, undo: List[Undo]) -> None:
    """Pairs come up last, with their settings and in their VRFs."""
    for vrf in plan.add_vrfs:
        undo.append(partial(_delete_by_name, netlink, vrf.name))
        _make_vrf(netlink, vrf.name, vrf.table)
    for veth in plan.add_veths:
        _delete_by_name(netlink, veth.outer)  # what is left of a pair that is not as it should be
        undo.append(partial(_delete_by_name, netlink, veth.outer))
        _request(netlink, 'add', f'veth {veth.outer} {veth.inner}', [links.veth_message(veth)])
        _tag_and_enslave(netlink, veth)
    _sysctls(plan.set_device_sysctls, undo)
    for veth in plan.add_veths:
        _request(
            netlink, 'set up', f'veth {veth.outer} {veth.inner}', [*map(links.up_message, (veth.inner, veth.outer))]
        )


def _tag_and_enslave(netlink: Netlink, veth: Veth) -> None:
    indexes = {name: _found(netlink, name).number for name in (veth.outer, veth.inner, veth.vrf)}
    tags = [links.alias_message(name, ALIAS) for name in (veth.outer, veth.inner)]
    inside = links.master_message(indexes[veth.inner], indexes[veth.vrf])
    address = addresses.add_message(veth.address, indexes, addresses.SCOPE_HOST)
    _request(netlink, 'tag', f'veth {veth.outer} {veth.inner}', [*tags, inside, address])


def _make_vrf(netlink: Netlink, name: str, table: int) -> None:
    """Made down and tagged before it comes up: what carries no tag is not ours to take away."""
    made = Link(0, name, kind='vrf', vrf_table=table)
    steps = [links.add_message(made), links.alias_message(name, ALIAS), links.up_message(name)]
    _request(netlink, 'add', f'vrf {name} table {table}', steps)


def _delete_by_name(netlink: Netlink, name: str) -> None:
    """Undo of an addition that may have been refused: then there is nothing of ours to delete."""
    there = _find(netlink, name)
    if there is not None and there.alias == ALIAS:
        _request(netlink, 'delete', f'device {name}', [links.delete_message(there)])


def _delete_link(netlink: Netlink, link: Link, undo: List[Undo]) -> None:
    """A VRF comes again when something is refused later; all that could be are sysctls and the end of our nft table."""
    _request(netlink, 'delete', f'{link.kind} {link.name}', [links.delete_message(link)])
    if link.kind == 'vrf':
        undo.append(partial(_make_vrf, netlink, link.name, link.vrf_table or 0))


def _move(netlink: Netlink, move: Move, undo: List[Undo]) -> None:
    """The interface and its routes in one system call: nothing is lost but what comes in between two messages."""
    undo.append(lambda: _relocate(netlink, move.nic, move.before, move.routes_before))
    _relocate(netlink, move.nic, move.after, move.routes_after)


def _relocate(netlink: Netlink, nic: str, master: Optional[str], its_routes: Sequence[Route]) -> None:
    index = _found(netlink, nic).number
    messages = [links.master_message(index, _found(netlink, master).number if master else 0)]
    messages += [routes.route_message(change) for change in routes.route_changes(add=its_routes)]
    _request(netlink, 'move', f'{nic} to {master or "no vrf"}, with its routes', messages)


def _found(netlink: Netlink, name: str) -> Link:
    found = _find(netlink, name)
    if found is None:
        raise KernelError('find', name, 'no such device')
    return found


def _find(netlink: Netlink, name: str) -> Optional[Link]:
    return next((link for link in links.list_links(netlink) if link.name == name), None)


def _request(netlink: Netlink, operation: str, subject: str, messages: Sequence[Message]) -> None:
    for refusal in netlink.send(messages):
        if refusal is not None:
            raise KernelError(operation, subject, refusal.reason, refusal.errno)


def _deletions(plan: Plan) -> List[Change]:
    """Deletions that cannot hit a rule of ours that is to stay."""
    return rules.rule_changes(delete=plan.delete_rules, among=[*plan.rules_before, *plan.add_rules])


def _nft(before: Optional[NftTable], after: Optional[NftTable], undo: List[Undo]) -> Optional[NftTable]:
    apply_commands(transition(before, after))
    undo.append(lambda: apply_commands(transition(before=after, after=before)))
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
