# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The connection plugin netns, used as Ansible uses it: commands, modules, files, become, errors."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any, Iterator, Tuple

import pytest
from lab import BIN, ROOT
from tiny_lab import TinyLab

PLUGIN = 'returntraffic.net.netns'


@pytest.fixture(scope='module')
def lab() -> Iterator[TinyLab]:
    with TinyLab() as made:
        yield made


@pytest.fixture
def inventory(lab: TinyLab, tmp_path: Path) -> Path:
    """The lab's hosts, and some that are not there."""
    path = tmp_path / 'hosts.json'
    hosts = {
        'left': {},
        'right': {},
        'nowhere': {},
        'alias': {'ansible_netns_host': 'left'},
        'named': {'ansible_netns_name': f'{lab.name}-right'},
        'pathed': {'ansible_netns_name': f'/run/netns/{lab.name}-right'},
        'unnamed': {'ansible_netns_name': 'no-such-namespace'},
        'unbuilt': {'lab_name': 'neverbuilt'},
        'others': {'ansible_netns_user': 'no-such-user'},
        'blind': {'ansible_netns_host': 'left', 'ansible_netns_nsenter': '/no/such/nsenter'},
    }
    common = {'ansible_connection': PLUGIN, 'lab_name': lab.name, 'ansible_python_interpreter': '/usr/bin/python3'}
    path.write_text(json.dumps({'all': {'hosts': hosts, 'vars': common}}))
    return path


