# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a module the way Ansible does (a process, arguments on stdin, JSON back) inside a namespace."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any, Dict, List

from namespaces import Namespace

_COLLECTIONS = Path(__file__).resolve().parent.parent / 'playbooks' / 'collections'

# AnsibleModule of core 2.19 reads its arguments from this place when it was not wrapped in an archive.
_START = """
import runpy, sys
from ansible.module_utils import basic
basic._ANSIBLE_ARGS = sys.stdin.buffer.read()
basic._ANSIBLE_PROFILE = 'legacy'
runpy.run_module('ansible_collections.returntraffic.net.plugins.modules.' + sys.argv[1], run_name='__main__')
"""


def module_command(name: str) -> List[str]:
    """The process that is a module of ours; it takes `module_arguments` on stdin.

    A Python without Ansible of its own (tests/kernels/jobs.py, userlands) is told by PYTHONPATH where some is.
    """
    path = os.pathsep.join(filter(None, [str(_COLLECTIONS), os.environ.get('PYTHONPATH')]))
    return ['env', f'PYTHONPATH={path}', sys.executable, '-c', _START, name]


def module_arguments(check: bool = False, diff: bool = True, **options: Any) -> str:
    """What Ansible would send to a module."""
    internals = {'_ansible_check_mode': check, '_ansible_diff': diff, '_ansible_remote_tmp': '/tmp'}
    return json.dumps({'ANSIBLE_MODULE_ARGS': {**options, **internals}})


def run_module(namespace: Namespace, name: str, check: bool = False, **options: Any) -> Dict[str, Any]:
    """The module's answer; `failed` is in it when it failed. A traceback is an AssertionError."""
    done = namespace.process(*module_command(name), stdin=module_arguments(check, **options))
    assert 'Traceback' not in done.stdout + done.stderr, done.stdout + done.stderr
    answer: Dict[str, Any] = json.loads(done.stdout)
    assert (done.returncode != 0) == bool(answer.get('failed')), (done.returncode, answer)
    return answer
