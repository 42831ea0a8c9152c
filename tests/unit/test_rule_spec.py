# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules as users write them: what they mean, and what is wrong with them in one line."""

from __future__ import annotations

from typing import Any, Dict, List

import pytest
from ansible_collections.returntraffic.net.plugins.module_utils.errors import PolicyError
from ansible_collections.returntraffic.net.plugins.module_utils.kernel.rules import decode, encode
from ansible_collections.returntraffic.net.plugins.module_utils.list_spec import (
    TAKEN_PROTOCOLS,
    Context,
    parse_protocol,
    parse_ranges,
    parse_tables,
    short_invocation,
)
from ansible_collections.returntraffic.net.plugins.module_utils.objects import LIST_PROTOCOL, PROTOCOL, Rule
from ansible_collections.returntraffic.net.plugins.module_utils.rule_spec import parse_rules
from hypothesis import given
from hypothesis import strategies as some

CONTEXT = Context({'unspec': 0, 'main': 254, 'storage': 77}, PROTOCOL)


def parse(*items: Any, context: Context = CONTEXT) -> List[Rule]:
    return parse_rules('rules', list(items), context)


def one(**keys: Any) -> Rule:
    keys = {'from_' if key == 'source' else key: value for key, value in keys.items()}
    keys['from'] = keys.pop('from_', None)
    [rule] = parse({'priority': 7, **keys})
    return rule


@pytest.mark.parametrize(
    ('keys', 'rule'),
    [
        ({'table': 5}, Rule('ipv4', 7, table=5)),
        ({'table': 'storage'}, Rule('ipv4', 7, table=77)),
        ({'table': '0x100', 'priority': '0x10'}, Rule('ipv4', 16, table=256)),
        ({'source': '10.1.2.3', 'table': 5}, Rule('ipv4', 7, from_='10.1.2.3/32', table=5)),
        ({'source': 'FD00:0::1', 'table': 5}, Rule('ipv6', 7, from_='fd00::1/128', table=5)),
        ({'to': '2001:DB8::/32', 'table': 5}, Rule('ipv6', 7, to='2001:db8::/32', table=5)),
        ({'source': '0.0.0.0/0', 'to': '10.0.0.0/8', 'table': 5}, Rule('ipv4', 7, to='10.0.0.0/8', table=5)),
        ({'source': '::/0', 'table': 5}, Rule('ipv6', 7, table=5)),
        ({'fwmark': 16, 'table': 5}, Rule('ipv4', 7, fwmark=16, fwmask=0xFFFFFFFF, table=5)),
        ({'fwmark': '0x10', 'table': 5}, Rule('ipv4', 7, fwmark=16, fwmask=0xFFFFFFFF, table=5)),
        ({'fwmark': '0x10/0xff', 'table': 5}, Rule('ipv4', 7, fwmark=16, fwmask=255, table=5)),
        ({'fwmark': '16', 'fwmask': 255, 'table': 5}, Rule('ipv4', 7, fwmark=16, fwmask=255, table=5)),
        ({'fwmark': '16/255', 'fwmask': '0xff', 'table': 5}, Rule('ipv4', 7, fwmark=16, fwmask=255, table=5)),
        ({'fwmark': 0, 'table': 5}, Rule('ipv4', 7, fwmark=0, fwmask=0xFFFFFFFF, table=5)),
        ({'ipproto': 'TCP', 'dport': 80, 'table': 5}, Rule('ipv4', 7, ipproto=6, dport=(80, 80), table=5)),
        ({'ipproto': 17, 'sport': '1-65534', 'table': 5}, Rule('ipv4', 7, ipproto=17, sport=(1, 65534), table=5)),
        ({'uid': '0-1000', 'tos': '0x10', 'table': 5}, Rule('ipv4', 7, uid=(0, 1000), tos=16, table=5)),
        ({'tos': 0, 'invert': False, 'table': 5}, Rule('ipv4', 7, table=5)),
        ({'invert': True, 'iif': 'lo', 'oif': 'eth1.5', 'table': 5},
         Rule('ipv4', 7, invert=True, iif='lo', oif='eth1.5', table=5)),
        ({'l3mdev': True}, Rule('ipv4', 7, l3mdev=True)),
        ({'goto': 8}, Rule('ipv4', 7, 'goto', goto=8)),
        ({'action': 'nop', 'family': 'ipv6'}, Rule('ipv6', 7, 'nop')),
        ({'action': 'prohibit', 'source': '10.0.0.0/8'}, Rule('ipv4', 7, 'prohibit', from_='10.0.0.0/8')),
        ({'table': 'main', 'suppress_prefixlength': 0}, Rule('ipv4', 7, suppress_prefixlength=0, table=254)),
        ({'table': 5, 'to': None, 'fwmark': None, 'action': None}, Rule('ipv4', 7, table=5)),
    ],
)  # fmt: skip
def test_what_a_rule_means(keys: Dict[str, Any], rule: Rule) -> None:
    assert one(**keys) == rule


