# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The OCI runtime that asks for no capability which this machine lacks, with a runc that only says what it got."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from typing import Any, Dict, List

import pytest

SCRIPT = Path(__file__).resolve().parent.parent.parent / 'scripts/runc-within-bounds'


@pytest.fixture(scope='module')
def runtime() -> Any:
    """The script as a module; it has no suffix by which Python would know it."""
    loader = SourceFileLoader('runc_within_bounds', str(SCRIPT))
    spec = spec_from_loader('runc_within_bounds', loader)
    assert spec is not None
    module = module_from_spec(spec)
    loader.exec_module(module)
    return module


def test_what_is_missing_from_the_bounds_is_left_out(runtime: Any) -> None:
    asked = {'bounding': ['CAP_CHOWN', 'CAP_SYS_RESOURCE', 'CAP_BPF'], 'ambient': []}
    without_resource = (1 << 41) - 1 & ~(1 << 24)
    assert runtime.bounded(asked, without_resource) == {'bounding': ['CAP_CHOWN', 'CAP_BPF'], 'ambient': []}
    assert runtime.bounded(asked, 1) == {'bounding': ['CAP_CHOWN'], 'ambient': []}


def test_options_are_read_in_both_forms(runtime: Any) -> None:
    arguments = ['--root', '/run', 'create', '--bundle', '/b', '--pid-file=/p', 'name']
    assert runtime.option(arguments, '--bundle', '-b') == '/b'
    assert runtime.option(arguments, '--pid-file') == '/p'
    assert runtime.option(arguments, '--process') is None


def run(tmp_path: Path, *arguments: str) -> List[str]:
    """What the pretended runc was called with."""
    pretender = tmp_path / 'runc'
    pretender.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    pretender.chmod(0o755)
    path = f'{tmp_path}:{os.environ["PATH"]}'
    command = [sys.executable, '-I', str(SCRIPT), *arguments]
    done = subprocess.run(command, env={'PATH': path}, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_a_container_is_made_with_what_there_is_and_everything_else_as_asked(tmp_path: Path) -> None:
    asked: Dict[str, Any] = {'process': {'capabilities': {'bounding': ['CAP_NONE_SUCH']}, 'args': ['x']}, 'root': {}}
    (tmp_path / 'config.json').write_text(json.dumps(asked))
    arguments = ['--log', 'l', 'create', '--bundle', str(tmp_path), 'id']
    assert run(tmp_path, *arguments) == arguments
    asked['process']['capabilities']['bounding'] = []
    assert json.loads((tmp_path / 'config.json').read_text()) == asked


def test_a_process_that_joins_is_treated_alike(tmp_path: Path) -> None:
    process = tmp_path / 'process.json'
    process.write_text(json.dumps({'capabilities': {'effective': ['CAP_NONE_SUCH']}, 'cwd': '/'}))
    run(tmp_path, 'exec', '--process', str(process), '--detach', 'id')
    assert json.loads(process.read_text()) == {'capabilities': {'effective': []}, 'cwd': '/'}


def test_other_commands_pass_untouched(tmp_path: Path) -> None:
    assert run(tmp_path, 'kill', '--all', 'id', '9') == ['kill', '--all', 'id', '9']
