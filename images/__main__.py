# SPDX-License-Identifier: GPL-3.0-or-later
"""`python3 -m images`: say what there is, have what is missing.

    python3 -m images plan            every unit as JSON: what it is called, whether it is there, minutes to make it
    python3 -m images make [NAME ...] have these units and what they need (none named: all), a line for each
    python3 -m images where NAME      the folder of a module's programs (go-...), or of its sources (source-...)

With --pull, public images are pulled and the rest is made from them; with --build (default) all is made.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Dict, List, Sequence

from . import keys, recipes, store, tools, workshop
from .errors import ImagesError


def state(unit: keys.Unit, key: str, source: str) -> str:
    """present: nothing to do; cached: to be loaded; missing: to be made or pulled."""
    identity = keys.identity(unit)
    if keys.pulled(unit, source):
        return 'present' if store.pulled(workshop.tags_of(unit)) else 'missing'
    if isinstance(unit, recipes.Tools):
        return 'present' if store.programs(identity, key).is_dir() else 'missing'
    if store.in_daemon(workshop.tags_of(unit), key):
        return 'present'
    return 'cached' if store.archive(identity, key).is_file() else 'missing'


def plan(source: str) -> List[Dict[str, object]]:
    """One entry a unit, in the order in which they are made."""
    known = keys.keys(source)
    return [
        {
            'name': keys.identity(unit),
            'tags': list(workshop.tags_of(unit)),
            'state': state(unit, known[keys.identity(unit)], source),
            'minutes': unit.minutes,
        }
        for unit in keys.units(source)
    ]


def ensure(unit: keys.Unit, known: Dict[str, str], source: str) -> None:
    """Have one unit whose inputs are there, and say what was done. Who makes the same one meanwhile is waited for."""
    with store.alone(keys.identity(unit)):
        _ensure(unit, known, source)


def _ensure(unit: keys.Unit, known: Dict[str, str], source: str) -> None:
    identity, started = keys.identity(unit), time.monotonic()
    key = known[identity]
    found = state(unit, key, source)
    if found == 'present':
        print(f'{identity}: present', flush=True)
        return
    if found == 'cached':
        store.load(store.archive(identity, key), identity)
    else:
        print(f'{identity}: making, about {unit.minutes:g} min', flush=True)
        store.log(identity).unlink(missing_ok=True)
        _make(unit, known, source)
    print(f'{identity}: {"loaded" if found == "cached" else "made"} in {time.monotonic() - started:.0f} s', flush=True)


def _make(unit: keys.Unit, known: Dict[str, str], source: str) -> None:
    public = keys.pulled(unit, source)
    if public:
        workshop.pull(unit, public)
        return
    workshop.make(unit, known)
    identity, tags = keys.identity(unit), workshop.tags_of(unit)
    if tags:
        store.save(store.archive(identity, known[identity]), tags, identity)


def wanted(names: Sequence[str], source: str) -> List[keys.Unit]:
    """The named units and what they are made from, in order."""
    by_name = {keys.identity(unit): unit for unit in keys.units(source)}
    unknown = sorted(set(names) - set(by_name))
    if unknown:
        raise ImagesError(f'no such unit: {", ".join(unknown)}; there are: {", ".join(by_name)}')
    chosen = set(names or by_name)
    for identity, unit in reversed(list(by_name.items())):
        if identity in chosen:
            chosen.update(keys.made_from(unit))
    return [unit for identity, unit in by_name.items() if identity in chosen]


def where(name: str) -> str:
    """The programs of `go-...`; the sources of the first module in recipes for `source-...`."""
    if name.startswith('source-'):
        pairs = {tool: module for image in recipes.IMAGES for tool, module, _path in image.sources}
        tool = name[len('source-') :]
        if tool not in pairs:
            raise ImagesError(
                f'no such source: {name}; there are: {", ".join("source-" + one for one in sorted(pairs))}'
            )
        return str(workshop.module_folder(tool, pairs[tool]))
    wanted([name], 'build')
    return str(store.programs(name, keys.keys('build')[name]))


def run(command: str, names: Sequence[str], source: str) -> None:
    """One command of the line; ImagesError when it cannot be done."""
    if command == 'where':
        print('\n'.join(where(name) for name in names))
        return
    tools.require('docker')
    tools.run('docker', 'version', '--format', '{{ .Server.Version }}')
    if command == 'plan':
        print(json.dumps(plan(source)))
        return
    known = keys.keys(source)
    for unit in wanted(names, source):
        ensure(unit, known, source)


def main(arguments: Sequence[str]) -> int:
    source = 'pull' if '--pull' in arguments else 'build'
    words = [word for word in arguments if word not in ('--pull', '--build')]
    if not words or words[0] not in ('plan', 'make', 'where'):
        print(__doc__)
        return 0 if words == ['--help'] else 2
    try:
        run(words[0], words[1:], source)
    except ImagesError as problem:
        print(problem, file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
