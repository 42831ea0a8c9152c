# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A whole lab for tests: built and taken away by the project's own playbooks, its data read from its inventory."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Dict, List, Optional, Type

from ansible_collections.returntraffic.net.plugins.module_utils.proof.spec import TIMEOUT, Flow, expand
from modules import run_module
from namespaces import Namespace

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent

#: What a flow may take. An emulated processor needs more than a real one: `make test-kernels` says how much.
FLOW_SECONDS = float(os.environ.get('RETURNTRAFFIC_FLOW_SECONDS', TIMEOUT))

#: Everything that a policy could have touched, read with the distribution's tools and not with ours.
STATE = (
    # An interface that was down for a moment lists its IPv6 addresses and routes in another order.
    'ip -o address | sort',
    'ip -o -4 route show table all | sort',
    'ip -o -6 route show table all | sort',
    'ip -br link | sort',
    'ip -j -4 rule',
    'ip -j -6 rule',
    'nft -j list ruleset',
    'grep -r . /proc/sys/net/ipv4/conf/*/rp_filter /proc/sys/net/ipv4/conf/*/src_valid_mark',
    'sysctl net.ipv4.ip_forward net.ipv4.fwmark_reflect net.ipv4.tcp_fwmark_accept net.ipv6.fwmark_reflect',
    'sysctl -a --pattern "l3mdev_accept|keep_addr_on_down"',
)
_BORDER = '-- next --'
#: Two labs of one process can be up at once.
_COUNTER = itertools.count()


def ansible(*words: str, inventory: Path = ROOT / 'inventory/bare') -> str:
    """Standard output of an Ansible command run from the project's root; AssertionError when it fails."""
    done = ansible_process(*words, inventory=inventory)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def ansible_process(*words: str, inventory: Path = ROOT / 'inventory/bare') -> subprocess.CompletedProcess[str]:
    """The finished process of an Ansible command, whatever became of it."""
    return subprocess.run(
        [str(BIN / words[0]), '-i', str(inventory), *words[1:]],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        env={**os.environ, 'ANSIBLE_NOCOLOR': '1', 'ANSIBLE_CONFIG': str(ROOT / 'ansible.cfg')},
    )


class Lab:
    """One lab under a name of its own, up between `with` and its end."""

    def __init__(self, inventory: Path = ROOT / 'inventory/bare', **variables: Any) -> None:
        self.name = f'rt{os.getpid()}x{next(_COUNTER)}'
        self.inventory = inventory
        self.variables = {'lab_name': self.name, **variables}

    def __enter__(self) -> Lab:
        self.play('lab.yml')
        self.data = self._variables()
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.play('down.yml')

    def play(self, playbook: str, *words: str, **variables: Any) -> str:
        """Run a playbook of the project on this lab."""
        extra = json.dumps({**self.variables, **variables})
        return ansible('ansible-playbook', f'playbooks/{playbook}', '-e', extra, *words, inventory=self.inventory)

    def _variables(self) -> Dict[str, Any]:
        """What the inventory says of the node, templates resolved."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / 'variables.json'
            extra = json.dumps({**self.variables, 'variables_path': str(path)})
            ansible('ansible-playbook', 'tests/hostvars.yml', '-e', extra, inventory=self.inventory)
            found: Dict[str, Any] = json.loads(path.read_text())
        return found

    def host(self, name: str) -> Namespace:
        """The namespace of a lab host."""
        return Namespace(f'{self.name}-{name}')

    @property
    def node(self) -> Namespace:
        """The namespace of the host whose replies matter."""
        return self.host('node')

    def intent(self, variant: str, **changes: Any) -> Dict[str, Any]:
        """The policy of the lab's inventory with another strategy; 'vrf-source-veth' is vrf, its selector, and veth."""
        strategy, *rest = variant.split('-')
        if rest:
            changes = {'selector': rest[0], 'veth': 'veth' in rest, **changes}
        names = ('networks', 'services', 'exclude')
        return {'strategy': strategy, **{name: self.data[f'node_{name}'] for name in names}, **changes}

    def apply(self, variant: str, **changes: Any) -> Dict[str, Any]:
        """Give the node a policy; AssertionError with the module's message when it is refused."""
        answer = run_module(self.node, 'return_policy', **self.intent(variant, **changes))
        assert not answer.get('failed'), answer['msg']
        return answer

    def set_rp_filter(self, value: str) -> None:
        """rp_filter of the whole node; the interfaces' own stay 0, so that the larger one counts."""
        self.node.run('sysctl', '-qw', f'net.ipv4.conf.all.rp_filter={value}')

    def forget_path_mtu(self) -> None:
        """Let node and pods learn the paths' MTU anew: the kernel keeps it ten minutes, in routes that outlive us."""
        for name in ('node', 'pod1', 'pod2'):
            host = self.host(name)
            host.run('ip', '-4', 'route', 'flush', 'cache')
            for line in host.run('ip', '-6', 'route', 'show', 'default').splitlines():
                # What IPv6 has learned hangs on the route; a new one in its place has learned nothing.
                host.run('ip', '-6', 'route', 'replace', *line.split(' pref ')[0].split())

    def absent(self) -> Dict[str, Any]:
        """Take the node's policy away."""
        return run_module(self.node, 'return_policy', state='absent')

    def flows(self, *targets: str) -> List[Flow]:
        """The flows of proof_targets_<name> of the inventory, of all clients."""
        wanted = [target for name in targets for target in self.data[f'proof_targets_{name}']]
        return [flow for client in self.data['proof_clients'] for flow in expand(client['name'], wanted, FLOW_SECONDS)]

    @property
    def clients(self) -> Dict[str, Namespace]:
        """The namespaces of the clients that the proof knows."""
        return {client['name']: self.host(client['name']) for client in self.data['proof_clients']}


def has_vrf(namespace: Namespace) -> bool:
    """Whether this kernel can make a VRF. To try it also makes the l3mdev rule, which the kernel never takes back."""
    if namespace.process('ip', 'link', 'add', 'vrf-probe', 'type', 'vrf', 'table', '9').returncode:
        return False
    namespace.run('ip', 'link', 'del', 'vrf-probe')
    return True


def state_of(namespace: Namespace) -> List[str]:
    """The state of a host as text; two equal lists are two equal hosts. One shell, as an emulated processor is slow."""
    return namespace.run('sh', '-ec', f'\necho {_BORDER}\n'.join(STATE)).split(_BORDER)
