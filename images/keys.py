# SPDX-License-Identifier: GPL-3.0-or-later
"""Which state of its inputs a unit was made from. Reads files, changes nothing.

A key covers everything of this project that decides what comes out: recipe, files, and the keys of what it is made
from. Debian's packages are those of the day of the build.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Dict, Iterable, Iterator, Tuple, Union

from . import recipes

Unit = Union[recipes.Tools, recipes.Base, recipes.Image]

HERE = Path(__file__).resolve().parent
#: Where the echo server of the project is, and the files of it; the image `echo` has a copy of them.
MODULE_UTILS = HERE.parent / 'plugins' / 'module_utils'
ECHO_SERVER = (
    'errors.py',
    'values.py',
    'kernel/prefixes.py',
    'lab/echo_server.py',
    'lab/echo_sockets.py',
    'lab/echo_spec.py',
)
_LENGTH = 16


def units(source: str) -> Tuple[Unit, ...]:
    """All units, each after those that it is made from. Who pulls needs no programs, but kind."""
    return (*(recipes.TOOLS if source == 'build' else ()), *recipes.BASES, *recipes.IMAGES)


def pulled(unit: Unit, source: str) -> Tuple[str, ...]:
    """The public images that the unit's tags are pulled from; none when it is made."""
    if source == 'build' or isinstance(unit, recipes.Tools):
        return ()
    if isinstance(unit, recipes.Base):
        return (recipes.PUBLIC_BASES[unit.suite],)
    return unit.tags if unit.public else ()


def identity(unit: Unit) -> str:
    """The name of a unit among all: `go-etcd`, `base-trixie`, `image-etcd`."""
    kind = {recipes.Tools: 'go', recipes.Base: 'base', recipes.Image: 'image'}[type(unit)]
    return f'{kind}-{unit.name}'


def made_from(unit: Unit) -> Tuple[str, ...]:
    """Identities of the units that this one is made from."""
    if not isinstance(unit, recipes.Image):
        return ()
    tools = {name for name, _program in unit.programs} | {name for name, _module, _path in unit.sources}
    bases = {value for key, value in unit.arguments if key == 'BASE'}
    images = (*unit.after, *unit.preloaded)
    return (
        *(f'go-{name}' for name in sorted(tools)),
        *(f'base-{name}' for name in sorted(bases)),
        *(f'image-{name}' for name in images),
    )


def files(unit: Unit) -> Iterator[Path]:
    """The files of this project that go into a unit."""
    if isinstance(unit, recipes.Tools):
        yield from (HERE / unit.name / 'go.mod', HERE / unit.name / 'go.sum')
    elif isinstance(unit, recipes.Image):
        yield from _below(HERE / unit.folder)
        if unit.name == 'echo':
            yield from (MODULE_UTILS / name for name in ECHO_SERVER)


def keys(source: str) -> Dict[str, str]:
    """The key of every unit by its identity."""
    found: Dict[str, str] = {}
    for unit in units(source):
        parts = [
            repr(unit._replace(minutes=1)),
            *pulled(unit, source),
            *(f'{path.name} {_digest(path)}' for path in files(unit)),
        ]
        parts += [found[one] for one in made_from(unit) if one in found]
        found[identity(unit)] = _hash(parts)
    return found


def _below(folder: Path) -> Iterator[Path]:
    wanted = (path for path in sorted(folder.rglob('*')) if path.is_file() and '__pycache__' not in path.parts)
    yield from wanted


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _hash(parts: Iterable[str]) -> str:
    return hashlib.sha256('\0'.join(parts).encode()).hexdigest()[:_LENGTH]
