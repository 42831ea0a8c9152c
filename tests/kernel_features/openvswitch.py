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
from lab import Lab
from namespaces import Namespace

from .changes import move_addresses

SCHEMA = '/usr/share/openvswitch/vswitch.ovsschema'
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
            yield switch
            move_addresses(lab.node, name, nic)
        finally:
            switch.stop()
