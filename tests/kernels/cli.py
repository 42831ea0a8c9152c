# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Command line: boot the kernels, run the job in each, say how it went."""

from __future__ import annotations

import argparse
import concurrent.futures
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import List, NamedTuple, Sequence

from . import jobs, machine, report, store, userland
from .catalogue import DEFAULT_KERNELS, KERNELS, Kernel, kernel_named
from .errors import HarnessError
from .guest import Job
from .tools import Tools, find_tools

CHECKOUT = Path(__file__).resolve().parents[2]
SMOKE = ('-m', 'pytest', '-p', 'no:cacheprovider', 'tests/kernels/smoke.py')
COMPILED = ('plugins', 'tests')

EPILOG = """\
JOB is run as root in the checkout, e.g.: -- pytest tests/netns/test_vrf.py. Its interpreter is the one that runs this
command. pytest's JUnit comes back by itself; other jobs write *.xml to {results} (also in $KERNEL_RESULTS).
Status: 0 all well, 1 a job or a cell failed or a kernel did not boot, 2 the harness cannot work.
"""


class Boot(NamedTuple):
    """One boot: what it is called, on which kernel, with which job, and the cells that must pass in it."""

    label: str
    kernel: Kernel
    job: Job
    least: int | None = None  # None: any number, and cells may be skipped


def parser() -> argparse.ArgumentParser:
    """The options."""
    limits = machine.Limits()
    made = argparse.ArgumentParser(
        prog='tests.kernels', description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument('--list', action='store_true', help='list the kernels and what the cache has of them')
    made.add_argument('--kernel', action='append', metavar='NAME', help='may be repeated; default: 6.1 and 6.12')
    made.add_argument('--job', action='append', dest='named', metavar='NAME', help=f'one of jobs.py, or {jobs.ALL}')
    made.add_argument('--parallel', type=int, default=2, metavar='N', help='boots at the same time (default 2)')
    made.add_argument('--boot-timeout', type=float, default=limits.boot, metavar='SECONDS')
    made.add_argument('--job-timeout', type=float, default=limits.job, metavar='SECONDS')
    made.add_argument('--memory', type=int, default=limits.memory, metavar='MIB')
    made.add_argument('--processors', type=int, default=limits.processors, metavar='N')
    made.add_argument('--env', action='append', default=[], metavar='KEY=VALUE', help="into the job's environment")
    made.add_argument('--root', type=Path, default=Path('/'), help='folder to be the root: a chroot with other tools')
    made.add_argument('--userland', metavar='RELEASE', help=f'a root with the tools of {", ".join(userland.RELEASES)}')
    made.add_argument('--bind', action='append', type=Path, default=[], metavar='FOLDER', help='show it in the guest')
    made.add_argument('--results', type=Path, help='keep logs and JUnit here, a folder for each kernel')
    made.add_argument('--refresh', action='store_true', help='look for newer packages of the kernels')
    made.add_argument('job', nargs='*', metavar='JOB', help='behind --; default: the smoke test')
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    options = parser().parse_args(arguments)
    try:
        chosen = [kernel_named(name) for name in options.kernel or DEFAULT_KERNELS]
        return listing() if options.list else run(options, chosen)
    except HarnessError as error:
        print(f'kernels: {error}', file=sys.stderr)
        return 2


def listing() -> int:
    """Print the names."""
    for kernel in KERNELS:
        found = store.stored(store.cache_folder(), kernel)
        print(f'{kernel.name:<10} {found.version if found else "not cached":<20} {kernel.summary}')
    cached = ', '.join(userland.names(store.cache_folder())) or 'none'
    print(f'userlands: {", ".join(userland.RELEASES)}; cached: {cached}')
    for job in jobs.JOBS:
        print(f'--job {job.name:<10} {", ".join(job.kernels):<10} {job.summary}')
    return 0


def run(options: argparse.Namespace, kernels: Sequence[Kernel]) -> int:
    """Boot all kernels, side by side as far as asked for, and report."""
    started = time.monotonic()
    tools = find_tools()
    boots = named_boots(options, tools) if options.named else plain_boots(options, kernels, tools)
    for root in {boot.job.root for boot in boots}:
        compile_checkout(root)
    top = results_folder(options.results)
    outcomes = boot_all(options, boots, tools, top)
    print(report.closing(outcomes, time.monotonic() - started))
    if options.results is None and not any(outcome.problem for outcome in outcomes):
        shutil.rmtree(str(top))
    return 1 if any(outcome.problem for outcome in outcomes) else 0


def plain_boots(options: argparse.Namespace, kernels: Sequence[Kernel], tools: Tools) -> List[Boot]:
    """The job of the command line on each kernel."""
    job = job_of(options, root_of(options, options.userland, tools))
    return [Boot(kernel.name, kernel, job) for kernel in kernels]


def named_boots(options: argparse.Namespace, tools: Tools) -> List[Boot]:
    """The named jobs, each on its own kernels or on those of the command line."""
    if options.job or options.userland:
        raise HarnessError('job: a named job says itself what it runs and in which userland')
    boots = []
    for named in jobs.jobs_named(options.named):
        jobs.check_program(named)
        job = jobs.guest_job(named, CHECKOUT, root_of(options, named.userland, tools))
        kernels = [kernel_named(name) for name in options.kernel or named.kernels]
        boots += [Boot(f'{named.name}-{kernel.name}', kernel, job, named.least) for kernel in kernels]
    return boots


def root_of(options: argparse.Namespace, release: str | None, tools: Tools) -> Path:
    """The folder that becomes the guest's root."""
    return userland.userland(release, tools, say, options.refresh) if release else folder(options.root)


def job_of(options: argparse.Namespace, root: Path) -> Job:
    """The job asked for; the smoke test by this interpreter, or by the one of another root."""
    python = sys.executable if root == Path('/') else 'python3'
    binds = [folder(bind) for bind in options.bind]
    return Job(options.job or (python, *SMOKE), CHECKOUT, root, options.env, binds)


def folder(given: Path) -> Path:
    """The folder as seen from the root; HarnessError when it is none."""
    if not given.is_dir():
        raise HarnessError(f'folder: {str(given)!r}: a folder that exists')
    return given.absolute()


def compile_checkout(root: Path) -> None:
    """Compile the checkout here: the emulated processor takes about ten times as long. Failing only costs time."""
    parts = [CHECKOUT / part for part in COMPILED]
    if root != Path('/'):
        userland.compile_python(root, parts)
        return
    command = [sys.executable, '-m', 'compileall', '-q', *map(str, parts)]
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)


