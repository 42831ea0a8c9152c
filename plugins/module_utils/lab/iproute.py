# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run ip(8) inside named namespaces, several at a time."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import Dict, Iterable, Mapping, Optional, Sequence

from ..errors import KernelError
from . import namespace

#: Users without a login shell of root's often lack these, and there ip(8) is.
_PLACES = '/usr/sbin:/sbin:/usr/bin:/bin:/usr/local/sbin:/usr/local/bin'
_FAILED = re.compile(r'Command failed \S*:(\d+)')


class Iproute:
    """ip(8), found once. KernelError if it is not installed."""

    def __init__(self, path: Optional[str] = None) -> None:
        found = path or shutil.which('ip') or shutil.which('ip', path=_PLACES)
        if found is None:
            raise KernelError('find', 'ip', 'not installed; the lab needs iproute2')
        self.path = found

    def batch(self, lines: Iterable[str]) -> None:
        """Lines for the namespace that the caller is in."""
        text = '\n'.join(lines)
        if text:
            _finish_batch('here', text, _feed(self._start('-batch', '-'), text))

    def show(self, *arguments: str) -> str:
        """What `ip ARGUMENTS` prints in the namespace that the caller is in."""
        done = _feed(self._start(*arguments), '')
        if done.returncode:
            raise KernelError('ip', ' '.join(arguments), done.stderr.strip())
        return done.stdout

    def batches(self, lines: Mapping[str, Sequence[str]], may_miss: bool = False) -> None:
        """Lines for namespaces by name, side by side; returns when all are done.

        With `may_miss` a line about a device that is not there is no error.
        """
        texts = {name: '\n'.join(items) for name, items in lines.items() if items}
        running = self._start_in(texts, *(('-force',) if may_miss else ()), '-batch', '-')
        done = {name: _feed(process, texts[name]) for name, process in running.items()}
        for name, finished in done.items():
            if not (may_miss and _only_misses(finished.stderr)):
                _finish_batch(name, texts[name], finished)

    def query(self, names: Iterable[str], *arguments: str) -> Dict[str, str]:
        """What `ip ARGUMENTS` prints in each namespace."""
        running = self._start_in(names, *arguments)
        done = {name: _feed(process, '') for name, process in running.items()}
        for name, finished in done.items():
            if finished.returncode:
                raise KernelError(f'ip {" ".join(arguments)} in', name, finished.stderr.strip())
        return {name: finished.stdout for name, finished in done.items()}

    def _start_in(self, names: Iterable[str], *arguments: str) -> Dict[str, subprocess.Popen[str]]:
        running: Dict[str, subprocess.Popen[str]] = {}
        for name in names:
            with namespace.inside(name):
                running[name] = self._start(*arguments)
        return running

    def _start(self, *arguments: str) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        return subprocess.Popen([self.path, *arguments], stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def _feed(process: subprocess.Popen[str], text: str) -> subprocess.CompletedProcess[str]:
    out, error = process.communicate(text)
    return subprocess.CompletedProcess(process.args, process.returncode, out, error)


def _only_misses(said: str) -> bool:
    return all(_FAILED.search(line) or line.startswith('Cannot find device') for line in said.splitlines())


def _finish_batch(name: str, text: str, done: subprocess.CompletedProcess[str]) -> None:
    """KernelError that names the line which the kernel refused."""
    if done.returncode == 0:
        return
    where = _FAILED.search(done.stderr)
    line = text.splitlines()[int(where.group(1)) - 1] if where else text.splitlines()[0]
    said = [part for part in done.stderr.strip().splitlines() if not _FAILED.search(part)]
    reason = ' '.join(said).replace('RTNETLINK answers: ', '').strip() or f'ip ended with {done.returncode}'
    raise KernelError(f'ip in {name}:', line, reason)
