# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pure parts of tests/kernels: nothing is booted or fetched here."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Dict

import pytest
from kernels import (
    catalogue,
    cli,
    debian,
    guest,
    initramfs,
    jobs,
    junit,
    machine,
    modules,
    qemu,
    report,
    store,
    tools,
    userland,
)
from kernels.errors import HarnessError

DEPENDENCIES = """\
kernel/net/9p/9p-virtio.ko.xz: kernel/net/9p/9pnet.ko.xz kernel/virtio/virtio.ko.xz kernel/virtio/virtio_ring.ko.xz
kernel/net/9p/9pnet.ko.xz:
kernel/virtio/virtio.ko.xz: kernel/virtio/virtio_ring.ko.xz
kernel/virtio/virtio_ring.ko.xz:
kernel/drivers/net/vrf.ko.xz:
"""


@pytest.mark.parametrize(
    ('path', 'name'),
    [
        ('kernel/drivers/net/vrf.ko', 'vrf'),
        ('kernel/net/8021q/8021q.ko.xz', '8021q'),
        ('kernel/net/nf-flow.ko.zst', 'nf_flow'),
        ('vrf', 'vrf'),
    ],
)
def test_a_module_is_named_by_its_file(path: str, name: str) -> None:
    assert modules.module_name(path) == name


def test_a_module_is_loaded_after_all_it_needs_and_once() -> None:
    order = modules.load_order(['9p-virtio', 'vrf', '9pnet'], modules.parse_dependencies(DEPENDENCIES), set())
    assert [modules.module_name(path) for path in order] == ['virtio_ring', 'virtio', '9pnet', '9p_virtio', 'vrf']


def test_built_in_modules_are_not_loaded() -> None:
    builtin = modules.parse_builtin('kernel/net/packet/af_packet.ko\nkernel/drivers/virtio/virtio_pci.ko\n')
    assert builtin == {'af_packet', 'virtio_pci'}
    order = modules.load_order(['virtio_pci', 'vrf'], modules.parse_dependencies(DEPENDENCIES), builtin)
    assert order == ['kernel/drivers/net/vrf.ko.xz']


def test_modules_that_the_kernel_lacks_are_named() -> None:
    with pytest.raises(HarnessError, match='lacks the modules openvswitch, sch_netem$'):
        modules.load_order(['openvswitch', 'vrf', 'sch_netem'], modules.parse_dependencies(DEPENDENCIES), set())


def test_junit_files_are_summed_up(tmp_path: Path) -> None:
    (tmp_path / 'a.xml').write_text(
        '<testsuites><testsuite><testcase classname="a.b" name="one"/><testcase classname="a.b" name="two">'
        '<failure>no</failure></testcase></testsuite></testsuites>'
    )
    (tmp_path / 'b.xml').write_text(
        '<testsuite><testcase name="three"><skipped/></testcase><testcase name="four"><error/></testcase></testsuite>'
    )
    cells = junit.cells_of(sorted(tmp_path.glob('*.xml')))
    assert cells == junit.Cells(passed=1, failed=2, skipped=1, failures=('a.b::two', 'four'))
    assert str(cells) == '1 passed, 2 failed, 1 skipped'


def test_a_cut_junit_file_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / 'junit.xml').write_text('<testsuites><testsuite><testcase name="one"/>')
    cells = junit.cells_of([tmp_path / 'junit.xml'])
    assert cells.broken
    assert machine.problem_of(cells).startswith('unreadable results: junit.xml')


def read_archive(archive: bytes) -> Dict[str, initramfs.Entry]:
    """Read a newc archive as the kernel does: 13 fields behind the magic, name and content padded to 4 bytes."""
    found, place = {}, 0
    while place < len(archive):
        assert archive[place : place + 6] == b'070701'
        fields = [int(archive[place + start : place + start + 8], 16) for start in range(6, 110, 8)]
        mode, size, name_size = fields[1], fields[6], fields[11]
        name = archive[place + 110 : place + 110 + name_size]
        content = place + 110 + name_size + -(110 + name_size) % 4
        found[name.rstrip(b'\0').decode()] = initramfs.Entry(mode, archive[content : content + size])
        place = content + size + -size % 4
    return found


