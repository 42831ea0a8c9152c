# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Connection plugin: run tasks inside a network namespace of the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
name: netns
short_description: Run tasks in a network namespace of this machine
version_added: 1.0.0
author:
  - returntraffic contributors (@returntraffic)
description:
  - Runs commands and modules on the controller, but inside a network namespace, so that a namespace is a host.
  - Made for the labs of M(returntraffic.net.netns_lab), whose hosts it finds by the name of the lab
    and of the host, for root's labs and for those of an unprivileged user.
    With O(netns_name) it enters any namespace that C(ip netns) knows.
  - Files are the controller's own. In the lab of an unprivileged user C(/run) is the lab's own.
notes:
  - Needs C(nsenter) of util-linux on the controller.
  - Only root can enter a namespace of root's, and may C(become) another user in it.
  - In a lab of an unprivileged user that user is root already and other users do not exist,
    so C(become) is an error there. With C(ansible_become=false) as a variable of the lab's hosts,
    plays that were made for other hosts with C(become) run in it too.
  - Pipelining is supported and saves little here, as nothing has to be copied over a network.
seealso:
  - module: returntraffic.net.netns_lab
extends_documentation_fragment:
  - connection_pipelining
options:
  netns_lab:
    description: Name of the lab.
    type: str
    default: rt
    vars:
      - name: lab_name
      - name: ansible_netns_lab
    env:
      - name: ANSIBLE_NETNS_LAB
    ini:
      - section: netns_connection
        key: lab
  netns_host:
    description: Name of the host in the lab.
    type: str
    vars:
      - name: inventory_hostname
      # Under delegate_to the former still names the host that delegates; this one, the host that is asked.
      - name: ansible_host
      - name: ansible_netns_host
  netns_name:
    description:
      - Name of a namespace as C(ip netns list) shows it, or an absolute path of one such as V(/proc/4711/ns/net).
      - Takes the place of O(netns_lab) and O(netns_host).
    type: str
    vars:
      - name: ansible_netns_name
  netns_user:
    description:
      - The unprivileged user whose lab it is. Root needs it to enter a lab that another user has made.
      - Without it, root enters root's labs, and another user enters their own.
    type: str
    vars:
      - name: ansible_netns_user
    env:
      - name: ANSIBLE_NETNS_USER
    ini:
      - section: netns_connection
        key: user
  netns_nsenter:
    description: The C(nsenter) program.
    type: str
    default: nsenter
    vars:
      - name: ansible_netns_nsenter
    env:
      - name: ANSIBLE_NETNS_NSENTER
    ini:
      - section: netns_connection
        key: nsenter
  become_success_timeout:
    description:
      - Seconds to wait for C(become) to succeed. The default is used if it is less than 1.
    type: int
    default: 10
    vars:
      - name: ansible_netns_become_success_timeout
  become_strip_preamble:
    description: Remove what C(become) itself prints before the output of the command.
    type: bool
    default: true
    vars:
      - name: ansible_netns_become_strip_preamble
