# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""nft's own form: what we send and what nft lists must compare equal, whatever the version."""

from __future__ import annotations

from ansible_collections.returntraffic.net.plugins.module_utils.nft import (
    COMMENT_LIMIT,
    Chain,
    Hook,
    NftTable,
    VerdictMap,
    ct,
    masked,
    match,
    meta,
    parse_table,
    prefix_json,
    rule,
    set_bits,
    transition,
    union,
)


def test_the_mask_that_nft_lists_is_the_mask_that_was_sent() -> None:
    listed = {
        'mangle': {
            'key': {'meta': {'key': 'mark'}},
            'value': {'|': [{'&': [{'meta': {'key': 'mark'}}, 0xFF01FFFF]}, 0x10000]},
        }
    }
    assert rule('x', listed) == rule('x', set_bits(meta('mark'), 0xFF0000, 0x10000))


def test_the_order_of_an_anonymous_set_does_not_matter() -> None:
    assert rule('x', match(meta('iifname'), ['b', 'a'])) == rule('x', match(meta('iifname'), ['a', 'b']))


def test_a_set_of_one_is_its_element() -> None:
    assert match(meta('iifname'), ['a'])['match']['right'] == 'a'


def test_a_whole_mask_is_left_out_as_nft_does() -> None:
    assert masked(ct('mark'), 0xFFFFFFFF) == ct('mark')
    assert set_bits(ct('mark'), 0xFFFFFFFF, 7)['mangle']['value'] == 7


def test_a_full_length_prefix_is_an_address() -> None:
    assert prefix_json('10.0.0.1/32') == '10.0.0.1'
    assert prefix_json('fd00::/8') == {'prefix': {'addr': 'fd00::', 'len': 8}}


def test_comments_are_cut_to_what_the_kernel_takes() -> None:
    assert len(rule('x' * 500, meta('mark')).comment) == COMMENT_LIMIT


def test_objects_of_others_are_not_ours() -> None:
    others = [
        {'table': {'family': 'ip', 'name': 'returntraffic'}},
        {'table': {'family': 'inet', 'name': 'filter'}},
        {'chain': {'family': 'inet', 'table': 'filter', 'name': 'returntraffic'}},
        {'flowtable': {'family': 'inet', 'name': 'f', 'table': 'x'}},
    ]
    assert parse_table(others) is None


def test_no_difference_is_no_command() -> None:
    table = NftTable(saved={'a': '1'})
    assert transition(table, table) == []
    assert transition(None, None) == []


def test_the_first_and_the_last_saved_sysctl_come_and_go_with_their_set() -> None:
    came = transition(NftTable(saved={'a': '1'}), NftTable(saved={'a': '1', 'b': '2'}))
    assert [next(iter(command)) for command in came] == ['delete', 'add']
    assert transition(NftTable(saved={'a': '1'}), None) == [
        {'delete': {'table': {'family': 'inet', 'name': 'returntraffic'}}}
    ]


def test_a_union_sets_new_marks_and_keeps_old_ones() -> None:
    hook = Hook('filter', 'prerouting', -99)
    old_rule, new_rule, same = rule('old', meta('mark')), rule('new', ct('mark')), rule('same', meta('iifname'))
    before = NftTable(
        (Chain('gone', (old_rule,)), Chain('pre', (old_rule, same), hook)),
        (VerdictMap('m', 'ipv4_addr', {'10.0.0.1': 'gone', '10.0.0.2': 'gone'}),),
    )
    after = NftTable((Chain('pre', (new_rule, same), hook),), (VerdictMap('m', 'ipv4_addr', {'10.0.0.1': 'x'}),))
    both = union(before, after)
    assert both is not None
    assert {chain.name: chain.rules for chain in both.chains} == {
        'gone': (old_rule,),
        'pre': (new_rule, same, old_rule),
    }
    assert both.maps[0].elements == {'10.0.0.1': 'x', '10.0.0.2': 'gone'}


def test_a_union_with_nothing_is_the_other() -> None:
    table = NftTable(saved={'a': '1'})
    assert union(None, table) == table
    assert union(table, None) is None
