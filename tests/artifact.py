# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The collection as users get it: built, installed into a folder of its own, and used from there without the clone."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Sequence

from lab import BIN, ROOT


class Installed:
    """The artifact, installed below a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / 'none.cfg').write_text('')
        self.path = folder / 'installed/ansible_collections/returntraffic/net'
        self.run('ansible-galaxy', 'collection', 'build', '--output-path', str(folder), cwd=ROOT)
        (self.tarball,) = folder.glob('returntraffic-net-*.tar.gz')
        place = ('--offline', '--no-deps', '-p', str(folder / 'installed'))
        self.run('ansible-galaxy', 'collection', 'install', *place, str(self.tarball))

    def run(self, *words: str, cwd: Path | None = None, within: Sequence[str] = ()) -> str:
        """Standard output of an Ansible command that knows only the installed collection."""
        done = subprocess.run(
            [*within, str(BIN / words[0]), *words[1:]],
            cwd=cwd or self.folder,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            env={
                **os.environ,
                'PWD': str(cwd or self.folder),
                'ANSIBLE_NOCOLOR': '1',
                'ANSIBLE_CONFIG': str(self.folder / 'none.cfg'),
                'ANSIBLE_COLLECTIONS_PATH': str(self.folder / 'installed'),
            },
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout
