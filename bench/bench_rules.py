# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ten thousand rules by ip_rule and by `ip -batch`, side by side; ratios, because times depend on the machine.

Every run has a namespace of its own, and the order of the methods changes from one repetition to the next.
"""

from __future__ import annotations

import random
import statistics
import time
from typing import Any, Callable, Dict, List, Sequence

from ansible_collections.returntraffic.net.plugins.module_utils.rule_list import ensure_rules
from modules import module_arguments, module_command
from namespaces import Namespace

COUNT = 10_000
REPETITIONS = 5
FIRST = 1000
OPTIONS: Dict[str, Any] = {
    'state': 'present',
    'purge': True,
    'tables': None,
    'priorities': None,
    'protocol': 202,
    'family': 'ipv4',
    'rules': [
        {'priority': FIRST + number, 'from': f'10.{number >> 8}.{number & 255}.1', 'table': 100 + number % 4}
        for number in range(COUNT)
    ],
}
#: The kernel's own rules of a new namespace, IPv4.
OWN = 3

Method = Callable[[Namespace], float]


def seconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def batch_lines() -> List[str]:
    rules = OPTIONS['rules']
    return [f'rule add pref {r["priority"]} from {r["from"]} table {r["table"]} protocol 202\n' for r in rules]


def ip_ascending(namespace: Namespace) -> float:
    text = ''.join(batch_lines())
    return seconds(lambda: namespace.batch(text))


def ip_descending(namespace: Namespace) -> float:
    text = ''.join(reversed(batch_lines()))
    return seconds(lambda: namespace.batch(text))


def in_process(namespace: Namespace) -> float:
    return with_rules(namespace, OPTIONS['rules'])


def with_rules(namespace: Namespace, rules: Sequence[Any]) -> float:
    options = {**OPTIONS, 'rules': rules}
    with namespace.entered():
        return seconds(lambda: ensure_rules(options))


def whole_module(namespace: Namespace) -> float:
    text = module_arguments(diff=False, **OPTIONS)
    return seconds(lambda: namespace.run(*module_command('ip_rule'), stdin=text))


def nothing_to_do(namespace: Namespace) -> float:
    in_process(namespace)
    return in_process(namespace)


def one_more(namespace: Namespace) -> float:
    with_rules(namespace, OPTIONS['rules'][:-1])
    return in_process(namespace)


METHODS: Dict[str, Method] = {
    'ip -batch, ascending': ip_ascending,
    'ip -batch, descending': ip_descending,
    'ip_rule in a live process': in_process,
    'ip_rule as a whole module process': whole_module,
    'ip_rule, nothing to do': nothing_to_do,
    'ip_rule, one rule more': one_more,
}


def measure() -> Dict[str, List[float]]:
    """Seconds of every method, each time in a new namespace, where all rules must then be."""
    times: Dict[str, List[float]] = {name: [] for name in METHODS}
    for _repetition in range(REPETITIONS):
        for name in random.sample(list(METHODS), len(METHODS)):
            with Namespace() as namespace:
                times[name].append(METHODS[name](namespace))
                assert namespace.run('ip', 'rule').count('\n') == COUNT + OWN
    return times


def report(times: Dict[str, List[float]]) -> None:
    medians = {name: statistics.median(values) for name, values in times.items()}
    best = min(medians[name] for name in METHODS if name.startswith('ip -batch'))
    print(f'\n{COUNT} rules, {REPETITIONS} repetitions; ratio to the better order of ip -batch in this run')
    for name, values in times.items():
        spread = f'[{min(values) * 1000:.0f}..{max(values) * 1000:.0f}]'
        print(f'{name:36} {medians[name] * 1000:7.0f} ms {spread:14} {medians[name] / best:5.2f}')


def test_ten_thousand_rules() -> None:
    times = measure()
    report(times)