def results_folder(asked: Path | None) -> Path:
    """The folder for the results: the one asked for, or a temporary one."""
    if asked is None:
        return Path(tempfile.mkdtemp(prefix='returntraffic-kernels-'))
    asked.mkdir(parents=True, exist_ok=True)
    return asked.absolute()


def boot_all(options: argparse.Namespace, boots: Sequence[Boot], tools: Tools, top: Path) -> List[machine.Outcome]:
    """Boot them all; SIGINT and SIGTERM end the virtual machines before they end this."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: stop.set())
    with concurrent.futures.ThreadPoolExecutor(max_workers=max(1, options.parallel)) as pool:
        running = [pool.submit(boot_one, options, boot, tools, top, stop) for boot in boots]
        return [shown(boot.result()) for boot in concurrent.futures.as_completed(running)]


def boot_one(
    options: argparse.Namespace, boot: Boot, tools: Tools, top: Path, stop: threading.Event
) -> machine.Outcome:
    """Get one kernel and boot it. A kernel that cannot be got is a failure like one that does not boot."""
    share = top / boot.label
    if share.exists():
        shutil.rmtree(str(share))
    limits = machine.Limits(options.boot_timeout, options.job_timeout, options.memory, options.processors)
    try:
        found = store.obtain(boot.kernel, tools, say, options.refresh)
        initramfs = store.initramfs_for(found, tools)
        return demanded(machine.boot(boot.label, found, initramfs, boot.job, share, limits, stop), boot.least)
    except (HarnessError, OSError) as error:
        return machine.Outcome(boot.label, f'did not boot: {error}')


def demanded(outcome: machine.Outcome, least: int | None) -> machine.Outcome:
    """A job that went well, but in which too little was tested, is a failure."""
    if outcome.problem or least is None:
        return outcome
    return outcome._replace(problem=jobs.shortfall(outcome.cells, least))


def shown(outcome: machine.Outcome) -> machine.Outcome:
    """Print a finished boot."""
    print('\n'.join([report.summary(outcome), *report.details(outcome)]), flush=True)
    return outcome


def say(line: str) -> None:
    """A line of progress."""
    print(f'kernels: {line}', flush=True)