@pytest.mark.parametrize('keys', [{'table': 5, 'fwmark': '1/1'}, {'goto': 9}, {'l3mdev': True}, {'action': 'nop'}])
def test_both_families_are_two_rules(keys: Dict[str, Any]) -> None:
    rules = parse({'priority': 7, 'family': 'both', **keys})
    assert [rule.family for rule in rules] == ['ipv4', 'ipv6']
    assert rules[0]._replace(family='ipv6') == rules[1]


def test_the_default_family_is_for_rules_that_do_not_tell() -> None:
    items = [{'priority': 1, 'table': 5}, {'priority': 2, 'to': '10.0.0.0/8', 'table': 5}]
    rules = parse(*items, context=CONTEXT._replace(family='both', protocol=200))
    assert [(rule.family, rule.priority, rule.protocol) for rule in rules] == [
        ('ipv4', 1, 200), ('ipv6', 1, 200), ('ipv4', 2, 200),
    ]  # fmt: skip


def test_the_same_rule_twice_counts_once() -> None:
    twins = [{'priority': 7, 'fwmark': '0x10', 'table': 'storage'}, {'priority': 7, 'fwmark': 16, 'table': 77}]
    assert len(parse(*twins)) == 1


@pytest.mark.parametrize(
    ('item', 'message'),
    [
        ('junk', "rules[1]: 'junk': must be a mapping that describes a rule"),
        ({}, 'rules[1].priority: None: is required: 0 to 4294967295'),
        ({'priority': 4294967296, 'table': 5}, 'rules[1].priority: 4294967296: must be a whole number'),
        ({'priority': True, 'table': 5}, 'rules[1].priority: True: '),
        ({'priority': 1.5, 'table': 5}, 'rules[1].priority: 1.5: '),
        ({'priority': 7}, 'rules[1].table: None: is required for action to-table'),
        ({'priority': 7, 'tabel': 5}, 'rules[1].tabel: 5: unknown key; known are priority, action, family, from, to'),
        ({'priority': 7, 5: 5}, 'rules[1].5: 5: unknown key'),
        ({'priority': 7, 'from': '10.1/16', 'table': 5}, "rules[1].from: '10.1/16': must be an IPv4 or IPv6 prefix"),
        ({'priority': 7, 'from': '10.1.0.1/16', 'table': 5}, 'has host bits set; the network is 10.1.0.0/16'),
        ({'priority': 7, 'from': '010.1.0.0/16', 'table': 5}, "rules[1].from: '010.1.0.0/16': "),
        ({'priority': 7, 'from': '10.1.0.0/33', 'table': 5}, "rules[1].from: '10.1.0.0/33': "),
        ({'priority': 7, 'from': '10.1.0.0/+8', 'table': 5}, "rules[1].from: '10.1.0.0/+8': "),
        ({'priority': 7, 'from': 'fe80::1%eth0', 'table': 5}, "rules[1].from: 'fe80::1%eth0': "),
        ({'priority': 7, 'from': 10, 'table': 5}, 'rules[1].from: 10: '),
        ({'priority': 7, 'from': ['10.0.0.0/8'], 'table': 5}, "rules[1].from: ['10.0.0.0/8']: "),
        ({'priority': 7, 'from': '10.0.0.0/8', 'to': '::/0', 'table': 5}, "rules[1].to: '::/0': must be of family ip"),
        ({'priority': 7, 'from': '10.0.0.0/8', 'family': 'ipv6', 'table': 5}, 'must be of family ipv6'),
        ({'priority': 7, 'to': '10.0.0.0/8', 'family': 'both', 'table': 5}, "rules[1].family: 'both': only for"),
        ({'priority': 7, 'family': 'inet', 'table': 5}, 'must be one of ipv4, ipv6, both'),
        ({'priority': 7, 'action': 'lookup', 'table': 5}, 'must be one of to-table, goto, nop, blackhole'),
        ({'priority': 7, 'action': 'nop', 'table': 5}, 'rules[1].table: 5: only with action to-table, not with nop'),
        ({'priority': 7, 'action': 'goto'}, 'rules[1].goto: None: must be a priority above 7'),
        ({'priority': 7, 'goto': 7}, 'rules[1].goto: 7: must be a priority above 7'),
        ({'priority': 7, 'goto': 9, 'action': 'nop'}, 'rules[1].goto: 9: only with action goto, not with nop'),
        ({'priority': 7, 'l3mdev': True, 'table': 5}, 'rules[1].table: 5: not together with l3mdev'),
        ({'priority': 7, 'l3mdev': True, 'action': 'nop'}, 'rules[1].l3mdev: True: only with action to-table'),
        ({'priority': 7, 'suppress_prefixlength': 33, 'table': 5}, 'must be a whole number from 0 to 32'),
        ({'priority': 7, 'suppress_prefixlength': 0, 'action': 'nop'}, 'only with action to-table, not with nop'),
        ({'priority': 7, 'fwmark': '0x100/0xff', 'table': 5}, "fwmark: '0x100': has bits outside its mask 0xff"),
        ({'priority': 7, 'fwmark': '1/0', 'table': 5}, "rules[1].fwmark: '0': "),
        ({'priority': 7, 'fwmark': 'x', 'table': 5}, "rules[1].fwmark: 'x': "),
        ({'priority': 7, 'fwmark': '1/3', 'fwmask': 1, 'table': 5}, "rules[1].fwmask: '0x1': differs from the"),
        ({'priority': 7, 'fwmask': 1, 'table': 5}, "rules[1].fwmask: '0x1': needs fwmark"),
        ({'priority': 7, 'iif': 'a/b', 'table': 5}, "rules[1].iif: 'a/b': must be an interface name"),
        ({'priority': 7, 'iif': 'x' * 16, 'table': 5}, 'must be an interface name'),
        ({'priority': 7, 'invert': 'maybe', 'table': 5}, "rules[1].invert: 'maybe': must be true or false"),
        ({'priority': 7, 'ipproto': 'tcpp', 'table': 5}, 'must be 1 to 255 or one of icmp, igmp, tcp'),
        ({'priority': 7, 'ipproto': 0, 'table': 5}, 'must be 1 to 255 or one of icmp, igmp, tcp'),
        ({'priority': 7, 'dport': 65535, 'table': 5}, 'dport: 65535: must be a number or LOW-HIGH, from 1 to 65534'),
        ({'priority': 7, 'dport': '9-3', 'table': 5}, "rules[1].dport: '9-3': must be a number or LOW-HIGH"),
        ({'priority': 7, 'sport': '5-', 'table': 5}, "rules[1].sport: '5-': must be a number or LOW-HIGH"),
        ({'priority': 7, 'uid': -1, 'table': 5}, 'rules[1].uid: -1: must be a number or LOW-HIGH'),
        ({'priority': 7, 'table': 'nosuch'}, 'allowed are 1 to 4294967295 and the names storage, main'),
        ({'priority': 7, 'table': 0}, 'rules[1].table: 0: not a routing table'),
        ({'priority': 7, 'table': [5]}, 'rules[1].table: [5]: not a routing table'),
        ({'priority': 7, 'table': True}, 'rules[1].table: True: not a routing table'),
    ],
)
def test_what_is_wrong_in_one_line(item: Any, message: str) -> None:
    with pytest.raises(PolicyError) as caught:
        parse({'priority': 1, 'table': 5}, item)
    assert message in str(caught.value)
    assert '\n' not in str(caught.value)


