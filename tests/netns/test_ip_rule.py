# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ip_rule against a kernel."""

from __future__ import annotations

from typing import Any, Dict, List

import pytest
from ansible_collections.returntraffic.net.plugins.module_utils.kernel.netlink import Netlink
from ansible_collections.returntraffic.net.plugins.module_utils.kernel.rules import add_message
from ansible_collections.returntraffic.net.plugins.module_utils.objects import Rule
from modules import run_module
from namespaces import Namespace

OURS = '202'
#: Rules of others that resemble ours as much as they can.
FOREIGN = """
rule add pref 3000 from 192.168.1.1 table 3001 protocol 5
rule add pref 3000 from 192.168.1.1 table 3001
rule add pref 3005 from 192.168.9.9 table 3001 protocol 186
rule add pref 100 fwmark 0x10 table 7
"""
RULES: List[Dict[str, Any]] = [
    {'priority': 3000, 'from': '192.168.1.1', 'table': 3001},
    {'priority': 3001, 'from': 'FD00:192:168:0::1', 'table': '3001'},
    {'priority': 3002, 'fwmark': '0x10/0xff', 'family': 'both', 'table': 'main', 'suppress_prefixlength': 0},
    {'priority': 3003, 'to': '10.244.0.0/16', 'iif': 'lo', 'oif': 'eth9', 'ipproto': 'tcp', 'dport': '80-90',
     'sport': 1024, 'tos': 16, 'uid': '0-100', 'invert': True, 'table': 254},
    {'priority': 3004, 'action': 'unreachable', 'fwmark': 16, 'fwmask': '0xff'},
    {'priority': 3005, 'goto': 3900},
    {'priority': 3900, 'action': 'nop'},
]  # fmt: skip


def both(namespace: Namespace) -> List[Any]:
    return [namespace.ip('-4', 'rule'), namespace.ip('-6', 'rule')]


def ours(namespace: Namespace) -> List[Any]:
    return [rule for family in both(namespace) for rule in family if rule['protocol'] == OURS]


@pytest.fixture
def crowd(namespace: Namespace) -> Namespace:
    namespace.batch(FOREIGN)
    namespace.batch('rule add pref 3001 from fd00:192:168::1 table 3001 protocol 5\n', '-6')
    return namespace


def test_what_the_kernel_then_has(namespace: Namespace) -> None:
    answer = run_module(namespace, 'ip_rule', rules=RULES)
    assert answer['changed'] is True
    assert len(answer['added']) == 8
    shown = {(rule['priority'], 'fwmark' in rule): rule for rule in ours(namespace) if rule['priority'] != 3001}
    assert shown[3000, False] == {'priority': 3000, 'src': '192.168.1.1', 'table': '3001', 'protocol': OURS}
    assert shown[3003, False] == {
        'priority': 3003, 'not': None, 'src': 'all', 'dst': '10.244.0.0', 'dstlen': 16, 'tos': '0x10', 'iif': 'lo',
        'oif': 'eth9', 'oif_detached': None, 'uid_start': 0, 'uid_end': 100, 'ipproto': 'ipproto-6', 'sport': 1024,
        'dport_start': 80, 'dport_end': 90, 'table': '254', 'protocol': OURS,
    }  # fmt: skip
    assert shown[3004, True]['fwmask'] == '0xff'
    assert shown[3005, False]['goto'] == 3900
    assert [rule['priority'] for rule in namespace.ip('-6', 'rule') if rule['protocol'] == OURS] == [3001, 3002]


def test_a_second_run_changes_nothing(crowd: Namespace) -> None:
    run_module(crowd, 'ip_rule', rules=RULES)
    before = both(crowd)
    answer = run_module(crowd, 'ip_rule', rules=RULES)
    assert (answer['changed'], answer['added'], answer['removed']) == (False, [], [])
    assert answer['diff']['before'] == answer['diff']['after']
    assert both(crowd) == before


@pytest.mark.parametrize('options', [{}, {'purge': True}, {'purge': True, 'tables': [3001]}, {'state': 'absent'}])
def test_check_mode_predicts_the_run(crowd: Namespace, options: Dict[str, Any]) -> None:
    run_module(crowd, 'ip_rule', rules=RULES[:4])
    before = both(crowd)
    rules = RULES[2:] if 'state' not in options else RULES[:2]
    predicted = run_module(crowd, 'ip_rule', check=True, rules=rules, **options)
    assert both(crowd) == before
    done = run_module(crowd, 'ip_rule', rules=rules, **options)
    for key in ('changed', 'added', 'removed', 'diff'):
        assert predicted[key] == done[key]
    assert done['changed'] is True
    assert run_module(crowd, 'ip_rule', rules=rules, **options)['diff']['before'] == done['diff']['after']


def test_rules_of_others_stay(crowd: Namespace) -> None:
    before = both(crowd)
    run_module(crowd, 'ip_rule', rules=RULES)
    others = [[rule for rule in family if rule['protocol'] != OURS] for family in both(crowd)]
    assert others == before
    run_module(crowd, 'ip_rule', rules=RULES[3:], state='absent')
    run_module(crowd, 'ip_rule', rules=[], purge=True)
    assert both(crowd) == before


def test_absent_leaves_a_foreign_twin(crowd: Namespace) -> None:
    before = both(crowd)
    answer = run_module(crowd, 'ip_rule', rules=RULES[:2], state='absent')
    assert answer['changed'] is False
    assert both(crowd) == before