def test_the_archive_is_read_back() -> None:
    entries = {
        'bin': initramfs.Entry(0o040755),
        'bin/sh': initramfs.Entry(0o120777, b'busybox'),
        'note': initramfs.Entry(0o100644, b'five!'),
    }
    assert read_archive(initramfs.cpio(entries)) == {**entries, 'TRAILER!!!': initramfs.Entry(0)}


def test_the_command_line_of_qemu(tmp_path: Path) -> None:
    built = qemu.Machine(Path('/k/vmlinuz'), Path('/k/init'), Path('/s,1'), Path('/s,1/console.log'), 1024, 3)
    command = qemu.command(built)
    pairs = dict(zip(command, command[1:]))
    assert pairs['-m'] == '1024'
    assert pairs['-smp'] == '3'
    assert pairs['-kernel'] == '/k/vmlinuz'
    assert pairs['-initrd'] == '/k/init'
    assert pairs['-serial'] == 'file:/s,,1/console.log'
    shares = [command[place + 1] for place, word in enumerate(command) if word == '-virtfs']
    assert shares[0].startswith('local,path=/,mount_tag=host,') and shares[0].endswith(',readonly=on')
    assert shares[1].startswith('local,path=/s,,1,mount_tag=share,') and 'readonly' not in shares[1]
    assert not [word for word in command if 'kvm' in word]
    assert {'clocksource=hpet', 'no_timer_check'} <= set(pairs['-append'].split())


def job(**values: Any) -> guest.Job:
    """A job in a checkout that is no special place."""
    given: Dict[str, Any] = {'argv': ['true'], 'checkout': Path('/srv/checkout'), **values}
    return guest.Job(**given)


