# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kernel modules: what a module needs, and in which order to load it. Pure functions on depmod's files.

Formats: modules.dep(5); modules.builtin has one path per line.
"""

from __future__ import annotations

from typing import Dict, Iterable, List, Set

from .errors import HarnessError

Dependencies = Dict[str, List[str]]


def module_name(path: str) -> str:
    """Name of the module in a path: ``kernel/net/9p/9pnet-virtio.ko.xz`` is ``9pnet_virtio``."""
    return path.rsplit('/', 1)[-1].split('.ko', 1)[0].replace('-', '_')


def parse_dependencies(text: str) -> Dependencies:
    """Read modules.dep into {name: [its own path, then the paths it needs]}, in the order of the file."""
    pairs = (line.partition(':') for line in text.splitlines() if ':' in line)
    return {module_name(path): [path, *needs.split()] for path, _colon, needs in pairs}


def parse_builtin(text: str) -> Set[str]:
    """Read modules.builtin into the names of what is in the kernel image itself."""
    return {module_name(line) for line in text.splitlines() if line.strip()}


def load_order(wanted: Iterable[str], dependencies: Dependencies, builtin: Set[str]) -> List[str]:
    """Paths of all modules that ``wanted`` needs, each after what it needs itself; built-in ones are left out.

    A line of modules.dep names what must be there first last (depmod writes it for modprobe, which reads it from the
    end). HarnessError names the modules that the kernel has neither built in nor as a file.
    """
    names = [module_name(name) for name in wanted]
    missing = [name for name in names if name not in dependencies and name not in builtin]
    if missing:
        raise HarnessError(f'the kernel lacks the modules {", ".join(missing)}')
    paths = [path for name in names for path in reversed(dependencies.get(name, []))]
    return list(dict.fromkeys(paths))
