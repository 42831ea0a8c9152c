# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""nft as the kernel's door to nf_tables: one listing in, one transaction out (libnftables-json(5))."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from typing import Any, Dict, List, Optional

from ..errors import KernelError

#: Where distributions put nft when PATH does not say (a module's PATH over ssh often lacks sbin).
_PLACES = '/usr/sbin:/sbin:/usr/local/sbin:/usr/bin'


def find_nft() -> Optional[str]:
    """The path of nft, or None when it is not installed."""
    return shutil.which('nft') or shutil.which('nft', path=_PLACES)


def list_ruleset() -> List[Dict[str, Any]]:
    """Every nft object of this network namespace."""
    text = _run(['list', 'ruleset'], None)
    return [entry for entry in json.loads(text)['nftables'] if 'metainfo' not in entry] if text.strip() else []


def apply_commands(commands: List[Any]) -> None:
    """Run commands as one transaction: all of it holds afterwards, or none of it."""
    if commands:
        _run(['-f', '-'], json.dumps({'nftables': commands}))


def _run(words: List[str], stdin: Optional[str]) -> str:
    nft = find_nft()
    if nft is None:
        raise KernelError('nft', ' '.join(words), 'nft is not installed')
    done = subprocess.run(
        [nft, '-j', *words],
        input=stdin,
        stdin=None if stdin is not None else subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, 'LC_ALL': 'C'},
    )
    if done.returncode != 0:
        raise KernelError('nft', ' '.join(words), _first_line(done.stderr) or f'exit status {done.returncode}')
    return done.stdout


def _first_line(text: str) -> str:
    """nft's own words without the echo of the input, which can be the whole of it."""
    lines = [line.strip() for line in text.splitlines() if 'Error' in line] or text.splitlines()
    return lines[0][:300] if lines else ''
