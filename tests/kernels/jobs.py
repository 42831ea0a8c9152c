# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Jobs by name: which tests on which kernels with whose tools, and how many cells must have passed.

``python3 -m tests.kernels --job loss --job trixie`` runs two of them, ``--job all`` all but the long ones. A job in
which fewer cells passed, or any was skipped, has failed: on these kernels nothing is missing.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from pathlib import Path
from typing import Iterable, List, NamedTuple, Tuple

from .errors import HarnessError
from .guest import SYSTEM_PATH, Job
from .junit import Cells

ALL = 'all'
PYTEST = ('-m', 'pytest', '-p', 'no:cacheprovider')
#: What a flow may take, in seconds: emulated processors on a busy machine answer right, and late.
PATIENCE = 'RETURNTRAFFIC_FLOW_SECONDS=20'


class NamedJob(NamedTuple):
    """``tests`` are arguments of pytest, ``least`` the cells that must pass on each kernel.

    ``program`` must be on the machine, and is in ``package``. With a ``userland`` the interpreter is that release's. A
    ``long`` one runs by its name only.
    """

    name: str
    summary: str
    tests: Tuple[str, ...]
    least: int
    kernels: Tuple[str, ...] = ('6.1', '6.12')
    userland: str = ''
    program: str = ''
    package: str = ''
    long: bool = False


#: Tests of what depends on the Python and the tools of a target host; the slow ones, of made-up input, are left out.
PORTABLE = (
    *(
        f'tests/unit/test_{name}.py'
        for name in ('intent', 'links', 'nft', 'nics', 'plan', 'preflight', 'strategies', 'vrf')
    ),
    'tests/netns/test_dump_equals_ip.py',
    'tests/netns/test_tool_versions.py',
)

STRICT = (
    'tests/netns/test_strict.py::test_clients_pass_and_what_pretends_to_be_a_pod_does_not',
    'tests/netns/test_strict.py::test_without_the_option_it_arrives',
)

JOBS = (
    NamedJob('matrix', 'every strategy, cell by cell', ('tests/netns/test_matrix.py',), 42),
    # Its switches under load are for a real processor; test_moves.py asks an emulated one as much as it can take.
    NamedJob('strict', 'strict reverse path with each strategy', STRICT, 18, ('6.12',)),
    NamedJob(
        'moves', 'into VRFs and out under load; VRFs of others',
        ('tests/netns/test_moves.py', 'tests/netns/test_vrf_of_others.py'), 12, ('6.12',),
    ),
    NamedJob(
        'molecule', "molecule's scenario vrf", ('tests/kernel_features/test_molecule.py',), 1, ('6.12',), long=True,
    ),
    NamedJob('loss', 'netem under each strategy', ('tests/kernel_features/test_loss.py',), 6, ('6.12',)),
    NamedJob('devices', 'VLANs, and VIPs on a dummy', ('tests/kernel_features/test_devices.py',), 6, ('6.12',)),
    NamedJob(
        'openvswitch', 'a bridge of Open vSwitch', ('tests/kernel_features/test_openvswitch.py',), 4, ('6.12',),
        program='ovs-vswitchd', package='openvswitch-switch',
    ),
    NamedJob('flowtable', "a flowtable in the pods' way", ('tests/kernel_features/test_flowtable.py',), 8, ('6.12',)),
    NamedJob('bullseye', 'tools of Debian 11', PORTABLE, 180, ('6.1',), 'bullseye'),
    NamedJob('bookworm', 'tools of Debian 12', PORTABLE, 180, ('6.12',), 'bookworm'),
    NamedJob('trixie', 'tools of Debian 13', PORTABLE, 180, ('6.12',), 'trixie'),
)  # fmt: skip


def jobs_named(names: Iterable[str]) -> List[NamedJob]:
    """The jobs of these names, each once, in the order of JOBS; HarnessError names those there are.

    ALL leaves out the long ones.
    """
    wanted = list(names)
    known = [job.name for job in JOBS]
    for name in wanted:
        if name not in (*known, ALL):
            raise HarnessError(f'job: {name!r}: {ALL} or one of {", ".join(known)}')
    return [job for job in JOBS if job.name in wanted or (ALL in wanted and not job.long)]


def check_program(job: NamedJob) -> None:
    """HarnessError when the machine lacks what the job needs of it."""
    path = f'{os.environ.get("PATH", "")}:{SYSTEM_PATH}'
    if job.program and shutil.which(job.program, path=path) is None:
        raise HarnessError(f'job {job.name}: missing: apt-get install {job.package}')


def guest_job(job: NamedJob, checkout: Path, root: Path) -> Job:
    """What the guest runs. In a userland only Ansible's own code is ours: it needs none but the standard library."""
    if not job.userland:
        return Job((sys.executable, *PYTEST, *job.tests), checkout, root, (PATIENCE,))
    ansible = ansible_folder()
    path = os.pathsep.join(map(str, (checkout / 'playbooks' / 'collections', checkout / 'tests', ansible.parent)))
    return Job(('python3', *PYTEST, *job.tests), checkout, root, (PATIENCE, f'PYTHONPATH={path}'), (ansible,))


def ansible_folder() -> Path:
    """The folder of the package ansible that this interpreter has."""
    found = importlib.util.find_spec('ansible')
    if found is None or found.origin is None:
        raise HarnessError('ansible: not installed for the interpreter that runs this')
    return Path(found.origin).parent


def shortfall(cells: Cells, least: int) -> str:
    """What is wrong with the cells of a job in which none failed; '' when nothing is."""
    if cells.skipped:
        return f'{cells.skipped} cells were skipped, none may be'
    return f'{cells.passed} cells passed, at least {least} must' if cells.passed < least else ''
