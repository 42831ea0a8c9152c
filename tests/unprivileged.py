# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An unprivileged user with a copy of the checkout, made for a test and removed after it."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Dict, List, Optional, Type

from lab import BIN, ROOT

# The interpreter of the tests may lie where only root gets to, as below /root. In a mount namespace of their own
# the test's processes see that place open, with nothing in it but the interpreter.
_OPEN_DOORS = """
set -e
user=$1 covered=; shift
PATH=$PATH:/usr/sbin:/sbin
stash=/mnt
mount -t tmpfs -o mode=755 tmpfs "$stash"
# All are taken aside first: two of them may lie in the place that is then covered.
count=0
for place; do
  [ "$place" != -- ] || break
  mkdir "$stash/$count"
  mount --bind "$place" "$stash/$count"
  count=$((count + 1))
done
number=0
while [ "$1" != -- ]; do
  if ! runuser -u "$user" -- ls "$1" >"$stash/said" 2>&1; then
    top=/$(printf %s "$1" | cut -d/ -f2)
    [ "$covered" = "$top" ] || mount -t tmpfs -o mode=755 tmpfs "$top"
    covered=$top
    mkdir -p "$1"
    mount --bind "$stash/$number" "$1"
  fi
  number=$((number + 1))
  shift
done
shift
exec runuser -u "$user" -- env PATH=/usr/bin:/bin "$@"
"""


class User:
    """A user of the machine, there between `with` and its end."""

    def __enter__(self) -> User:
        self.name = f'rtuser{os.getpid()}'
        subprocess.run(['useradd', '--create-home', self.name], check=True)
        entry = pwd.getpwnam(self.name)
        self.uid, self.home = entry.pw_uid, entry.pw_dir
        self.checkout = Path(tempfile.mkdtemp(prefix='returntraffic-checkout-'))
        self._copy()
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        shutil.rmtree(self.checkout)
        # --force: a process that has ended counts as long as nobody has collected it.
        subprocess.run(['userdel', '--force', '--remove', self.name], check=False, capture_output=True)

    def _copy(self) -> None:
        """The files of the working tree as they are now, links as links."""
        listed = subprocess.run(
            ['git', 'ls-files', '--cached', '--others', '--exclude-standard', '-z'],
            cwd=ROOT, capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        for name in filter(None, listed.split('\0')):
            target = self.checkout / name
            if (ROOT / name).exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, target, follow_symlinks=False)
        subprocess.run(['chown', '-R', f'{self.name}:', str(self.checkout)], check=True)

    @property
    def environment(self) -> Dict[str, str]:
        """A poor one: no runtime directory, no directory of system programs in the path."""
        return {
            'HOME': self.home,
            'PATH': '/usr/bin:/bin',
            'PWD': str(self.checkout),
            'LANG': 'C.UTF-8',
            'ANSIBLE_NOCOLOR': '1',
        }

    def run(self, *command: str, before: Optional[List[str]] = None) -> subprocess.CompletedProcess[str]:
        """A command as this user, in the checkout; `before` is what it is started by."""
        doors = ['unshare', '--mount', '--propagation', 'private', 'sh', '-c', _OPEN_DOORS, 'sh', self.name]
        whole = [*doors, sys.base_prefix, sys.prefix, '--', *(before or []), *command]
        return subprocess.run(
            whole, cwd=self.checkout, env=self.environment, capture_output=True, text=True, check=False,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def ansible(
        self, program: str, *words: str, before: Optional[List[str]] = None
    ) -> subprocess.CompletedProcess[str]:
        """One of Ansible's programs, that of the tests."""
        return self.run(str(BIN / program), *words, before=before)

    def processes(self) -> List[int]:
        """Processes of the user that have not ended."""
        done = subprocess.run(['ps', '-u', self.name, '-o', 'pid=,stat='], capture_output=True, text=True, check=False)
        return [int(line.split()[0]) for line in done.stdout.splitlines() if not line.split()[1].startswith('Z')]