def ansible(inventory: Path, *words: str, **environment: str) -> Tuple[int, str]:
    """Exit code and output of an ad hoc command."""
    done = subprocess.run(
        [str(BIN / 'ansible'), '-i', str(inventory), *words],
        cwd=ROOT,
        env={**os.environ, 'ANSIBLE_NOCOLOR': '1', 'ANSIBLE_CONFIG': str(ROOT / 'ansible.cfg'), **environment},
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    return done.returncode, done.stdout + done.stderr


def test_a_raw_command_sees_the_host_and_only_it(inventory: Path) -> None:
    code, said = ansible(inventory, 'left:right', '-m', 'ansible.builtin.raw', '-a', 'ip -br address show dev eth0')
    assert code == 0
    left, right = sorted(part for part in said.split('>>') if '10.8.0' in part)
    assert '10.8.0.1/24' in left
    assert '10.8.0.2/24' in right


@pytest.mark.parametrize('pipelining', ['1', '0'])
def test_a_module_runs_in_the_host(inventory: Path, pipelining: str) -> None:
    arguments = ('-m', 'ansible.builtin.command', '-a', 'ip -br address show dev eth1', '-vvv')
    code, said = ansible(inventory, 'left', *arguments, ANSIBLE_PIPELINING=pipelining)
    assert code == 0, said
    assert '10.8.1.1/24' in said
    assert ('PUT ' in said) == (pipelining == '0')


def test_words_of_a_command_stay_as_they_are(inventory: Path) -> None:
    script = """printf '%s|' "a  b" '$HOME' "it's" 'x;y' "$((1+1))"; exit 3"""
    code, said = ansible(inventory, 'left', '-m', 'ansible.builtin.raw', '-a', script)
    assert code == 2
    assert "a  b|$HOME|it's|x;y|2|" in said
    assert 'rc=3' in said


@pytest.mark.parametrize('pipelining', ['1', '0'])
def test_files_go_there_and_back(inventory: Path, tmp_path: Path, pipelining: str) -> None:
    (tmp_path / 'from').write_bytes(bytes(range(256)) * 999)
    there, back = tmp_path / 'there it is', tmp_path / 'back'
    copy = f'src={tmp_path}/from dest="{there}" mode=0600'
    code, said = ansible(inventory, 'left', '-m', 'ansible.builtin.copy', '-a', copy, ANSIBLE_PIPELINING=pipelining)
    assert code == 0, said
    code, said = ansible(inventory, 'left', '-m', 'ansible.builtin.fetch', '-a', f'src="{there}" dest={back} flat=yes')
    assert code == 0, said
    assert back.read_bytes() == (tmp_path / 'from').read_bytes()


@pytest.mark.parametrize('pipelining', ['1', '0'])
def test_become_another_user_stays_in_the_host(inventory: Path, pipelining: str) -> None:
    words = ('-b', '--become-method', 'su', '--become-user', 'nobody', '-e', 'ansible_remote_tmp=/tmp')
    command = ('-m', 'ansible.builtin.raw', '-a', 'id -un; ip -br address show dev eth0')
    code, said = ansible(
        inventory, 'left', *words, *command, ANSIBLE_PIPELINING=pipelining, ANSIBLE_BECOME_FLAGS='-s/bin/sh'
    )
    assert code == 0, said
    assert 'nobody' in said
    assert '10.8.0.1/24' in said


@pytest.mark.parametrize(('host', 'address'), [('alias', '10.8.0.1'), ('named', '10.8.0.2'), ('pathed', '10.8.0.2')])
def test_a_host_may_be_named_otherwise(inventory: Path, host: str, address: str) -> None:
    code, said = ansible(inventory, host, '-m', 'ansible.builtin.raw', '-a', 'ip -br address show dev eth0')
    assert code == 0, said
    assert f'{address}/24' in said


def test_a_task_is_delegated_to_the_other_host(inventory: Path, tmp_path: Path) -> None:
    task = {'ansible.builtin.raw': 'ip -br address show dev eth0', 'delegate_to': 'right', 'register': 'seen'}
    show: Any = {'ansible.builtin.debug': {'var': 'seen.stdout'}}
    play = tmp_path / 'play.json'
    play.write_text(json.dumps([{'hosts': 'left', 'gather_facts': False, 'tasks': [task, show]}]))
    done = subprocess.run(
        [str(BIN / 'ansible-playbook'), '-i', str(inventory), str(play)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert '10.8.0.2/24' in done.stdout


@pytest.mark.parametrize(
    ('host', 'message'),
    [
        ('nowhere', "has no host 'nowhere'; its hosts are: left, right"),
        ('unbuilt', "lab 'neverbuilt' is not up for user root; returntraffic.net.netns_lab builds it"),
        ('unnamed', "no network namespace 'no-such-namespace'; there are: "),
        ('others', "netns_user: 'no-such-user': no such user on this machine"),
        ('blind', "'/no/such/nsenter' is not installed; it is part of util-linux"),
    ],
)
def test_an_error_says_what_is_missing_and_what_there_is(inventory: Path, host: str, message: str) -> None:
    code, said = ansible(inventory, host, '-m', 'ansible.builtin.ping')
    assert code != 0
    assert message in said
    assert 'Traceback' not in said


def test_a_lab_that_goes_away_is_an_unreachable_host(inventory: Path) -> None:
    code, said = ansible(inventory, 'nowhere', '-m', 'ansible.builtin.ping')
    assert code == 4
    assert 'UNREACHABLE' in said


def test_a_user_who_may_not_enter_is_told_so(lab: TinyLab) -> None:
    script = (
        'import sys; from ansible.plugins.loader import connection_loader, init_plugin_loader\n'
        'from ansible.playbook.play_context import PlayContext\n'
        'init_plugin_loader([sys.argv[1]])\n'
        'plugin = connection_loader.get(sys.argv[2], PlayContext())\n'
        'plugin.set_options(direct={"netns_lab": sys.argv[3], "netns_host": "left"})\n'
        'import os; os.setuid(65534)\n'
        'try: plugin.exec_command("true")\n'
        'except Exception as error: print(type(error).__name__, error)\n'
    )
    command = [str(BIN / 'python'), '-c', script, str(ROOT / 'playbooks/collections'), PLUGIN, lab.name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == (
        f'AnsibleConnectionFailure /run/netns/{lab.name}-left belongs to root: only root can enter it'
    ), done.stderr


def test_the_plugin_is_documented() -> None:
    done = subprocess.run(
        [str(BIN / 'ansible-doc'), '-t', 'connection', '--json', PLUGIN],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    options = json.loads(done.stdout)[PLUGIN]['doc']['options']
    assert {'netns_lab', 'netns_host', 'netns_name', 'netns_user', 'netns_nsenter', 'pipelining'} <= set(options)
    assert all(option['description'] for option in options.values())