def test_a_list_must_be_a_list() -> None:
    with pytest.raises(PolicyError, match="^rules: 'junk': must be a list of mappings"):
        parse_rules('rules', 'junk', CONTEXT)


VALUES = (
    some.none() | some.booleans() | some.integers(-2, 300) | some.floats() | some.text(max_size=5)
    | some.sampled_from(['10.0.0.0/8', 'fd00::1', '::/0', '0x10/0xff', '1-5', 'lo', 'main', 'goto', 'nop', 'both'])
    | some.lists(some.integers(), max_size=2)
)  # fmt: skip
KEYS = ('priority', 'action', 'family', 'from', 'to', 'fwmark', 'fwmask', 'iif', 'oif', 'invert', 'ipproto', 'sport',
        'dport', 'tos', 'uid', 'suppress_prefixlength', 'l3mdev', 'goto', 'table', 'junk')  # fmt: skip


@given(some.dictionaries(some.sampled_from(KEYS), VALUES, max_size=6), some.integers(1, 99))
def test_any_entry_is_a_rule_or_one_line(item: Dict[str, Any], priority: int) -> None:
    try:
        rules = parse({'priority': priority, 'table': 5, **item})
    except PolicyError as error:
        assert str(error).startswith('rules[0]') and '\n' not in str(error)
    else:
        assert [decode(encode(rule)) for rule in rules] == rules


def test_protocols_of_others_are_refused() -> None:
    assert parse_protocol('protocol', LIST_PROTOCOL) == LIST_PROTOCOL
    assert PROTOCOL in TAKEN_PROTOCOLS
    for number in (0, 2, 3, 4, 18, 42, 186, 187, 192, 196):
        with pytest.raises(PolicyError, match=f'^protocol: {number}: taken by .*; allowed are 19-41, 43-83, '):
            parse_protocol('protocol', number)


def test_scopes_of_a_purge() -> None:
    assert parse_ranges('priorities', None, 0, 9) is None
    assert parse_ranges('priorities', [3, '5-7'], 0, 9) == [(3, 3), (5, 7)]
    assert parse_tables('tables', None, {}) is None
    assert parse_tables('tables', ['main', 9], {'main': 254}) == [254, 9]
    with pytest.raises(PolicyError, match=r"^priorities\[1\]: '5-17': "):
        parse_ranges('priorities', [3, '5-17'], 0, 9)
    with pytest.raises(PolicyError, match=r"^tables: 'main': must be a list"):
        parse_tables('tables', 'main', {'main': 254})


def test_a_long_list_is_not_echoed() -> None:
    assert short_invocation({'rules': [1] * 100, 'state': 'present'}, 'rules') == {
        'module_args': {'rules': [1] * 100, 'state': 'present'}
    }
    assert short_invocation({'rules': [1] * 101}, 'rules')['module_args']['rules'][-1] == 'and 1 more'
