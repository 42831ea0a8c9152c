# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Verdicts from frames alone."""

from __future__ import annotations

from typing import Optional

import pytest
from ansible_collections.returntraffic.net.plugins.module_utils.proof.frames import ICMP, TCP, UDP, Frame, Quote
from ansible_collections.returntraffic.net.plugins.module_utils.proof.spec import Answer
from ansible_collections.returntraffic.net.plugins.module_utils.proof.verdict import (
    FAIL,
    INCOMPLETE,
    PASS,
    Verdict,
    as_dict,
    judge,
)

CLIENT, VIP, POD, ROUTER = '10.0.3.23', '192.168.1.1', '10.244.0.2', '10.0.1.21'

TCP_ANSWER = Answer('client1', 'vip1', VIP, 'ipv4', 'tcp', 'host', 8080, CLIENT, 40000, answered=True)
UDP_ANSWER = TCP_ANSWER._replace(kind='udp')
CLOSED_ANSWER = TCP_ANSWER._replace(kind='udp_closed', port=8089)
ICMP_ANSWER = TCP_ANSWER._replace(kind='icmp', port=0, local_port=0, icmp_id=77)


def request(nic: str, proto: int = TCP, dport: int = 8080, outgoing: bool = False) -> Frame:
    return Frame(0.0, nic, outgoing, 'ipv4', proto, CLIENT, VIP, 40000, dport)


def reply(nic: str, proto: int = TCP, sport: int = 8080, outgoing: bool = True) -> Frame:
    return Frame(0.0, nic, outgoing, 'ipv4', proto, VIP, CLIENT, sport, 40000)


def echo(nic: str, outgoing: bool, icmp_id: int = 77) -> Frame:
    src, dst = (VIP, CLIENT) if outgoing else (CLIENT, VIP)
    return Frame(
        0.0, nic, outgoing, 'ipv4', ICMP, src, dst, icmp_type=0 if outgoing else 8, icmp_code=0, icmp_id=icmp_id
    )


def error(nic: str, kind: int, code: int, quote: Optional[Quote], outgoing: bool) -> Frame:
    src, dst = (VIP, CLIENT) if outgoing else (ROUTER, VIP)
    return Frame(0.0, nic, outgoing, 'ipv4', ICMP, src, dst, icmp_type=kind, icmp_code=code, quote=quote)


def one(answer: Answer, *frames: Frame, dropped: int = 0) -> Verdict:
    verdicts = judge([answer], frames, dropped)
    assert len(verdicts) == 1
    return verdicts[0]


def test_in_and_out_by_one_nic_passes() -> None:
    verdict = one(TCP_ANSWER, request('eth1'), reply('eth1'), request('eth1'), reply('eth1'))
    assert verdict.verdict == PASS
    assert verdict.requests == verdict.replies == {'eth1': 2}
    assert verdict.wrong_replies == {}


def test_a_reply_by_another_nic_fails_and_names_both() -> None:
    verdict = one(TCP_ANSWER._replace(answered=False), request('eth1'), reply('eth0'))
    assert (verdict.verdict, verdict.reason) == (FAIL, 'reply left by eth0, request came by eth1')
    assert verdict.wrong_replies == {'eth0': 1}


def test_one_stray_retransmission_fails_though_the_client_was_answered() -> None:
    verdict = one(TCP_ANSWER, request('eth1'), reply('eth1'), reply('eth0'), reply('eth1'))
    assert verdict.verdict == FAIL
    assert verdict.replies == {'eth1': 2, 'eth0': 1}


def test_what_an_earlier_connection_of_the_same_port_still_sends_is_no_reply() -> None:
    stale = reply('eth0')._replace(time=1.0)
    frames = [request('eth1')._replace(time=2.0), reply('eth1')._replace(time=2.1)]
    assert one(TCP_ANSWER, stale, *frames).replies == {'eth1': 1}
    assert one(TCP_ANSWER, *frames, stale).verdict == PASS
    assert one(TCP_ANSWER, *frames, stale._replace(time=3.0)).verdict == FAIL


def test_no_reply_fails_and_says_where_the_request_ended() -> None:
    verdict = one(TCP_ANSWER._replace(answered=False), request('eth1'), request('eth1'))
    assert verdict.verdict == FAIL
    assert 'no reply left: request dropped after eth1' in verdict.reason


def test_a_right_reply_that_never_arrived_fails() -> None:
    verdict = one(TCP_ANSWER._replace(answered=False, detail='no answer in 1 s'), request('eth1'), reply('eth1'))
    assert verdict.verdict == FAIL
    assert verdict.reason == 'replies left by eth1 as they should, but no answer: no answer in 1 s'


