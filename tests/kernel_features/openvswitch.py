# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Open vSwitch in the node's network namespace, with its files in a folder of its own, for as long as a `with`."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import Iterator

import pytest
from ansible_collections.returntraffic.net.plugins.module_utils.proof.flows import fire
from ansible_collections.returntraffic.net.plugins.module_utils.proof.spec import expand
from lab import Lab
from namespaces import Namespace

from .changes import move_addresses

SCHEMA = '/usr/share/openvswitch/vswitch.ovsschema'
#: What the datapath has learned stays for the test's life, in milliseconds (ovs-vswitchd.conf.db(5)).
MAX_IDLE = 3600000
PROGRAMS = ('ovsdb-tool', 'ovsdb-server', 'ovs-vswitchd', 'ovs-vsctl', 'ovs-appctl')


class Switch:
    """The two daemons of Open vSwitch; bridges are made through `vsctl`."""

    def __init__(self, host: Namespace, folder: Path) -> None:
        self.host = host
        self.folder = folder
        self.database = f'unix:{folder}/db.sock'

    def run(self, *command: str) -> str:
        """A command of Open vSwitch that finds its files where this switch has them."""
        return self.host.run('env', f'OVS_RUNDIR={self.folder}', f'OVS_DBDIR={self.folder}', *command)

    def vsctl(self, *words: str) -> None:
        """Change the database; returns when the daemon has done it, or fails after a minute."""
        self.run('ovs-vsctl', f'--db={self.database}', '--timeout=60', *words)

    def start(self) -> None:
        """Start the database and then the daemon; both are ready when their --detach returns."""
        log, data = f'{self.folder}/log', f'{self.folder}/conf.db'
        self.run('ovsdb-tool', 'create', data, SCHEMA)
        common = ('--detach', '--no-chdir', '--pidfile')
        self.run('ovsdb-server', data, f'--remote=p{self.database}', *common, f'--log-file={log}.db')
        self.vsctl('--no-wait', 'init')
        self.run('ovs-vswitchd', self.database, *common, f'--log-file={log}.switch')
        self.vsctl('set', 'Open_vSwitch', '.', f'other_config:max-idle={MAX_IDLE}')

    def stop(self) -> None:
        """End both; --cleanup takes the datapath out of the kernel."""
        self.run('ovs-appctl', '-t', 'ovs-vswitchd', 'exit', '--cleanup')
        self.run('ovs-appctl', '-t', 'ovsdb-server', 'exit')


@contextlib.contextmanager
def bridge(lab: Lab, name: str, nic: str) -> Iterator[Switch]:
    """A bridge of the kernel's datapath on the node, with the NIC as its port and the NIC's addresses on its own."""
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing:
        pytest.skip(f'apt-get install openvswitch-switch: {", ".join(missing)} not found')
    if not os.path.isdir('/sys/module/openvswitch'):
        pytest.skip('this kernel has no openvswitch')
    with tempfile.TemporaryDirectory(prefix='ovs-') as folder:
        switch = Switch(lab.node, Path(folder))
        switch.start()
        try:
            switch.vsctl('add-br', name, '--', 'add-port', name, nic)
            lab.node.run('ip', 'link', 'set', name, 'up')
            move_addresses(lab.node, nic, name)
            teach(lab)
            yield switch
            move_addresses(lab.node, name, nic)
        finally:
            switch.stop()


def teach(lab: Lab) -> None:
    """Let the datapath learn both ways, for both families, from one packet each.

    What it does not know yet goes through the daemon, whose queue a burst overflows on an emulated processor, and what
    is lost there is Open vSwitch's loss and not the policy's.
    """
    neighbour = next(one for one in lab.data['node_networks'] if one['interface'] == 'eth1')
    targets = [{'name': 'neighbour', 'addresses': neighbour['gateways'], 'flows': [{'kind': 'icmp', 'timeout': 20.0}]}]
    with lab.node.entered():
        answers = fire(expand('node', targets))
    assert all(answer.answered for answer in answers), answers
