# SPDX-License-Identifier: GPL-3.0-or-later
"""What is there already: programs in the cache, images in the Docker daemon and as archives in the cache."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path
from typing import Iterable, Iterator

from . import tools

_LABEL = 'net.returntraffic.key'


def root() -> Path:
    """The cache, outside of the clone: RETURNTRAFFIC_CACHE, or ~/.cache/returntraffic."""
    found = os.environ.get('RETURNTRAFFIC_CACHE') or str(Path.home() / '.cache' / 'returntraffic')
    return Path(found) / 'images'


def programs(identity: str, key: str) -> Path:
    """The folder with the programs of one Go module in one state; it is there as a whole or not at all."""
    return root() / f'{identity}-{key}'


def archive(identity: str, key: str) -> Path:
    """The `docker save` of one image in one state."""
    return root() / f'{identity}-{key}.tar'


def log(identity: str) -> Path:
    """Where the tools' outputs of the latest build go."""
    path = root() / 'logs' / f'{identity}.log'
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def label(key: str) -> str:
    """The label by which an image in the daemon tells what it was made from."""
    return f'{_LABEL}={key}'


def in_daemon(tags: Iterable[str], key: str) -> bool:
    """Whether the daemon has this very state under all the tags."""
    template = '{{ index .Config.Labels "' + _LABEL + '" }}'
    found = [_inspect(tag, template) for tag in tags]
    return bool(found) and all(one == key for one in found)


def pulled(tags: Iterable[str]) -> bool:
    """Whether the daemon has images of these names, whatever they are."""
    return all(tools.succeeds('docker', 'image', 'inspect', tag) for tag in tags)


def _inspect(tag: str, template: str) -> str:
    if not tools.succeeds('docker', 'image', 'inspect', tag):
        return ''
    return tools.run('docker', 'image', 'inspect', '--format', template, tag).strip()


def load(path: Path, identity: str) -> None:
    """From the cache into the daemon."""
    tools.run('docker', 'load', '--quiet', '--input', str(path), log=log(identity))


def save(path: Path, tags: Iterable[str], identity: str) -> None:
    """From the daemon into the cache, as a whole or not at all."""
    partial = path.with_suffix('.partial')
    tools.run('docker', 'save', '--output', str(partial), *tags, log=log(identity))
    partial.rename(path)


@contextlib.contextmanager
def alone(identity: str) -> Iterator[None]:
    """Nobody else on this machine makes the unit meanwhile."""
    with log(identity).with_suffix('.lock').open('w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
