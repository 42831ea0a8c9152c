# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules of this house that no linter knows; `python tests/house.py` prints the figures.

Functions stay short, roles document the defaults they have, and every module is in the action group.
"""

from __future__ import annotations

import ast
import statistics
from pathlib import Path
from typing import Any, Dict, Iterator, List, NamedTuple, Set

import yaml

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ('plugins', 'tests', 'bench', 'roles', 'scripts', 'images')
#: Lines from `def` to the end, docstring included.
LONGEST = 40
MEDIAN = 10


class Function(NamedTuple):
    """One function, where it is and how many lines it has."""

    place: str
    lines: int


def functions(*folders: str) -> List[Function]:
    """Every function and method of the Python files in the folders."""
    files = (path for folder in folders for path in sorted((ROOT / folder).rglob('*.py')))
    return [function for path in files for function in _functions_of(path)]


def _functions_of(path: Path) -> Iterator[Function]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            place = f'{path.relative_to(ROOT)}:{node.lineno} {node.name}'
            yield Function(place, (node.end_lineno or node.lineno) - node.lineno + 1)


def roles() -> List[str]:
    """The names of all roles."""
    return sorted(path.name for path in (ROOT / 'roles').iterdir() if path.is_dir())


def defaults_of(role: str) -> Dict[str, Any]:
    """defaults/main.yml of a role."""
    path = ROOT / 'roles' / role / 'defaults' / 'main.yml'
    return _yaml(path) if path.exists() else {}


def options_of(role: str) -> Dict[str, Any]:
    """The options in meta/argument_specs.yml of a role."""
    specs = _yaml(ROOT / 'roles' / role / 'meta' / 'argument_specs.yml')
    return dict(specs['argument_specs']['main'].get('options', {}))


def modules() -> Set[str]:
    """The names of all modules."""
    return {path.stem for path in (ROOT / 'plugins' / 'modules').glob('*.py')}


def action_group() -> Set[str]:
    """The modules that `module_defaults: group/returntraffic.net.all` reaches."""
    return set(_yaml(ROOT / 'meta' / 'runtime.yml')['action_groups']['all'])


def _yaml(path: Path) -> Dict[str, Any]:
    return dict(yaml.safe_load(path.read_text()) or {})


def figures() -> str:
    """One line on the functions of this project."""
    lengths = [function.lines for function in functions(*FOLDERS)]
    of_plugins = [function.lines for function in functions('plugins')]
    return (
        f'{len(lengths)} functions: median {statistics.median(lengths):g} lines, longest {max(lengths)}; '
        f'{len(of_plugins)} of them in plugins: median {statistics.median(of_plugins):g}, longest {max(of_plugins)}'
    )


if __name__ == '__main__':
    print(figures())
