# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judges flows by the frames of the node's NICs.

Pure. PASS only if the client was answered and every reply frame left by the one NIC
that the request came in by. What cannot be known (packets lost by the capture, a
request that never came) is INCOMPLETE and proves nothing, in a negative control either.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from .frames import ICMP, ICMPV6, TCP, UDP, Frame, Quote
from .spec import Answer

PASS, FAIL, INCOMPLETE = 'PASS', 'FAIL', 'INCOMPLETE'

_PROTOCOLS = {'tcp': TCP, 'tcp_closed': TCP, 'pmtu': TCP, 'udp': UDP, 'udp_closed': UDP}

#: Protocol, client, VIP, client's port (ICMP: id), VIP's port: a flow as the node's NICs show it.
_Key = Tuple[int, str, str, int, int]
#: What the fragments of one packet have in common.
_FragmentKey = Tuple[int, str, str, int]


class Verdict(NamedTuple):
    """One flow judged. `requests` and `replies` count its frames by NIC, in the order first seen.

    `ptb` counts packet-too-big messages that came in about its replies; the kernel keeps
    a path's MTU for ten minutes (ip-sysctl: mtu_expires), so a repeated pmtu flow may need none.
    """

    client: str
    target: str
    vip: str
    family: str
    kind: str
    path: str
    port: int
    requests: Dict[str, int]
    replies: Dict[str, int]
    answered: bool
    verdict: str
    reason: str
    ptb: int = 0
    detail: str = ''
    rtt_ms: float = 0.0

    @property
    def passed(self) -> bool:
        return self.verdict == PASS

    @property
    def wrong_replies(self) -> Dict[str, int]:
        """Reply frames by NICs that no request of the flow came in by."""
        return {nic: count for nic, count in self.replies.items() if nic not in self.requests}


class _Seen:
    """The frames of one flow, counted."""

    def __init__(self) -> None:
        self.requests: Counter[str] = Counter()
        self.replies: Counter[str] = Counter()
        self.too_big = 0


def judge(answers: Sequence[Answer], frames: Sequence[Frame], dropped: int = 0) -> List[Verdict]:
    """A verdict for each answer, from the frames of real NICs only (see nics.only_nics).

    `dropped` counts packets that the capture lost; any at all forbids a PASS.
    """
    seen = {_key(answer): _Seen() for answer in answers}
    fragments = _first_fragments(frames)
    for frame in sorted(frames, key=_time):
        _count(seen, frame if not frame.offset else _with_ports(frame, fragments))
    return [_verdict(answer, seen[_key(answer)], dropped) for answer in answers]


def _time(frame: Frame) -> float:
    return frame.time


def as_dict(verdict: Verdict) -> Dict[str, Any]:
    """For reports and module results."""
    return dict(verdict._asdict(), wrong_replies=verdict.wrong_replies)


def _key(answer: Answer) -> _Key:
    if answer.kind == 'icmp':
        protocol = ICMP if answer.family == 'ipv4' else ICMPV6
        return protocol, answer.local_address, answer.vip, answer.icmp_id, 0
    return _PROTOCOLS[answer.kind], answer.local_address, answer.vip, answer.local_port, answer.port


def _count(seen: Mapping[_Key, _Seen], frame: Frame) -> None:
    """Forwarded copies do not count: a request is what came in, a reply what went out."""
    if frame.quote is not None:
        _count_error(seen, frame, frame.quote)
    elif frame.outgoing:
        _count_reply(seen.get(_reply_key(frame)), frame)
    else:
        flow = seen.get(_request_key(frame))
        if flow is not None:
            flow.requests[frame.nic] += 1


def _count_reply(flow: Optional[_Seen], frame: Frame) -> None:
    """What goes out before the first request is no reply to it.

    The client may have got a port that it had a minute ago, in a connection that the node still tries to answer:
    that connection's handshake is repeated for a minute, the way it went then (tcp(7), tcp_synack_retries).
    """
    if flow is not None and flow.requests:
        flow.replies[frame.nic] += 1


