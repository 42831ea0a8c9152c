#!/usr/bin/env python3
# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a slow test when what it depends on has changed since it was green; otherwise say when that was.

tests/when_changed.py NAME MINUTES PATH ... -- COMMAND ...

MINUTES is what the command takes at most. Where RETURNTRAFFIC_DEADLINE (seconds since the epoch) comes earlier, it is
not begun: that is said with the time it was last green, and is no failure.

Compared are the contents and modes of the files below the paths that git tracks or would track, the command, and the
Python that runs this. The cache is $RETURNTRAFFIC_CACHE/green, a file for each name and contents, with the run's
closing lines. A run that fails leaves nothing there.
"""

from __future__ import annotations

import datetime
import hashlib
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import List, Sequence

ROOT = Path(__file__).resolve().parent.parent
CLOSING = re.compile(r'^(?:kernels: |scenarios: |matrix: |moves: |=+ .*(?:passed|failed).* =+$|\d+ passed)')


def main(arguments: Sequence[str]) -> int:
    """The command's exit status, 0 when it need not run, 2 when the arguments are wrong."""
    border = arguments.index('--') if '--' in arguments else 0
    if border < 3 or arguments[-1] == '--' or not arguments[1].isdigit():
        print(__doc__, file=sys.stderr)
        return 2
    name, minutes, paths, command = arguments[0], int(arguments[1]), arguments[2:border], arguments[border + 1 :]
    record = cache() / f'{name}-{fingerprint(paths, command)}'
    if record.exists():
        print(f'{name}: unchanged since it was green, so it does not run again. {record.read_text().rstrip()}')
        return 0
    if minutes > minutes_left():
        print(f'{name}: skipped: takes up to {minutes} minutes and {minutes_left()} are left. {last_green(name)}')
        return 0
    started = datetime.datetime.now(datetime.timezone.utc)
    status, closing = run(command)
    if status == 0:
        record.write_text(
            f'Last green: {started:%Y-%m-%d %H:%M} UTC\n' + ''.join(f'  then: {line}\n' for line in closing)
        )
    return status


def minutes_left() -> int:
    """Until the deadline; very many where there is none."""
    deadline = os.environ.get('RETURNTRAFFIC_DEADLINE')
    return int((int(deadline) - time.time()) // 60) if deadline else 1_000_000


def last_green(name: str) -> str:
    """The newest record of any contents."""
    records = sorted(cache().glob(f'{name}-*'), key=lambda record: record.stat().st_mtime)
    return records[-1].read_text().splitlines()[0] + ', of other contents' if records else 'It has not been green here.'


def cache() -> Path:
    """The folder of the records."""
    top = Path(os.environ.get('RETURNTRAFFIC_CACHE') or Path.home() / '.cache' / 'returntraffic') / 'green'
    top.mkdir(parents=True, exist_ok=True)
    return top


def fingerprint(paths: Sequence[str], command: Sequence[str]) -> str:
    """A hash of all that is compared; SystemExit when a path holds no file, for then nothing would be."""
    digest = hashlib.sha256(repr((list(command), sys.version)).encode())
    for path in paths:
        found = listed(path)
        if not found:
            raise SystemExit(f'when_changed: {path!r}: holds no file that git knows')
        for file in found:
            digest.update(repr((file, contents(ROOT / file))).encode())
    return digest.hexdigest()[:20]


def listed(path: str) -> List[str]:
    """The files below a path that git tracks or would track."""
    command = ['git', 'ls-files', '--cached', '--others', '--exclude-standard', '-z', '--', path]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return sorted(set(filter(None, done.stdout.split('\0'))))


def contents(file: Path) -> str:
    """What a file holds, where a link leads, or that a tracked file is gone."""
    if file.is_symlink():
        return f'link {os.readlink(file)}'
    if not file.is_file():
        return 'gone'
    return f'{file.stat().st_mode & 0o111:o} {hashlib.sha256(file.read_bytes()).hexdigest()}'


def run(command: Sequence[str]) -> tuple[int, List[str]]:
    """The command's exit status and closing lines; its output is shown as it comes."""
    closing: List[str] = []
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end='', flush=True)
            if CLOSING.match(line):
                closing.append(line.rstrip())
    return process.returncode, closing


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
