# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the module ip_rule does: read, parse, plan, apply, and tell."""

from __future__ import annotations

from typing import Any, Callable, Dict, Iterable, List, Mapping, Tuple

from .errors import PolicyError
from .kernel.changes import send_changes
from .kernel.names import table_names
from .kernel.netlink import Netlink
from .kernel.rules import list_rules, rule_changes, rule_message
from .list_spec import parse_context, parse_ranges, parse_tables
from .objects import Rule
from .plan_list import RulePlan, plan_no_rules, plan_rules
from .rule_spec import HIGHEST_PRIORITY, parse_rules
from .text import rule_text


def ensure_rules(options: Mapping[str, Any], check: bool = False, diff: bool = False) -> Dict[str, Any]:
    """Brings this namespace's rules to what the options of ip_rule say, and returns the module's result.

    With `check` nothing is changed. PolicyError: the options are wrong. KernelError: the kernel
    refused; nothing is changed then either.
    """
    tables = table_names()
    context = parse_context(options, tables)
    wanted = parse_rules('rules', options['rules'], context)
    purgeable = _purgeable(options, tables)
    with Netlink() as netlink:
        there = list_rules(netlink)
        owned = [rule for rule in there if rule.protocol == context.protocol]
        plan = plan_rules(wanted, owned, purgeable) if options['state'] == 'present' else plan_no_rules(wanted, owned)
        if not check:
            send_changes(netlink, rule_changes(plan.add, plan.delete, there), rule_message, rule_text)
    return _result(plan, owned, diff)


def _purgeable(options: Mapping[str, Any], tables: Mapping[str, int]) -> Callable[[Rule], bool]:
    """Which of our rules a purge may delete."""
    in_tables = parse_tables('tables', options['tables'], tables)
    in_priorities = parse_ranges('priorities', options['priorities'], 0, HIGHEST_PRIORITY)
    if not options['purge']:
        return lambda _rule: False
    if options['state'] == 'absent':
        raise PolicyError('purge', True, 'only with state present; an empty list there purges all of ours')
    ranges = [(0, HIGHEST_PRIORITY)] if in_priorities is None else in_priorities
    return lambda rule: (
        (in_tables is None or rule.table in in_tables) and any(low <= rule.priority <= high for low, high in ranges)
    )


def _result(plan: RulePlan, owned: List[Rule], diff: bool) -> Dict[str, Any]:
    result: Dict[str, Any] = {
        'changed': bool(plan.add or plan.delete),
        'added': _lines(plan.add),
        'removed': _lines(plan.delete),
    }
    if diff:
        result['diff'] = {'before': _text(owned), 'after': _text(plan.after)}
    return result


def _lines(rules: Iterable[Rule]) -> List[str]:
    return [rule_text(rule) for rule in sorted(rules, key=_order)]


def _order(rule: Rule) -> Tuple[str, int]:
    return rule.family, rule.priority


def _text(rules: Iterable[Rule]) -> str:
    return ''.join(f'{line}\n' for line in _lines(rules))
