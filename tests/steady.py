# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A steady stream of requests from one client, so that a change under load can be judged packet by packet."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import socket
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Dict, List, Optional, Sequence, Tuple, Type

from namespaces import Namespace

#: What the last answers may take once the last request is out: the lab answers in well under a millisecond. On a busy
#: machine they take longer, so it ends when all are in.
_LAST_ANSWERS = 5.0
#: Requests that are sent after the stop, so that the last change is under load, too.
_AFTERWARDS = 20

Target = Tuple[str, int]


@dataclass(frozen=True)
class Stream:
    """What became of the requests to one target; `dark` is the longest time, in seconds, without one answered."""

    target: Target
    sent: int
    answered: int
    dark: float

    @property
    def lost(self) -> int:
        """Requests that were never answered."""
        return self.sent - self.answered


class Steady:
    """UDP requests to each target, `rate` a second, between `with` and `stop`; each has a number that comes back.

    A processor that cannot keep the rate gets fewer: no request is sent while `window` of the last second are open.
    """

    def __init__(self, client: Namespace, targets: Sequence[Target], rate: int = 200, window: int = 100) -> None:
        self._client = client
        self._targets = list(targets)
        self._interval = 1 / rate
        self._window = window
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
                counts = _pump(self._targets, self._interval, self._window, started, stop)
            os.write(result, json.dumps(counts).encode())
            code = 0
        finally:
            os._exit(code)


class _Asked:
    """The requests to one target: when each was sent, and which of them are open."""

    def __init__(self, target: Target) -> None:
        self.sock = _connected(target)
        self.sent: List[float] = []
        self.open: Dict[int, float] = {}

    def ask(self, now: float, window: int) -> None:
        """One request more, unless too many of the last second are open; older ones are taken for lost."""
        if sum(now - at < 1.0 for at in self.open.values()) < window:
            self.open[len(self.sent)] = now
            self.sent.append(now)
            request = str(len(self.sent) - 1).encode()
            try:
                self.sock.send(request)
            except OSError:  # an ICMP error about an earlier one; this one has not been sent
                self.sock.send(request)

    def take(self) -> None:
        """One answer, or an ICMP error instead of one: then it stays open."""
        with contextlib.suppress(OSError):
            self.open.pop(int(self.sock.recv(64)), None)

    def counts(self) -> Tuple[int, int, float]:
        """(sent, answered, dark)."""
        answered = [at for number, at in enumerate(self.sent) if number not in self.open]
        dark = max((later - at for at, later in zip(answered, answered[1:])), default=0.0)
        return len(self.sent), len(answered), dark


def _pump(
    targets: Sequence[Target], interval: float, window: int, started: int, stop: int
) -> Sequence[Tuple[int, int, float]]:
    """Send to every target each interval until the stop pipe is closed; the counts of each."""
    asked = [_Asked(target) for target in targets]
    os.set_blocking(stop, False)
    with selectors.DefaultSelector() as selector:
        for item in asked:
            selector.register(item.sock, selectors.EVENT_READ, item)
        told, due, left = False, time.monotonic(), _AFTERWARDS
        while left:
            left -= _closed(stop)
            began = time.monotonic()
            for item in asked:
                item.ask(began, window)
            # What is late is left out: a burst that makes up for it would be another load. And a processor that is too
            # slow for the rate is left half of the time for what is under test.
            now = time.monotonic()
            due = max(due + interval, now + (now - began))
            _receive(selector, due)
            if not told and all(len(item.open) < len(item.sent) for item in asked):
                os.write(started, b'1')
                told = True
        _receive(selector, time.monotonic() + _LAST_ANSWERS, asked)
    return [item.counts() for item in asked]


def _receive(selector: selectors.BaseSelector, until: float, wanted: Sequence[_Asked] = ()) -> None:
    """Take answers for that long at most; when there are some that are wanted, until these have all."""
    while (left := until - time.monotonic()) > 0 and not (wanted and not any(item.open for item in wanted)):
        for key, _events in selector.select(left):
            key.data.take()


def _connected(target: Target) -> socket.socket:
    made = socket.socket(socket.AF_INET6 if ':' in target[0] else socket.AF_INET, socket.SOCK_DGRAM)
    made.connect(target)
    return made


def _closed(pipe: int) -> bool:
    try:
        return os.read(pipe, 1) == b''
    except BlockingIOError:
        return False