"""

import os
import pwd
import shlex
import shutil
from typing import Any, List, NamedTuple, Optional, Tuple

import ansible.constants as C
from ansible.errors import AnsibleConnectionFailure, AnsibleError, AnsibleFileNotFound
from ansible.plugins.connection.local import Connection as LocalConnection
from ansible.utils.display import Display

from ..module_utils.lab import namespace, naming, records
from ..module_utils.lab.records import Holder

display = Display()

#: Exit code, standard output, standard error.
Output = Tuple[int, bytes, bytes]


class Target(NamedTuple):
    """A namespace to enter: its path, and the holder of the user namespace it is in, if it is in one."""

    path: str
    holder: Optional[Holder]
    own: bool


class Connection(LocalConnection):
    """Like `local`, with every process in the namespace."""

    transport = 'returntraffic.net.netns'
    has_pipelining = True

    def _connect(self) -> Connection:
        if self._target().holder is not None and self.become:
            cure = 'the lab of an unprivileged user has no other user than root, who runs everything already'
            raise AnsibleError(f'become is not possible here: {cure}; set ansible_become to false')
        super()._connect()
        return self

    def exec_command(self, cmd: str, in_data: Optional[bytes] = None, sudoable: bool = True) -> Output:
        """Run a shell command in the namespace."""
        # Looked up each time: the lab may have been removed or made anew since the connection was made.
        entered = [*self._entry(self._target()), self._shell_path(), '-c', str(cmd)]
        return super().exec_command('exec ' + shlex.join(entered), in_data=in_data, sudoable=sudoable)

    def put_file(self, in_path: str, out_path: str) -> None:
        """Copy a file of the controller to a path as the host sees it."""
        holder = self._target().holder
        if holder is None:
            super().put_file(in_path, out_path)
        else:
            _copy(in_path, holder.path(os.path.abspath(out_path)))

    def fetch_file(self, in_path: str, out_path: str) -> None:
        """Copy a file, by its path as the host sees it, to the controller."""
        holder = self._target().holder
        if holder is None:
            super().fetch_file(in_path, out_path)
        else:
            _copy(holder.path(os.path.abspath(in_path)), out_path)

    def _shell_path(self) -> str:
        return getattr(self._shell, 'executable', None) or C.DEFAULT_EXECUTABLE or '/bin/sh'

    def _entry(self, target: Target) -> List[str]:
        """The command that enters a namespace."""
        nsenter = shutil.which(self.get_option('netns_nsenter'))
        if nsenter is None:
            raise AnsibleError(f'{self.get_option("netns_nsenter")!r} is not installed; it is part of util-linux')
        command = [nsenter, f'--net={target.path}']
        if target.holder is not None:
            command += [f'--user={target.holder.namespace("user")}', f'--mount={target.holder.namespace("mnt")}']
            # The owner stays who they are, which is root inside; root itself becomes the owner.
            command += ['--preserve-credentials'] if target.own else []
        return [*command, '--']

    def _target(self) -> Target:
        explicit = self.get_option('netns_name')
        holder, own = self._holder()
        base = holder.path(namespace.DIRECTORY) if holder else namespace.DIRECTORY
        if explicit:
            path = explicit if os.path.isabs(explicit) else f'{base}/{explicit}'
        else:
            path = f'{base}/{naming.namespace(self._lab(), self._host())}'
        if not namespace.alive(path):
            raise AnsibleConnectionFailure(self._absence(explicit, base))
        if holder is None and os.geteuid() != 0:
            raise AnsibleConnectionFailure(f'{path} belongs to root: only root can enter it')
        return Target(path, holder, own)

    def _holder(self) -> Tuple[Optional[Holder], bool]:
        """The holder of a rootless lab, and whether the lab is this user's own."""
        user = self.get_option('netns_user')
        uid = _uid(user) if user else os.geteuid()
        own = uid == os.geteuid()
        return (records.find(self._lab(), uid, os.environ) if uid else None), own

    def _lab(self) -> str:
        return str(self.get_option('netns_lab'))

    def _host(self) -> str:
        return str(self.get_option('netns_host') or self._play_context.remote_addr)

    def _absence(self, explicit: Optional[str], base: str) -> str:
        """One line that says what is missing and what there is."""
        if explicit:
            there = ', '.join(namespace.names('', base)) or 'none'
            return f'no network namespace {explicit!r}; there are: {there}'
        found = namespace.names(naming.namespace(self._lab(), ''), base)
        hosts = [name[len(self._lab()) + 1 :] for name in found if namespace.alive(f'{base}/{name}')]
        if not hosts:
            return f'lab {self._lab()!r} is not up for {self._owner()}; returntraffic.net.netns_lab builds it'
        hosts = [host for host in hosts if host != naming.SWITCH]
        return f'lab {self._lab()!r} has no host {self._host()!r}; its hosts are: {", ".join(hosts)}'

    def _owner(self) -> str:
        return f'user {self.get_option("netns_user") or _name(os.geteuid())}'


def _copy(source: str, target: str) -> None:
    """Copy a file by paths of which one leads through a rootless lab's own mounts.

    The parent's way would resolve /proc/PID/root first, and that leads back out of the lab.
    """
    try:
        shutil.copyfile(source, target)
    except FileNotFoundError as error:
        raise AnsibleFileNotFound(f'file or directory does not exist: {error.filename}') from error
    except (OSError, shutil.Error) as error:
        raise AnsibleError(f'failed to copy {source} to {target}: {error}') from error


def _uid(user: Any) -> int:
    try:
        return pwd.getpwnam(str(user)).pw_uid
    except KeyError as error:
        raise AnsibleError(f'netns_user: {str(user)!r}: no such user on this machine') from error


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
