# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table that people read."""

from __future__ import annotations

from ansible_collections.returntraffic.net.plugins.module_utils.proof.table import flow_name, render, strays, summary
from ansible_collections.returntraffic.net.plugins.module_utils.proof.verdict import FAIL, INCOMPLETE, PASS, Verdict

GOOD = Verdict(
    'client1', 'vip1', '192.168.1.1', 'ipv4', 'tcp', 'host', 8080, {'eth1': 3}, {'eth1': 3}, True, PASS, 'fine'
)
STRAY = GOOD._replace(port=9080, path='dnat', replies={'eth0': 2}, answered=False, verdict=FAIL, reason='left by eth0')
SILENT = GOOD._replace(vip='fd00::1', family='ipv6', replies={}, answered=False, verdict=FAIL, reason='dropped')
UNKNOWN = GOOD._replace(
    client='client2', requests={}, replies={}, answered=False, verdict=INCOMPLETE, reason='never came'
)


def test_a_row_has_nics_answer_verdict_and_its_flows() -> None:
    lines = render([GOOD, STRAY, SILENT, UNKNOWN], 'source').splitlines()
    assert lines[0] == 'Proof: source'
    rows = [line.split() for line in lines[1:-1] if not line.startswith('-')]
    assert rows == [
        ['client', 'VIP', 'request', 'reply', 'answered', 'verdict', 'flows'],
        ['client1', '192.168.1.1', 'eth1', 'eth1', 'yes', 'PASS', 'tcp', '8080'],
        ['eth1', 'eth0', 'no', 'FAIL', 'tcp', 'dnat', '9080'],
        ['client1', 'fd00::1', 'eth1', '-', 'no', 'FAIL', 'tcp', '8080,', '(dropped)'],
        ['client2', '192.168.1.1', '-', '-', 'no', 'INCOMPLETE', 'tcp', '8080,', '(never', 'came)'],
    ]
    assert lines[-1] == '4 flows: 1 PASS, 2 FAIL, 1 INCOMPLETE'


def test_columns_are_aligned_and_lines_have_no_blank_at_their_end() -> None:
    lines = render([GOOD, STRAY, SILENT, UNKNOWN]).splitlines()
    place = lines[1].index('verdict')
    words = [line[place:].split()[0] for line in lines[3:-2] if not line.startswith('-')]
    assert words == [PASS, FAIL, FAIL, INCOMPLETE]
    assert all(line == line.rstrip() for line in lines)


def test_many_flows_that_went_alike_go_on_in_the_next_line() -> None:
    table = render([GOOD._replace(port=port) for port in range(8000, 8020)])
    lines = [line for line in table.splitlines() if 'tcp' in line]
    assert len(lines) == 3
    assert [line.count('eth1') for line in lines] == [2, 0, 0]
    assert len({line.index('tcp') for line in lines}) == 1


def test_what_belongs_together_stands_together() -> None:
    mixed = [GOOD, UNKNOWN, STRAY]
    assert [line.split()[0] for line in render(mixed).splitlines() if 'tcp' in line] == ['client1', 'eth1', 'client2']


def test_equal_flows_are_counted() -> None:
    table = render([GOOD] * 200 + [STRAY])
    assert 'tcp 8080 x200' in table
    assert len(table.splitlines()) == 7


def test_a_control_says_where_replies_went() -> None:
    table = render([STRAY, STRAY, SILENT], 'no policy', control=True)
    assert table.startswith('Negative control: no policy\n')
    assert table.endswith('Without a policy: 4 replies left by eth0, the wrong NIC; 1 requests got no reply at all')
    assert strays([GOOD]) == 'Without a policy: no reply went astray'


def test_a_pmtu_flow_tells_whether_a_packet_was_too_big() -> None:
    pmtu = GOOD._replace(kind='pmtu')
    assert 'pmtu 8080 (ptb)' in render([pmtu._replace(ptb=1)])
    assert 'ptb' not in render([pmtu])


def test_nothing_makes_an_empty_table() -> None:
    assert summary([]) == '0 flows: 0 PASS'
    assert render([]).splitlines()[1].split()[0] == 'client'


def test_names_of_flows() -> None:
    assert flow_name(GOOD) == 'tcp 8080'
    assert flow_name(STRAY) == 'tcp dnat 9080'
    assert flow_name(GOOD._replace(kind='icmp', port=0)) == 'icmp'
