# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab as an unprivileged user: it works, or the kernel setting that forbids it is named."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path
from typing import Iterator

import pytest
from lab import ansible_process
from unprivileged import User

LAB = f'ul{os.getpid()}'
NAME = ('-e', f'lab_name={LAB}')

# One question to the echo server and one ICMP echo, per family, to where the router has a route.
ASK = """
import socket, struct, sys
for address, icmp in (("192.168.1.1", 1), ("fd00:192:168:1::1", 58)):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as asking:
        asking.settimeout(3)
        asking.sendto(b"hi", (address, 8080))
        print("echo", asking.recvfrom(9)[1][0])
    with socket.socket(family, socket.SOCK_RAW, icmp) as ping:
        ping.settimeout(3)
        total = 0xffff - (0x0800 + 0x1234 + 1) if icmp == 1 else 0
        ping.sendto(struct.pack("!BBHHH", 8 if icmp == 1 else 128, 0, total, 0x1234, 1), (address, 0))
        while True:
            data, peer = ping.recvfrom(99)
            kind = data[20] if icmp == 1 else data[0]
            if kind in (0, 129):
                print("pong", peer[0])
                break
"""


@pytest.fixture(scope='module')
def user() -> Iterator[User]:
    with User() as made:
        yield made


@pytest.fixture(scope='module')
def refusal(user: User) -> Iterator[str]:
    """Builds the lab; what was said if that is forbidden here, '' if it is up."""
    done = user.ansible('ansible-playbook', 'playbooks/lab.yml', *NAME)
    if done.returncode == 0:
        assert 'failed=0' in done.stdout
        yield ''
    else:
        found = re.search(r'a lab without root is refused .*', done.stdout)
        assert found, done.stdout + done.stderr
        yield found.group(0)
    user.ansible('ansible-playbook', 'playbooks/down.yml', *NAME)


def forbidden(refusal: str) -> bool:
    """Whether a lab is forbidden here; then the setting that was named must really have that value."""
    if not refusal:
        return False
    named = re.search(r'([a-z_.]+) is (\S+) and would have to be', refusal)
    assert named, refusal
    assert Path('/proc/sys', *named.group(1).split('.')).read_text().strip() == named.group(2)
    return True


def test_packets_cross_the_lab(user: User, refusal: str) -> None:
    if forbidden(refusal):
        return
    script = user.checkout / 'ask.py'
    script.write_text(ASK)
    done = user.ansible('ansible', 'router', '-m', 'ansible.builtin.raw', '-a', f'python3 {script}', *NAME)
    assert done.returncode == 0, done.stdout + done.stderr
    for line in ('echo 192.168.1.1', 'pong 192.168.1.1', 'echo fd00:192:168:1::1', 'pong fd00:192:168:1::1'):
        assert line in done.stdout


def test_a_second_run_changes_nothing(user: User, refusal: str) -> None:
    if forbidden(refusal):
        return
    done = user.ansible('ansible-playbook', 'playbooks/lab.yml', *NAME)
    assert done.returncode == 0, done.stdout
    assert set(re.findall(r'changed=(\d+)', done.stdout)) == {'0'}


def test_nothing_of_it_is_seen_outside(refusal: str) -> None:
    if forbidden(refusal):
        return
    assert not list(Path('/run/netns').glob(f'{LAB}-*'))
    assert LAB not in subprocess.run(['ip', 'link'], capture_output=True, text=True, check=True).stdout


def test_root_enters_when_told_whose_lab_it_is(user: User, refusal: str) -> None:
    if forbidden(refusal):
        return
    words = ('ansible', 'node', '-m', 'ansible.builtin.raw', '-a', 'id -u; ip -br address show dev eth1', *NAME)
    done = ansible_process(*words, '-e', f'ansible_netns_user={user.name}')
    assert done.returncode == 0, done.stdout
    assert '10.111.221.11/24' in done.stdout
    missing = ansible_process(*words)
    assert f"lab '{LAB}' is not up for user root" in missing.stdout + missing.stderr


def test_become_needs_not_and_cannot(user: User, refusal: str) -> None:
    if forbidden(refusal):
        return
    command = ('ansible', 'node', '-b', '-m', 'ansible.builtin.command', '-a', 'id -u', *NAME)
    done = user.ansible(*command)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip().endswith('\n0')
    done = user.ansible(*command, '-e', 'ansible_become=true')
    assert 'become is not possible here' in done.stdout + done.stderr


def test_files_below_run_are_the_labs_own(user: User, refusal: str, tmp_path: Path) -> None:
    if forbidden(refusal):
        return
    place = f'/run/{LAB}.txt'
    play = user.checkout / 'files.yml'
    play.write_text(
        '- hosts: node\n  gather_facts: false\n  vars: {ansible_pipelining: false}\n  tasks:\n'
        f'    - ansible.builtin.copy: {{content: here, dest: {place}, mode: "0600"}}\n'
        f'    - ansible.builtin.fetch: {{src: {place}, dest: {user.checkout}/fetched, flat: true}}\n'
    )
    done = user.ansible('ansible-playbook', 'files.yml', *NAME)
    assert done.returncode == 0, done.stdout
    assert (user.checkout / 'fetched').read_text() == 'here'
    assert not Path(place).exists()


def test_a_killed_holder_is_noticed_and_the_lab_made_again(user: User, refusal: str) -> None:
    if forbidden(refusal):
        return
    for pid in user.processes():
        os.kill(pid, signal.SIGKILL)
    done = user.ansible('ansible', 'node', '-m', 'ansible.builtin.ping', *NAME)
    assert done.returncode == 4
    assert f"lab '{LAB}' is not up for user {user.name}" in done.stdout + done.stderr
    again = user.ansible('ansible-playbook', 'playbooks/lab.yml', *NAME)
    assert again.returncode == 0, again.stdout


def test_removal_leaves_nothing(user: User, refusal: str) -> None:
    if forbidden(refusal):
        return
    done = user.ansible('ansible-playbook', 'playbooks/down.yml', *NAME)
    assert done.returncode == 0, done.stdout
    assert user.processes() == []
    assert not Path(f'/tmp/returntraffic-{user.uid}').exists()
    again = user.ansible('ansible-playbook', 'playbooks/down.yml', *NAME)
    assert set(re.findall(r'changed=(\d+)', again.stdout)) == {'0'}


@pytest.mark.parametrize('check', [(), ('--check',)], ids=['run', 'check'])
def test_a_refusal_names_the_setting_and_its_value(user: User, refusal: str, check: tuple[str, ...]) -> None:
    if forbidden(refusal):
        return
    # A user namespace has limits of its own, so nothing of the machine's is changed.
    lowered = 'echo 0 >/proc/sys/user/max_user_namespaces; exec "$@"'
    before = ['unshare', '--user', '--map-current-user', '--keep-caps', 'sh', '-c', lowered, 'sh']
    done = user.ansible('ansible-playbook', 'playbooks/lab.yml', '-e', 'lab_name=forbidden', *check, before=before)
    assert done.returncode != 0
    assert 'user.max_user_namespaces is 0 and would have to be 10000, or run as root' in done.stdout
    assert user.processes() == []
    assert not Path(f'/tmp/returntraffic-{user.uid}').exists()
