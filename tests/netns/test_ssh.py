# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The roles node and proof on hosts that are reached by ssh and nothing else, as real ones are.

The hosts are a lab's, but Ansible runs in a host of its own on a management network, with an inventory that
names addresses and users only.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, Dict, Iterator

import pytest
import yaml
from lab import BIN, ROOT, Lab, state_of
from namespaces import Namespace

MANAGED = {'node': '10.111.229.11', 'client1': '10.111.229.23', 'client2': '10.111.229.24'}
SSHD = """
ListenAddress {address}
HostKey {folder}/host
AuthorizedKeysFile {folder}/user.pub
PidFile none
PermitRootLogin prohibit-password
StrictModes no
UsePAM no
"""
PLAY = """
- hosts: nodes
  gather_facts: false
  roles: [returntraffic.net.node]
- hosts: nodes:clients
  gather_facts: false
  roles:
    - role: returntraffic.net.proof
      when: node_state | default('present') == 'present'
"""


@pytest.fixture(scope='module')
def inventory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """inventory/bare with a management network, and a controller on it."""
    copy = tmp_path_factory.mktemp('copy') / 'ssh'
    shutil.copytree(ROOT / 'inventory/bare', copy)
    with edited(copy / 'group_vars/all/lab.yml') as data:
        data['lab_networks'].append({'name': 'mgmt', 'prefixes': ['10.111.229.0/24']})
    with edited(copy / 'hosts.yml') as data:
        data['all']['children']['lab']['children']['controllers'] = {'hosts': {'controller': None}}
    (copy / 'host_vars/controller.yml').write_text('lab_interfaces: []\n')
    for name, address in {**MANAGED, 'controller': '10.111.229.1'}.items():
        with edited(copy / f'host_vars/{name}.yml') as data:
            data['lab_interfaces'].append({'name': 'mgmt0', 'network': 'mgmt', 'addresses': [f'{address}/24']})
    return copy


@contextlib.contextmanager
def edited(path: Path) -> Iterator[Dict[str, Any]]:
    """A YAML file as data, written back afterwards."""
    data = yaml.safe_load(path.read_text())
    yield data
    path.write_text(yaml.safe_dump(data))


@pytest.fixture(scope='module')
def lab(inventory: Path) -> Iterator[Lab]:
    """Strict, so that the policy has sysctls to set and to give back, too."""
    with Lab(inventory, lab_rp_filter=1) as made:
        yield made


@pytest.fixture(scope='module')
def folder(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keys, an ssh server on each managed host, the plain inventory and the play."""
    made = tmp_path_factory.mktemp('k')
    for name in ('host', 'user'):
        subprocess.run(['ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-C', '', '-f', str(made / name)], check=True)
    key = (made / 'host.pub').read_text()
    (made / 'known').write_text(''.join(f'{address} {key}' for address in MANAGED.values()))
    (made / 'hosts.yml').write_text(yaml.safe_dump(plain_inventory(lab, made)))
    (made / 'play.yml').write_text(PLAY)
    Path('/run/sshd').mkdir(exist_ok=True)
    with contextlib.ExitStack() as stack:
        for name, address in MANAGED.items():
            stack.enter_context(ssh_server(lab.host(name), made, address))
        yield made


def plain_inventory(lab: Lab, folder: Path) -> Dict[str, Any]:
    """What a user would write for hosts of their own."""
    ssh = f'-i {folder}/user -o IdentitiesOnly=yes -o UserKnownHostsFile={folder}/known'
    hosts = {name: {'ansible_host': address} for name, address in MANAGED.items()}
    targets = ('own', 'shared', 'cross')
    return {
        'nodes': {
            'hosts': {'node': {**hosts['node'], **{name: lab.data[name] for name in lab.data if 'node_' in name}}}
        },
        'clients': {'hosts': {name: hosts[name] for name in hosts if name != 'node'}},
        'all': {
            'vars': {
                'ansible_connection': 'ssh',
                'ansible_user': 'root',
                # The system's own, which knows nothing of Ansible.
                'ansible_python_interpreter': '/usr/bin/python3',
                'ansible_ssh_common_args': ssh,
                'proof_clients': lab.data['proof_clients'],
                'proof_targets': [item for name in targets for item in lab.data[f'proof_targets_{name}']],
                'proof_report_path': str(folder / 'proof.json'),
            }
        },
    }


@contextlib.contextmanager
def ssh_server(host: Namespace, folder: Path, address: str) -> Iterator[None]:
    """An ssh server in a namespace: it listens when this begins, and has ended when this has."""
    config = folder / f'{address}.conf'
    config.write_text(SSHD.format(folder=folder, address=address))
    command = [
        'ip',
        'netns',
        'exec',
        host.name,
        shutil.which('sshd') or '/usr/sbin/sshd',
        '-D',
        '-e',
        '-f',
        str(config),
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        try:
            assert server.stderr is not None
            line = server.stderr.readline()
            assert 'Server listening' in line, line
            yield
        finally:
            server.terminate()


def play(lab: Lab, folder: Path, **variables: Any) -> Dict[str, int]:
    """Run the play from the controller; how much it changed on each host."""
    words = [str(BIN / 'ansible-playbook'), '-i', 'hosts.yml', 'play.yml', '-e', json.dumps(variables)]
    done = subprocess.run(
        ['ip', 'netns', 'exec', lab.host('controller').name, *words],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        env={
            **{name: value for name, value in os.environ.items() if name != 'SSH_AUTH_SOCK'},
            'ANSIBLE_CONFIG': str(ROOT / 'ansible.cfg'),
            'ANSIBLE_NOCOLOR': '1',
            # Connections that stay open for the next task do so in the test's folder.
            'ANSIBLE_SSH_CONTROL_PATH_DIR': str(folder / 'c'),
        },
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return {host: int(count) for host, count in re.findall(r'^(\S+) +: ok=\d+ +changed=(\d+)', done.stdout, re.M)}


def test_the_roles_need_nothing_but_ssh(lab: Lab, folder: Path) -> None:
    before = state_of(lab.node)
    assert play(lab, folder) == {'node': 1, 'client1': 0, 'client2': 0}
    report = json.loads((folder / 'proof.json').read_text())
    assert report['passed'] == len(report['verdicts']) == len(lab.flows('own', 'shared', 'cross'))
    assert play(lab, folder) == {'node': 0, 'client1': 0, 'client2': 0}
    again = json.loads((folder / 'proof.json').read_text())
    assert (again['passed'], again['flows_failed'], again['incomplete']) == (report['passed'], 0, 0)
    assert play(lab, folder, node_state='absent')['node'] == 1
    assert state_of(lab.node) == before
    assert play(lab, folder, node_state='absent')['node'] == 0
