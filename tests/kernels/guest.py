# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the guest finds in its writable share: the settings of init.sh, and the script that runs the job."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path
from typing import Dict, List, NamedTuple, Sequence

from .catalogue import JOB_MODULES
from .errors import HarnessError

SHARE = '/run/kernels'
RESULTS = f'{SHARE}/results'
SYSTEM_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
HIDDEN = ('/tmp', '/run')  # fresh in the guest


class Job(NamedTuple):
    """What to run in the guest, as root, in ``checkout``; ``root`` is the folder that becomes the guest's root.

    ``{results}`` in an argument is the folder whose files come back.
    """

    argv: Sequence[str]
    checkout: Path
    root: Path = Path('/')
    environment: Sequence[str] = ()  # KEY=VALUE
    binds: Sequence[Path] = ()


def settings(job: Job, kernel_folder: Path) -> str:
    """Text of settings.sh, see init.sh."""
    values = {
        'root': '' if job.root == Path('/') else folder_name(job.root),
        'modules': folder_name(kernel_folder),
        'names': ' '.join(JOB_MODULES),
        'binds': ' '.join(folder_name(folder) for folder in visible_folders(job)),
    }
    return ''.join(f'{key}={shlex.quote(value)}\n' for key, value in values.items())


def folder_name(folder: Path) -> str:
    """The folder as init.sh and overlayfs take it: absolute, without blanks, commas, colons or quotes."""
    if not re.fullmatch(r'/[\w./+@%~=-]*', str(folder)):
        raise HarnessError(f'folder: {str(folder)!r}: absolute, of letters, digits and ./+@%~=-_ only')
    return str(folder)


def visible_folders(job: Job) -> List[Path]:
    """Folders of the host that the job needs and would not see: the checkout, the interpreter, the caller's own."""
    if job.root != Path('/'):
        return outermost([job.checkout, *job.binds])
    needed = [job.checkout, Path(sys.prefix), Path(sys.base_prefix), *job.binds]
    return outermost([folder for folder in needed if under(folder, HIDDEN)])


def under(folder: Path, tops: Sequence[str]) -> bool:
    """Whether the folder lies in one of these."""
    return any(Path(top) in folder.parents for top in tops)


def outermost(folders: Sequence[Path]) -> List[Path]:
    """The folders without those that lie in another one of them."""
    every = sorted(set(folders))
    return [folder for folder in every if not under(folder, [str(other) for other in every])]


def environment(job: Job) -> Dict[str, str]:
    """The job's whole environment. Results of pytest are written as JUnit unless the job says where itself.

    pytest loads only the plugins it is asked for: importing all that happen to be installed takes the emulated
    processor 10 s. A job that wants them says ``--env PYTEST_DISABLE_PLUGIN_AUTOLOAD=``.
    """
    path = SYSTEM_PATH if job.root != Path('/') else f'{Path(sys.executable).parent}:{SYSTEM_PATH}'
    values = {
        'PATH': path,
        'HOME': '/tmp/home',
        'LANG': 'C.UTF-8',
        'PYTHONUNBUFFERED': '1',
        'PYTEST_DISABLE_PLUGIN_AUTOLOAD': '1',
        'KERNEL_RESULTS': RESULTS,
    }
    if not any('junit' in argument for argument in job.argv):
        values['PYTEST_ADDOPTS'] = f'--junitxml={RESULTS}/junit.xml'
    values.update(pair.partition('=')[::2] for pair in job.environment)
    return values


def job_script(job: Job) -> str:
    """Text of job.sh, PID 1 of the guest: run the job, leave its exit status in ``status``, switch the machine off."""
    exports = ''.join(f'export {key}={shlex.quote(value)}\n' for key, value in environment(job).items())
    command = ' '.join(shlex.quote(argument.replace('{results}', RESULTS)) for argument in job.argv)
    return (
        f'ulimit -Hn 1048576\n{exports}mkdir -p "$HOME"\ncd {shlex.quote(str(job.checkout))}\n'
        f'{command} < /dev/null > {SHARE}/job.log 2>&1\n'
        f'echo $? > {SHARE}/status.new\nmv {SHARE}/status.new {SHARE}/status\n'
        'echo o > /proc/sysrq-trigger\nread -r _ < /run/never\n'
    )
