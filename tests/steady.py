# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A steady stream of requests from one client, so that a change under load can be judged packet by packet."""

from __future__ import annotations

import json
import os
import selectors
import socket
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Dict, List, Optional, Sequence, Set, Tuple, Type

from namespaces import Namespace

#: What the last answers may take once the last request is out; the lab answers in well under a millisecond.
_LAST_ANSWERS = 0.5
#: Requests that are sent after the stop, so that the last change is under load, too.
_AFTERWARDS = 20

Target = Tuple[str, int]


@dataclass(frozen=True)
class Stream:
    """What became of the requests to one target."""

    target: Target
    sent: int
    answered: int

    @property
    def lost(self) -> int:
        """Requests that were never answered."""
        return self.sent - self.answered


class Steady:
    """UDP requests to each target, `rate` a second, between `with` and `stop`; each has a number that comes back."""

    def __init__(self, client: Namespace, targets: Sequence[Target], rate: int = 200) -> None:
        self._client = client
        self._targets = list(targets)
        self._interval = 1 / rate
        self.streams: Dict[Target, Stream] = {}

    def __enter__(self) -> Steady:
        started_read, started = os.pipe()
        stop, self._stop = os.pipe()
        result, result_write = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            self._child(started, stop, result_write)
        for descriptor in (started, stop, result_write):
            os.close(descriptor)
        # Every target has answered once: what follows is a stream that flows.
        assert os.read(started_read, 1) == b'1', 'the stream did not start'
        os.close(started_read)
        self._result = result
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        os.close(self._stop)
        with os.fdopen(self._result) as stream:
            found = json.load(stream)
        assert os.waitpid(self._pid, 0)[1] == 0
        self.streams = {target: Stream(target, *counts) for target, counts in zip(self._targets, found)}

    def _child(self, started: int, stop: int, result: int) -> None:
        code = 1
        try:
            os.close(self._stop)
            with self._client.entered():
                counts = _pump(self._targets, self._interval, started, stop)
            os.write(result, json.dumps(counts).encode())
            code = 0
        finally:
            os._exit(code)


def _pump(targets: Sequence[Target], interval: float, started: int, stop: int) -> Sequence[Tuple[int, int]]:
    """Send to every target each interval until the stop pipe is closed; (sent, answered) for each."""
    sockets = [_connected(target) for target in targets]
    answers: List[Set[bytes]] = [set() for _target in targets]
    os.set_blocking(stop, False)
    with selectors.DefaultSelector() as selector:
        for number, item in enumerate(sockets):
            selector.register(item, selectors.EVENT_READ, number)
        sent, told, due, left = 0, False, time.monotonic(), _AFTERWARDS
        while left:
            left -= _closed(stop)
            for item in sockets:
                item.send(str(sent).encode())
            sent, due = sent + 1, due + interval
            _receive(selector, sockets, answers, due)
            if not told and all(answers):
                os.write(started, b'1')
                told = True
        _receive(selector, sockets, answers, time.monotonic() + _LAST_ANSWERS)
    return [(sent, len(found)) for found in answers]


def _receive(
    selector: selectors.BaseSelector, sockets: Sequence[socket.socket], answers: List[Set[bytes]], until: float
) -> None:
    while (left := until - time.monotonic()) > 0:
        for key, _events in selector.select(left):
            answers[key.data].add(sockets[key.data].recv(64))


def _connected(target: Target) -> socket.socket:
    made = socket.socket(socket.AF_INET6 if ':' in target[0] else socket.AF_INET, socket.SOCK_DGRAM)
    made.connect(target)
    return made


def _closed(pipe: int) -> bool:
    try:
        return os.read(pipe, 1) == b''
    except BlockingIOError:
        return False
