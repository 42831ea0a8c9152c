# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes one unit, from inputs that are there. Only what comes out as a whole is kept."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
import uuid
from pathlib import Path
from typing import Dict, Iterator, Tuple

from . import keys, recipes, store, tools

#: Others use this machine, too.
_NICE = ('nice', '-n', '10')
_ENTRYPOINT = 'ENTRYPOINT ["/usr/local/bin/entrypoint", "/sbin/init"]'


def tags_of(unit: keys.Unit) -> Tuple[str, ...]:
    """The names in the Docker daemon; none for programs."""
    if isinstance(unit, recipes.Base):
        return (f'returntraffic/debian:{unit.suite}',)
    return unit.tags if isinstance(unit, recipes.Image) else ()


def make(unit: keys.Unit, known: Dict[str, str]) -> None:
    """Make `unit`; `known` has the keys of all units."""
    key = known[keys.identity(unit)]
    if isinstance(unit, recipes.Tools):
        _make_programs(unit, store.programs(keys.identity(unit), key))
    elif isinstance(unit, recipes.Base):
        _make_base(unit, key)
    else:
        _make_image(unit, key, known)


def pull(unit: keys.Unit, sources: Tuple[str, ...]) -> None:
    """Public images, under the unit's tags."""
    log = store.log(keys.identity(unit))
    for source, tag in zip(sources, tags_of(unit)):
        tools.run('docker', 'pull', '--quiet', source, log=log)
        tools.run('docker', 'tag', source, tag, log=log)


def _make_programs(unit: recipes.Tools, target: Path) -> None:
    """All tools of a module's go.mod, static, without anything of this machine in them."""
    tools.require('go')
    flags = ' '.join(['-s -w', *(f'-X {name}={value}' for name, value in unit.variables)])
    with _scratch() as folder:
        tools.run(
            *_NICE, 'go', 'build', '-mod=readonly', '-trimpath', '-buildvcs=false', '-ldflags', flags,
            '-o', f'{folder}/', 'tool',
            folder=keys.HERE / unit.name,
            environment={'CGO_ENABLED': '0', 'GOFLAGS': ''},
            log=store.log(keys.identity(unit)),
        )  # fmt: skip
        if unit.name == 'etcd' and (folder / 'server').exists():
            (folder / 'server').rename(folder / 'etcd')  # the module's main package is its root, `server`
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(folder, target)
        folder.mkdir()  # for the end of _scratch


def _make_base(unit: recipes.Base, key: str) -> None:
    tools.require('mmdebstrap')
    log = store.log(keys.identity(unit))
    with _scratch() as folder:
        system = folder / 'system.tar'
        tools.run(
            *_NICE, 'mmdebstrap', '--quiet', '--variant=minbase', '--include=ca-certificates', unit.suite, str(system),
            log=log,
        )  # fmt: skip
        label = f'LABEL {store.label(key)}'
        tools.run('docker', 'import', '--change', label, str(system), tags_of(unit)[0], log=log)


def _make_image(unit: recipes.Image, key: str, known: Dict[str, str]) -> None:
    log = store.log(keys.identity(unit))
    with _scratch() as folder:
        _fill_context(unit, folder, known)
        arguments = [f'--build-arg={name}={_argument(name, value)}' for name, value in unit.arguments]
        first = f'{unit.tags[0]}-bare' if unit.preloaded else unit.tags[0]
        tools.run(
            *_NICE, 'docker', 'build', '--network', 'host', '--label', store.label(key), '--tag', first, *arguments,
            str(folder), environment={'DOCKER_BUILDKIT': '0'}, log=log,
        )  # fmt: skip
    if unit.preloaded:
        _preload(unit, first, log)
        tools.run('docker', 'image', 'rm', first, log=log)
    for tag in unit.tags[1:]:
        tools.run('docker', 'tag', unit.tags[0], tag)


def _argument(name: str, value: str) -> str:
    bases = {base.name: tags_of(base)[0] for base in recipes.BASES}
    return bases[value] if name == 'BASE' else value


def _fill_context(unit: recipes.Image, folder: Path, known: Dict[str, str]) -> None:
    shutil.copytree(keys.HERE / unit.folder, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns('__pycache__'))
    (folder / 'bin').mkdir(exist_ok=True)
    for name, program in unit.programs:
        identity = f'go-{name}'
        shutil.copy2(store.programs(identity, known[identity]) / program, folder / 'bin' / program)
    for name, module, path in unit.sources:
        shutil.copytree(module_folder(name, module) / path, folder / 'module', copy_function=_copy)
    if unit.name == 'echo':
        for name in keys.ECHO_SERVER:
            (folder / 'module_utils' / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(keys.MODULE_UTILS / name, folder / 'module_utils' / name)


def _copy(source: str, target: str) -> None:
    """Go's cache is read-only and tells nothing of modes: scripts can be run, nothing else."""
    shutil.copyfile(source, target)
    os.chmod(target, 0o755 if source.endswith('.sh') else 0o644)


def module_folder(name: str, module: str) -> Path:
    """Where Go keeps the sources of a module that images/<name>/go.mod asks for; fetched when they are not there."""
    tools.require('go')
    folder = keys.HERE / name
    version = tools.run('go', 'list', '-m', '-f', '{{ .Version }}', module, folder=folder, environment={'GOFLAGS': ''})
    found = tools.run('go', 'mod', 'download', '-json', f'{module}@{version.strip()}', folder=folder)
    return Path(json.loads(found)['Dir'])


def _preload(unit: recipes.Image, image: str, log: Path) -> None:
    """Put images into the node's containerd, as kind does: in a container that is then committed."""
    by_name = {one.name: one for one in recipes.IMAGES}
    tags = [tag for name in unit.preloaded for tag in by_name[name].tags]
    container = f'returntraffic-images-{uuid.uuid4().hex[:8]}'
    tools.run('docker', 'run', '--detach', '--name', container, '--entrypoint', 'sleep',
              '--security-opt', 'seccomp=unconfined', image, 'infinity', log=log)  # fmt: skip
    try:
        tools.run('docker', 'exec', '--detach', container, 'containerd', log=log)
        wait = 'for i in $(seq 300); do ctr version >/dev/null 2>&1 && exit; sleep 0.1; done; exit 1'
        tools.run('docker', 'exec', container, 'sh', '-c', wait, log=log)
        importer = ('ctr', '--namespace', 'k8s.io', 'images', 'import', '--no-unpack', '--digests', '-')
        tools.pipe(('docker', 'save', *tags), ('docker', 'exec', '--interactive', container, *importer), log)
        tools.run('docker', 'exec', container, 'pkill', 'containerd', log=log)
        tools.run('docker', 'commit', '--change', _ENTRYPOINT, container, unit.tags[0], log=log)
    finally:
        tools.run('docker', 'rm', '--force', '--volumes', container, log=log)


@contextlib.contextmanager
def _scratch() -> Iterator[Path]:
    """A folder on the cache's file system, gone afterwards."""
    store.root().mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix='making-', dir=store.root()))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