def _count_error(seen: Mapping[_Key, _Seen], frame: Frame, quote: Quote) -> None:
    """An error going out about a request is a reply to it; one coming in is about our reply."""
    if frame.outgoing:
        _count_reply(seen.get(_request_key(quote)), frame)
    elif frame.too_big:
        flow = seen.get(_reply_key(quote))
        if flow is not None:
            flow.too_big += 1


def _request_key(packet: Any) -> _Key:
    return packet.proto, packet.src, packet.dst, _near(packet.icmp_id, packet.sport), packet.dport


def _reply_key(packet: Any) -> _Key:
    return packet.proto, packet.dst, packet.src, _near(packet.icmp_id, packet.dport), packet.sport


def _near(icmp_id: int, port: int) -> int:
    return port if icmp_id < 0 else icmp_id


def _first_fragments(frames: Sequence[Frame]) -> Dict[_FragmentKey, Frame]:
    if not any(frame.offset for frame in frames):
        return {}
    return {_fragment_key(frame): frame for frame in frames if not frame.offset}


def _fragment_key(frame: Frame) -> _FragmentKey:
    return frame.proto, frame.src, frame.dst, frame.ident


def _with_ports(frame: Frame, fragments: Mapping[_FragmentKey, Frame]) -> Frame:
    """A later fragment belongs to the flow of the first one, which alone has the ports."""
    first = fragments.get(_fragment_key(frame))
    if first is None:
        return frame
    return frame._replace(sport=first.sport, dport=first.dport, icmp_id=first.icmp_id)


def _verdict(answer: Answer, seen: _Seen, dropped: int) -> Verdict:
    word, reason = _decide(answer, seen, dropped)
    return Verdict(
        answer.client, answer.target, answer.vip, answer.family, answer.kind, answer.path, answer.port,
        dict(seen.requests), dict(seen.replies), answer.answered, word, reason,
        seen.too_big, answer.detail, answer.rtt_ms,
    )  # fmt: skip


def _decide(answer: Answer, seen: _Seen, dropped: int) -> Tuple[str, str]:
    """A reply seen on a wrong NIC stays a failure whatever else is not known."""
    strayed = _strayed(seen)
    if strayed is not None:
        return FAIL, strayed
    unknown = _unknown(answer, seen, dropped)
    if unknown is not None:
        return INCOMPLETE, unknown
    if not seen.replies:
        return FAIL, f'no reply left: request dropped after {_names(seen.requests)} (rp_filter, firewall, no listener?)'
    if not answer.answered:
        return FAIL, f'replies left by {_names(seen.replies)} as they should, but no answer: {answer.detail}'
    return PASS, f'in and out by {_names(seen.requests)}'


def _strayed(seen: _Seen) -> Optional[str]:
    """Why the frames alone forbid a PASS."""
    wrong = [nic for nic in seen.replies if nic not in seen.requests]
    if not seen.requests:
        return None
    if wrong:
        return f'reply left by {", ".join(wrong)}, request came by {_names(seen.requests)}'
    nodes = Counter(nic.rpartition(' ')[0] for nic in seen.requests)
    if max(nodes.values()) > 1:
        return f'request came by more than one NIC: {_names(seen.requests)}'
    # Of several nodes, each of which had a part of it: that is the router's choice, and each answered its own part.
    return None


def _unknown(answer: Answer, seen: _Seen, dropped: int) -> Optional[str]:
    if dropped:
        return f'capture lost {dropped} packets'
    if not answer.sent:
        return f'request was not sent: {answer.detail}'
    if not seen.requests:
        return 'request never reached the node' + (', yet it was answered: NAT on the way?' if answer.answered else '')
    if answer.answered and not seen.replies:
        return 'answered, but no reply was seen on any NIC of the node'
    return None


def _names(counted: Mapping[str, int]) -> str:
    return ', '.join(counted)
