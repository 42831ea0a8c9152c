# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""README's "On real hosts", as written: its files, its commands, over ssh, with the installed collection.

The host is the lab's node, but Ansible reaches it from the lab's gateway by ssh and knows nothing of the lab.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Iterator, List

import pytest
from artifact import Installed
from lab import ROOT, Lab, state_of
from proving import prove

README = (ROOT / 'README.md').read_text()
ADDRESS = '10.111.220.11'
SSHD = """
ListenAddress {address}
HostKey {folder}/host
AuthorizedKeysFile {folder}/user.pub
PidFile none
PermitRootLogin yes
StrictModes no
UsePAM no
"""


def file_of_readme(name: str) -> str:
    found = re.search(rf'^`{name}`:\n\n```yaml\n(.*?)```', README, re.DOTALL | re.MULTILINE)
    assert found, name
    return found.group(1)


def commands() -> List[List[str]]:
    """README's lines with its inventory, comments left out."""
    lines = re.findall(r'^ansible-playbook -i inventory.yml .*$', README, re.MULTILINE)
    return [line.split('#')[0].split() for line in lines]


@pytest.fixture(scope='module')
def lab() -> Iterator[Lab]:
    with Lab(lab_rp_filter=1) as made:
        yield made


@pytest.fixture(scope='module')
def host(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An ssh server on the node; the folder with its keys."""
    folder = tmp_path_factory.mktemp('ssh')
    for name in ('host', 'user'):
        subprocess.run(['ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-f', str(folder / name)], check=True)
    (folder / 'config').write_text(SSHD.format(folder=folder, address=ADDRESS))
    Path('/run/sshd').mkdir(exist_ok=True)
    command = ['ip', 'netns', 'exec', lab.node.name, '/usr/sbin/sshd', '-D', '-e', '-f', str(folder / 'config')]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr and 'Server listening' in server.stderr.readline()
        yield folder
        server.terminate()


@pytest.fixture(scope='module')
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    made = Installed(tmp_path_factory.mktemp('artifact'))
    for name in ('inventory.yml', 'return.yml'):
        (made.folder / name).write_text(file_of_readme(name))
    return made


def test_look_apply_apply_again_and_take_away(lab: Lab, host: Path, installed: Installed) -> None:
    ssh = f'-i {host}/user -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null'
    # What a user has in the inventory or in ~/.ssh/config. As root there is nothing to become.
    here = ['-e', 'ansible_user=root', '-e', f'ansible_ssh_common_args="{ssh}"']
    here += ['-e', f'ansible_python_interpreter={sys.executable}']

    def run(*words: str) -> str:
        return installed.run(*words, *here, within=('ip', 'netns', 'exec', lab.host('gateway').name))

    look, apply, remove = commands()
    before = state_of(lab.node)
    predicted = run(*look)
    assert state_of(lab.node) == before
    done = run(*apply, '--diff')
    assert diff_of(done) == diff_of(predicted) != ''
    assert 'changed=1' in done
    verdicts = prove(lab.node, lab.clients, lab.flows('own', 'shared', 'cross'))
    assert [item.reason for item in verdicts if not item.passed] == []
    assert 'changed=0' in run(*apply)
    assert 'changed=1' in run(*remove)
    assert state_of(lab.node) == before


def diff_of(output: str) -> str:
    return '\n'.join(line for line in output.splitlines() if line[:1] in ('+', '-', '@'))