def test_purge_keeps_within_its_scope(namespace: Namespace) -> None:
    rules = [{'priority': number, 'from': f'10.0.0.{number}', 'table': 5 + number % 2} for number in (10, 11, 20, 21)]
    run_module(namespace, 'ip_rule', rules=rules)
    answer = run_module(namespace, 'ip_rule', rules=[], purge=True, tables=[5], priorities=['20-29'])
    assert answer['removed'] == ['ipv4 20: from 10.0.0.20/32 lookup 5 protocol 202']
    assert [rule['priority'] for rule in ours(namespace)] == [10, 11, 21]


def test_another_protocol_is_another_owner(namespace: Namespace) -> None:
    run_module(namespace, 'ip_rule', rules=RULES[:1], protocol=200)
    answer = run_module(namespace, 'ip_rule', rules=[], purge=True)
    assert answer['changed'] is False
    assert '200' in [rule['protocol'] for rule in namespace.ip('rule')]


def test_a_rule_without_selector_goes_and_its_likes_stay(namespace: Namespace) -> None:
    """RTM_DELRULE takes the first rule that has all that the message has, here the wrong one."""
    likes = [
        {'priority': 3000, 'from': '10.0.0.1', 'table': 5},
        {'priority': 3000, 'from': '10.0.0.1', 'iif': 'lo', 'table': 5},
        {'priority': 3000, 'from': '10.0.0.2', 'invert': True, 'table': 5},
    ]
    bare = [{'priority': 3000, 'table': 5}, {'priority': 3000, 'from': '10.0.0.2', 'table': 5}]
    run_module(namespace, 'ip_rule', rules=likes)
    kept = ours(namespace)
    run_module(namespace, 'ip_rule', rules=bare)
    assert len(ours(namespace)) == 5
    run_module(namespace, 'ip_rule', rules=bare, state='absent')
    assert ours(namespace) == kept


def test_a_second_copy_goes(namespace: Namespace) -> None:
    rule = 'rule add pref 3000 from 10.0.0.1 table 5 protocol 202\n'
    namespace.batch(rule + 'rule add pref 3001 from 10.0.0.1 table 5 protocol 202\n')
    with namespace.entered():
        copy_rule()
    assert len(ours(namespace)) == 3
    answer = run_module(namespace, 'ip_rule', rules=[{'priority': 3000, 'from': '10.0.0.1', 'table': 5}])
    assert answer['removed'] == ['ipv4 3000: from 10.0.0.1/32 lookup 5 protocol 202']
    assert [rule['priority'] for rule in ours(namespace)] == [3000, 3001]


def copy_rule() -> None:
    """The same rule once more, which `ip rule` does not do."""
    with Netlink() as netlink:
        assert netlink.request(add_message(Rule('ipv4', 3000, from_='10.0.0.1/32', table=5, protocol=202))) is None


def test_what_the_kernel_refuses_is_taken_back(crowd: Namespace) -> None:
    run_module(crowd, 'ip_rule', rules=RULES[:2])
    before = both(crowd)
    refused = [*RULES[3:], {'priority': 3500, 'tos': 255, 'table': 5}]
    answer = run_module(crowd, 'ip_rule', rules=refused, purge=True)
    assert answer['failed'] is True
    assert 'add ipv4 3500: from all tos 0xff lookup 5 protocol 202: ' in answer['msg']
    assert 'nothing was changed' in answer['msg'] and 'Invalid' in answer['msg']
    assert both(crowd) == before


@pytest.mark.parametrize(
    ('rules', 'said'),
    [
        ([{'priority': 1, 'table': 5}, {'priority': 1, 'from': '10.1/16', 'table': 5}], "rules[1].from: '10.1/16': "),
        ([{'priority': 1, 'from': '10.1.2.3/16', 'table': 5}], 'the network is 10.1.0.0/16'),
        ([{'priority': 1, 'from': '1.1.1.1', 'to': 'fd00::1', 'table': 5}], "rules[0].to: 'fd00::1/128': "),
        ([{'priority': 1, 'table': 'nosuch'}], "rules[0].table: 'nosuch': not a routing table; allowed are"),
        ([{'priority': 1, 'tabel': 5}], 'rules[0].tabel: 5: unknown key; known are'),
        ([{'priority': 1}], 'rules[0].table: None: is required for action to-table'),
        ([{'table': 5}], 'rules[0].priority: None: is required'),
        ([{'priority': -1, 'table': 5}], 'rules[0].priority: -1: '),
    ],
)
def test_bad_input_is_one_line_and_changes_nothing(namespace: Namespace, rules: List[Any], said: str) -> None:
    before = both(namespace)
    answer = run_module(namespace, 'ip_rule', rules=rules)
    assert answer['failed'] is True
    assert said in answer['msg'] and '\n' not in answer['msg']
    assert both(namespace) == before


@pytest.mark.parametrize(
    ('options', 'said'),
    [
        ({'protocol': 186}, 'protocol: 186: taken'),
        ({'protocol': 256}, 'protocol: 256: '),
        ({'state': 'absent', 'purge': True}, 'purge: True: only with state present'),
        ({'purge': True, 'priorities': ['9-3']}, "priorities[0]: '9-3': "),
        ({'purge': True, 'tables': ['nosuch']}, "tables[0]: 'nosuch': not a routing table"),
    ],
)
def test_bad_options_are_one_line(namespace: Namespace, options: Dict[str, Any], said: str) -> None:
    answer = run_module(namespace, 'ip_rule', rules=RULES, **options)
    assert answer['failed'] is True
    assert said in answer['msg'] and '\n' not in answer['msg']
    assert ours(namespace) == []