def test_a_request_by_two_nics_fails() -> None:
    verdict = one(TCP_ANSWER, request('eth1'), request('eth2'), reply('eth1'))
    assert (verdict.verdict, verdict.reason) == (FAIL, 'request came by more than one NIC: eth1, eth2')


@pytest.mark.parametrize(
    ('answer', 'frames', 'dropped', 'words'),
    [
        (TCP_ANSWER, [request('eth1'), reply('eth1')], 1, 'capture lost 1 packets'),
        (TCP_ANSWER._replace(answered=False), [], 0, 'request never reached the node'),
        (TCP_ANSWER, [], 0, 'yet it was answered'),
        (TCP_ANSWER, [request('eth1')], 0, 'no reply was seen'),
        (TCP_ANSWER._replace(sent=False, answered=False, detail='not sent: Network is unreachable'), [], 0, 'not sent'),
    ],
)
def test_what_cannot_be_known_is_incomplete(answer: Answer, frames: list[Frame], dropped: int, words: str) -> None:
    verdict = one(answer, *frames, dropped=dropped)
    assert verdict.verdict == INCOMPLETE
    assert words in verdict.reason


def test_a_stray_reply_fails_even_when_packets_were_lost() -> None:
    assert one(TCP_ANSWER, request('eth1'), reply('eth0'), dropped=5).verdict == FAIL


def test_a_reply_before_any_request_was_seen_is_incomplete() -> None:
    assert one(TCP_ANSWER, reply('eth1')).verdict == INCOMPLETE


def test_an_icmp_error_that_goes_out_is_the_reply_to_what_it_quotes() -> None:
    quote = Quote(UDP, CLIENT, VIP, 40000, 8089)
    asked = request('eth1', UDP, 8089)
    assert one(CLOSED_ANSWER, asked, error('eth1', 3, 3, quote, True)).verdict == PASS
    assert one(CLOSED_ANSWER, asked, error('eth0', 3, 3, quote, True)).wrong_replies == {'eth0': 1}
    assert one(CLOSED_ANSWER, asked, error('eth1', 3, 3, quote._replace(sport=40001), True)).replies == {}


def test_packet_too_big_is_counted_for_the_flow_that_it_quotes_whatever_nic_it_came_by() -> None:
    quote = Quote(TCP, VIP, CLIENT, 8080, 40000)
    frames = [request('eth1'), reply('eth1'), error('eth2', 3, 4, quote, False), error('eth1', 3, 1, quote, False)]
    verdict = one(TCP_ANSWER._replace(kind='pmtu'), *frames)
    assert (verdict.verdict, verdict.ptb) == (PASS, 1)
    assert verdict.requests == {'eth1': 1}


def test_echoes_are_told_by_their_identifier() -> None:
    assert one(ICMP_ANSWER, echo('eth1', False), echo('eth1', True)).verdict == PASS
    assert one(ICMP_ANSWER, echo('eth1', False), echo('eth0', True)).verdict == FAIL
    assert one(ICMP_ANSWER, echo('eth1', False, 78), echo('eth1', True, 78)).verdict == INCOMPLETE


def test_flows_do_not_mix() -> None:
    other = TCP_ANSWER._replace(local_port=40001)
    frames = [
        request('eth1'),
        reply('eth1'),
        request('eth2')._replace(sport=40001),
        reply('eth0')._replace(dport=40001),
    ]
    assert [verdict.verdict for verdict in judge([TCP_ANSWER, other], frames)] == [PASS, FAIL]
    assert one(UDP_ANSWER, *frames).verdict == INCOMPLETE


def test_copies_that_are_forwarded_do_not_count() -> None:
    frames = [request('eth1'), request('veth1', outgoing=True), reply('veth1', outgoing=False), reply('eth1')]
    assert one(TCP_ANSWER, *frames).verdict == PASS


def test_later_fragments_belong_to_the_flow_of_the_first() -> None:
    first = reply('eth1', UDP)._replace(ident=9)
    later = Frame(0.0, 'eth0', True, 'ipv4', UDP, VIP, CLIENT, ident=9, offset=1480)
    assert one(UDP_ANSWER, request('eth1', UDP), later, first).wrong_replies == {'eth0': 1}
    assert one(UDP_ANSWER, request('eth1', UDP), later._replace(ident=8), first).verdict == PASS


def test_a_verdict_is_plain_data() -> None:
    found = as_dict(one(TCP_ANSWER._replace(rtt_ms=1.5), request('eth1'), reply('eth0')))
    assert found['wrong_replies'] == {'eth0': 1}
    assert found['requests'] == {'eth1': 1}
    assert (found['client'], found['vip'], found['verdict'], found['rtt_ms']) == ('client1', VIP, 'FAIL', 1.5)