def run_script(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a job script here: its share is the folder, and nothing is switched off."""
    local = script.replace('/proc/sysrq-trigger', str(folder / 'off')).replace('read -r _ < /run/never', '')
    local = local.replace(guest.SHARE, str(folder)).replace('ulimit -Hn 1048576\n', '')
    return subprocess.run(['/bin/sh', '-c', local], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(('code', 'status'), [('print("a\'b $HOME")', '0'), ('raise SystemExit(3)', '3')])
def test_the_job_script_leaves_the_status_and_the_output(tmp_path: Path, code: str, status: str) -> None:
    script = guest.job_script(job(argv=[sys.executable, '-c', code], checkout=tmp_path))
    assert run_script(script, tmp_path).stderr == ''
    assert (tmp_path / 'status').read_text().strip() == status
    assert (tmp_path / 'off').read_text() == 'o\n'
    if status == '0':
        assert (tmp_path / 'job.log').read_text() == "a'b $HOME\n"


def test_the_results_folder_is_put_into_the_job() -> None:
    assert f'--junitxml={guest.RESULTS}/x.xml' in guest.job_script(job(argv=['pytest', '--junitxml={results}/x.xml']))


def test_pytest_writes_junit_unless_the_job_says_where() -> None:
    assert guest.environment(job())['PYTEST_ADDOPTS'] == f'--junitxml={guest.RESULTS}/junit.xml'
    assert 'PYTEST_ADDOPTS' not in guest.environment(job(argv=['pytest', '--junitxml=x']))
    assert guest.environment(job(environment=['A=b=c']))['A'] == 'b=c'


def test_the_interpreter_comes_first_but_not_in_another_root() -> None:
    assert guest.environment(job())['PATH'].startswith(f'{Path(sys.executable).parent}:/usr/local/sbin')
    assert guest.environment(job(root=Path('/srv/old')))['PATH'] == guest.SYSTEM_PATH


def test_only_folders_that_would_be_hidden_are_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, 'prefix', '/tmp/venv')
    monkeypatch.setattr(sys, 'base_prefix', '/usr')
    assert guest.visible_folders(job()) == [Path('/tmp/venv')]
    hidden = job(checkout=Path('/tmp/venv/checkout'), binds=[Path('/run/x')])
    assert guest.visible_folders(hidden) == [Path('/run/x'), Path('/tmp/venv')]
    assert guest.visible_folders(job(root=Path('/srv/old'))) == [Path('/srv/checkout')]


def test_settings_refuse_names_that_overlayfs_would_split() -> None:
    text = guest.settings(job(root=Path('/srv/old')), Path('/cache/6.1.1-1-abc'))
    assert text.startswith('root=/srv/old\nmodules=/cache/6.1.1-1-abc\n')
    with pytest.raises(HarnessError, match="^folder: '/srv/a b': "):
        guest.settings(job(binds=[Path('/srv/a b')], root=Path('/srv/old')), Path('/cache'))


TARGETS = """\
https://other.example/apt/|bookworm|main|Other
http://mirror.example/debian/|bookworm-updates|main|Debian
http://mirror.example/debian/|bookworm|contrib|Debian
http://mirror.example/debian/|bookworm|main|Debian
http://mirror.example/debian-security/|bookworm-security|main|Debian
"""


def test_the_mirror_is_the_machines_own() -> None:
    assert debian.mirror_of(TARGETS) == ('http://mirror.example/debian/', 'http://mirror.example/debian-security/')
    assert debian.mirror_of('http://m.example/debian/|stable|main|\n') == ('http://m.example/debian/', '')


def test_a_machine_without_debian_sources_is_told_so() -> None:
    with pytest.raises(HarnessError, match='no suite of Debian'):
        debian.mirror_of('http://mirror.example/ubuntu/|noble|main|Ubuntu\n')


def test_sources_are_signed_and_security_only_where_there_is_some() -> None:
    text = debian.sources_list(debian.Mirror('http://m/', ''), ('trixie', 'trixie-security'))
    assert text == f'deb [arch=amd64 signed-by={debian.KEYRING}] http://m/ trixie main\n'


def test_apt_keeps_the_machines_proxy_but_never_unsigned_archives() -> None:
    own = (
        'Acquire "";\nAcquire::http::Proxy "http://proxy:3128";\nAcquire::AllowInsecureRepositories "1";\n'
        'Acquire::IndexTargets::deb::DEP-11::MetaKey "x";\n'
    )
    lines = debian.apt_conf(Path('/a'), own).splitlines()
    assert 'Acquire::http::Proxy "http://proxy:3128";' in lines
    assert lines.index('Acquire::AllowInsecureRepositories "false";') > lines.index(
        'Acquire::AllowInsecureRepositories "1";'
    )
    assert not [line for line in lines if 'DEP-11' in line]
    assert 'Dir::State::Lists "/a/lists";' in lines


def stanza(name: str, depends: str = '') -> str:
    """A control stanza as apt-cache shows it."""
    end = f'Depends: {depends}\n' if depends else ''
    return f'Package: {name}\nVersion: 7.3-1\nSize: 5\nSHA256: {name}\nDescription: x\n a: b\n{end}'


def test_the_parts_of_a_kernel_are_followed() -> None:
    archive: Dict[str, str] = {
        'linux-image-amd64': 'linux-base (>= 4), linux-base-7.3-amd64, linux-image-7.3-amd64, linux-modules-amd64',
        'linux-image-7.3-amd64': 'dracut | linux-initramfs-tool, linux-binary-7.3-amd64, linux-modules-7.3-amd64',
        'linux-modules-amd64': 'linux-modules-7.3-amd64 (= 7.3-1)',
        'linux-base-7.3-amd64': '',
        'linux-binary-7.3-amd64': '',
        'linux-modules-7.3-amd64': 'kmod',
    }
    packages = debian.kernel_packages(lambda name: debian.fields(stanza(name, archive[name])))
    assert [package.name for package in packages] == sorted(archive)
    assert packages[0] == debian.Package('linux-base-7.3-amd64', '7.3-1', 'linux-base-7.3-amd64', 5)
    assert store.folder_name(packages).startswith('7.3-1-')
    assert store.folder_name(packages) != store.folder_name(packages[1:])


def test_a_failing_command_says_why_in_one_line() -> None:
    with pytest.raises(HarnessError, match=r'^sh -c: E: no such suite$'):
        debian.run(['sh', '-c', 'echo noise; echo "E: no such suite" >&2; exit 100'])


def test_programs_that_are_missing_are_named_by_package(tmp_path: Path) -> None:
    found = dict.fromkeys(tools.PACKAGES, '/bin/true')
    assert tools.missing_packages({**found, 'busybox': '', 'depmod': ''}) == ['busybox-static', 'kmod']
    assert tools.missing_packages({**found, 'busybox': '/bin/true'}) == ['busybox-static']  # dynamic


def test_a_boot_that_never_comes_is_a_failure(tmp_path: Path) -> None:
    process = subprocess.Popen(['sleep', '60'])
    try:
        problem = machine.watch(process, tmp_path, machine.Limits(boot=0.2), threading.Event())
    finally:
        machine.end(process)
    assert problem == 'did not boot: not within 0 s'


def test_a_machine_that_ends_before_the_job_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / 'booted').write_text('6.1\n')
    process = subprocess.Popen(['sh', '-c', 'exit 3'])
    problem = machine.watch(process, tmp_path, machine.Limits(), threading.Event())
    assert problem == 'the job did not end: qemu ended with status 3'


@pytest.mark.parametrize(('status', 'problem'), [('0', ''), ('2', 'the job ended with status 2')])
def test_the_status_of_the_job_counts(tmp_path: Path, status: str, problem: str) -> None:
    (tmp_path / 'booted').write_text('6.1\n')
    (tmp_path / 'status').write_text(f'{status}\n')
    process = subprocess.Popen(['true'])
    process.wait()
    assert machine.watch(process, tmp_path, machine.Limits(), threading.Event()) == problem


def test_a_failed_cell_fails_a_job_that_ended_with_zero(tmp_path: Path) -> None:
    (tmp_path / 'results').mkdir()
    (tmp_path / 'results' / 'junit.xml').write_text('<testsuite><testcase name="a"><failure/></testcase></testsuite>')
    (tmp_path / 'booted').write_text('6.1.0\n')
    found = machine.outcome('6.1', tmp_path, os.stat(tmp_path / 'booted').st_mtime - 4, '')
    assert found.problem == '1 cells failed'
    assert found.boot_seconds == pytest.approx(4)
    assert report.details(found) == ['  failed: a', f'  kept: {tmp_path}']


def test_what_a_job_has_measured_is_told(tmp_path: Path) -> None:
    lines = ['collected 3 items', 'moves: 0 lost', 'matrix: 9 cells', '  4 refused: for a reason', '3 passed in 1 s']
    (tmp_path / 'job.log').write_text('\n'.join(lines))
    found = machine.Outcome('6.1', '', folder=tmp_path)
    assert report.details(found) == ['  moves: 0 lost', '  matrix: 9 cells', '    4 refused: for a reason']


def test_the_closing_line_names_the_kernels_that_failed() -> None:
    good = machine.Outcome('6.1', '', cells=junit.Cells(passed=3, skipped=1))
    bad = machine.Outcome('6.12', 'did not boot: not within 180 s', cells=junit.Cells())
    assert report.closing([good, bad], 61.4) == (
        'kernels: 2 boots, 4 cells: 3 passed, 0 failed, 1 skipped, 61 s: FAILED on 6.12'
    )
    assert report.closing([good], 5).endswith(': ok')


def test_complaints_of_the_kernel_are_shown(tmp_path: Path) -> None:
    (tmp_path / 'console.log').write_text('[1.0] fine\n[2.0] BUG: unable to handle page fault\n')
    found = machine.Outcome('6.1', '', folder=tmp_path)
    assert report.details(found) == ['  kernel: [2.0] BUG: unable to handle page fault']


def test_an_unknown_kernel_is_refused_with_the_names(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(['--kernel', '5.4']) == 2
    assert capsys.readouterr().err == "kernels: kernel: '5.4': one of 6.1, 6.12, backports\n"


def test_the_job_is_what_follows_the_dashes() -> None:
    options = cli.parser().parse_args(['--kernel', '6.1', '--kernel', '6.12', '--', 'pytest', '-x', '--kernel'])
    assert options.kernel == ['6.1', '6.12']
    assert options.job == ['pytest', '-x', '--kernel']


def test_br_netfilter_is_not_loaded() -> None:
    assert 'br_netfilter' not in catalogue.JOB_MODULES


def test_the_same_packages_from_another_mirror_are_the_same_userland() -> None:
    uris = [
        "'http://one.example/a.deb' a_1_amd64.deb 5 SHA256:aa",
        "'http://one.example/b.deb' b_1_all.deb 6 SHA256:bb",
    ]
    moved = [uri.replace('one.example', 'two.example') for uri in reversed(uris)]
    assert userland.content_hash(uris) == userland.content_hash(moved)
    assert userland.content_hash(uris) != userland.content_hash([uris[0], uris[1].replace('bb', 'cc')])


def test_an_unknown_userland_is_refused_with_the_names(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(['--userland', 'sarge', '--', 'true']) == 2
    assert capsys.readouterr().err == "kernels: userland: 'sarge': one of bullseye, bookworm, trixie\n"


def test_a_root_gets_a_shell_users_and_mount_points(tmp_path: Path) -> None:
    for folder in ('bin', 'etc', 'usr/share/base-passwd'):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / 'bin' / 'dash').touch()
    for name in ('passwd', 'group'):
        (tmp_path / 'usr/share/base-passwd' / f'{name}.master').write_text(f'{name} of root\n')
    userland.finish(tmp_path)
    assert (tmp_path / 'bin' / 'sh').resolve().name == 'dash'
    assert (tmp_path / 'etc' / 'passwd').read_text() == 'passwd of root\n'
    assert (tmp_path / 'proc').is_dir()


def test_a_named_job_is_known_by_its_name_and_all_are() -> None:
    assert [found.name for found in jobs.jobs_named(['trixie', 'loss', 'loss'])] == ['loss', 'trixie']
    every = jobs.jobs_named([jobs.ALL])
    assert [found.name for found in jobs.JOBS if found not in every] == ['molecule']
    with pytest.raises(HarnessError, match="^job: 'gain': all or one of matrix, "):
        jobs.jobs_named(['gain'])


@pytest.mark.parametrize('named', jobs.JOBS, ids=lambda named: str(named.name))
def test_a_named_job_runs_tests_that_are_there_on_kernels_that_are_there(named: jobs.NamedJob) -> None:
    assert all((cli.CHECKOUT / test.partition('::')[0]).is_file() for test in named.tests)
    assert all(catalogue.kernel_named(name) for name in named.kernels)
    assert named.least > 0
    assert named.userland in ('', *userland.RELEASES)


def test_the_job_of_a_userland_gets_ansible_and_nothing_else_of_ours() -> None:
    old = jobs.guest_job(jobs.jobs_named(['bullseye'])[0], Path('/srv/checkout'), Path('/srv/old'))
    assert old.argv[:3] == ('python3', '-m', 'pytest')
    (folder,) = old.binds
    assert (folder / 'module_utils' / 'basic.py').is_file()
    path = guest.environment(old)['PYTHONPATH'].split(':')
    assert path == ['/srv/checkout/playbooks/collections', '/srv/checkout/tests', str(folder.parent)]
    assert jobs.guest_job(jobs.jobs_named(['loss'])[0], Path('/srv'), Path('/')).argv[0] == sys.executable


def test_a_job_in_which_little_was_tested_has_failed() -> None:
    well = machine.Outcome('loss-6.1', '', cells=junit.Cells(passed=6))
    assert cli.demanded(well, 6) == well
    assert cli.demanded(well, 7).problem == '6 cells passed, at least 7 must'
    assert cli.demanded(well, None) == well
    skipped = well._replace(cells=junit.Cells(passed=6, skipped=1))
    assert cli.demanded(skipped, 6).problem == '1 cells were skipped, none may be'
    assert cli.demanded(skipped, None) == skipped
    broken = well._replace(problem='did not boot')
    assert cli.demanded(broken, 99) == broken


def test_a_job_without_its_program_names_the_package() -> None:
    lacking = jobs.jobs_named(['openvswitch'])[0]._replace(program='no-such-program')
    with pytest.raises(HarnessError, match='^job openvswitch: missing: apt-get install openvswitch-switch$'):
        jobs.check_program(lacking)


def test_a_named_job_takes_no_other_job(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(['--job', 'loss', '--', 'true']) == 2
    assert 'a named job says itself what it runs' in capsys.readouterr().err
