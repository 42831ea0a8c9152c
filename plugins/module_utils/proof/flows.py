# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fires flows from a client: all at once, in one process, each from its own source port."""

from __future__ import annotations

import selectors
import time
from collections import deque
from typing import Dict, List, Optional, Sequence

from .probes import PROBES, Outcome, Probe, answer_of
from .spec import Answer, Flow

#: Sockets open at a time: well under the usual limit of 1024 descriptors.
MOST_AT_ONCE = 256


def fire(flows: Sequence[Flow], at_once: int = MOST_AT_ONCE) -> List[Answer]:
    """The answers of all flows, in the order of the flows, `count` of each.

    Lasts as long as the slowest flow, at most its timeout, if not more than
    `at_once` flows are given; what is above that starts as others end.
    """
    volley = _Volley(flows, at_once)
    try:
        return volley.run()
    finally:
        volley.selector.close()


class _Volley:
    """The flows of one call: waiting, under way, answered."""

    def __init__(self, flows: Sequence[Flow], at_once: int) -> None:
        self.selector = selectors.DefaultSelector()
        self.at_once = at_once
        self.waiting = deque(enumerate(flow for flow in flows for _time in range(flow.count)))
        self.under_way: Dict[int, Probe] = {}
        self.answers: Dict[int, Answer] = {}

    def run(self) -> List[Answer]:
        while self.waiting or self.under_way:
            while self.waiting and len(self.under_way) < self.at_once:
                self.start(*self.waiting.popleft())
            self.take_what_is_ready()
            self.end_what_is_late()
        return [self.answers[place] for place in sorted(self.answers)]

    def start(self, place: int, flow: Flow) -> None:
        try:
            probe = PROBES[flow.kind](flow)
        except OSError as problem:
            self.answers[place] = answer_of(flow, Outcome(False, f'no socket: {problem.strerror}'), sent=False)
            return
        try:
            probe.start()
        except OSError as problem:
            self.answers[place] = probe.finish(Outcome(False, f'not sent: {problem.strerror}'), sent=False)
            return
        self.selector.register(probe.socket, probe.events, place)
        self.under_way[place] = probe

    def take_what_is_ready(self) -> None:
        """Waits for the first thing to happen, at most until the nearest deadline."""
        if not self.under_way:
            return
        nearest = min(probe.deadline for probe in self.under_way.values())
        for key, _events in self.selector.select(max(0.0, nearest - time.monotonic())):
            probe = self.under_way[key.data]
            outcome = _advance(probe)
            if outcome is not None:
                self.end(key.data, outcome)
            elif key.events != probe.events:
                self.selector.modify(probe.socket, probe.events, key.data)

    def end_what_is_late(self) -> None:
        now = time.monotonic()
        for place in [place for place, probe in self.under_way.items() if probe.deadline <= now]:
            self.end(place, Outcome(False, f'no answer in {self.under_way[place].flow.timeout:g} s'))

    def end(self, place: int, outcome: Outcome) -> None:
        probe = self.under_way.pop(place)
        self.selector.unregister(probe.socket)
        self.answers[place] = probe.finish(outcome)


def _advance(probe: Probe) -> Optional[Outcome]:
    try:
        return probe.advance()
    except BlockingIOError:
        return None
    except OSError as problem:
        return Outcome(False, problem.strerror or str(problem))
