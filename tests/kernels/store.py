# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cache of unpacked kernels. A kernel that is in it costs no look at the archive.

``$RETURNTRAFFIC_CACHE`` or ``~/.cache/returntraffic``, then ``kernels``: ``NAME.json`` says which kernel the name
stands for, ``VERSION-HASH/`` holds it (image, lib/modules, one initramfs per builder); HASH is of the packages' SHA256.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import tempfile
import time
from pathlib import Path
from typing import Callable, Iterator, List, NamedTuple, Sequence

from . import debian, initramfs
from .catalogue import Kernel
from .errors import HarnessError
from .tools import Tools

Say = Callable[[str], None]


class Stored(NamedTuple):
    """A kernel ready to boot."""

    folder: Path
    release: str  # as uname -r says
    version: str  # of the Debian package

    @property
    def image(self) -> Path:
        """The kernel's image."""
        return self.folder / 'vmlinuz'

    @property
    def modules(self) -> Path:
        """Folder with modules.dep."""
        return self.folder / 'lib' / 'modules' / self.release


def cache_folder() -> Path:
    """Where the kernels are kept; made when missing."""
    top = os.environ.get('RETURNTRAFFIC_CACHE') or Path.home() / '.cache' / 'returntraffic'
    folder = (Path(top) / 'kernels').absolute()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextlib.contextmanager
def locked(cache: Path) -> Iterator[None]:
    """One process at a time fills the cache."""
    with (cache / 'lock').open('w') as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def stored(cache: Path, kernel: Kernel) -> Stored | None:
    """The kernel that the cache has under this name, if it has one."""
    record = cache / f'{kernel.name}.json'
    if not record.exists():
        return None
    values = json.loads(record.read_text())
    found = Stored(cache / values['folder'], values['release'], values['version'])
    return found if found.folder.is_dir() else None


def obtain(kernel: Kernel, tools: Tools, say: Say, refresh: bool = False) -> Stored:
    """The kernel from the cache, or from the archive when it is not there or ``refresh`` asks for the newest."""
    cache = cache_folder()
    with locked(cache):
        found = None if refresh else stored(cache, kernel)
        return found or fetch(cache, kernel, tools, say)


def fetch(cache: Path, kernel: Kernel, tools: Tools, say: Say) -> Stored:
    """Look the kernel up in the archive, unpack it unless this version is there, and note it under its name."""
    with tempfile.TemporaryDirectory(dir=str(cache), prefix='apt-') as temporary:
        apt = debian.PrivateApt(Path(temporary), kernel.suites)
        say(f'{kernel.name}: reading the index of {" ".join(kernel.suites)}')
        apt.update()
        packages = debian.kernel_packages(apt.show)
        folder = cache / folder_name(packages)
        if not folder.is_dir():
            unpack(apt, packages, folder, tools, say)
    return noted(cache, kernel, folder, packages)


def folder_name(packages: Sequence[debian.Package]) -> str:
    """VERSION-HASH of these packages."""
    digest = hashlib.sha256(''.join(package.sha256 for package in packages).encode()).hexdigest()
    return re.sub(r'[^\w.+-]', '_', f'{packages[0].version}-{digest[:16]}')


def unpack(apt: debian.PrivateApt, packages: Sequence[debian.Package], folder: Path, tools: Tools, say: Say) -> None:
    """Download and unpack into the folder, which appears only when it is complete."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(dir=str(folder.parent), prefix='new-') as temporary:
        downloads, tree = Path(temporary) / 'deb', Path(temporary) / 'tree'
        downloads.mkdir()
        megabytes = sum(package.size for package in packages) / 1e6
        say(f'{packages[0].version}: downloading {len(packages)} packages, {megabytes:.0f} MB')
        for file in apt.download(packages, downloads):
            say(f'{packages[0].version}: unpacking {file.name}')
            debian.run([tools.dpkg_deb, '-x', str(file), str(tree)])
        arrange(tree, tools).rename(folder)
    say(f'{packages[0].version}: ready after {time.monotonic() - started:.0f} s')


def arrange(tree: Path, tools: Tools) -> Path:
    """Keep the image and the modules of an unpacked kernel, with modules.dep made. Returns the folder they are in."""
    top = tree / 'usr' if (tree / 'usr' / 'lib' / 'modules').is_dir() else tree  # Debian 13 has no /lib of its own
    kept = tree / 'kept'
    (kept / 'lib').mkdir(parents=True)
    modules = (top / 'lib' / 'modules').rename(kept / 'lib' / 'modules')
    release = next(modules.iterdir()).name
    places = (tree / 'boot' / f'vmlinuz-{release}', modules / release / 'vmlinuz')  # the second one from 7.x on
    images = [file for file in places if file.exists()]
    if not images or not (modules / release / 'modules.builtin').exists():
        raise HarnessError(f'the packages of {release} hold no kernel image or no modules.builtin')
    shutil.copyfile(str(images[0]), str(kept / 'vmlinuz'))
    debian.run([tools.depmod, '-b', str(kept), release])
    return kept


def noted(cache: Path, kernel: Kernel, folder: Path, packages: List[debian.Package]) -> Stored:
    """Write NAME.json."""
    result = Stored(folder, next((folder / 'lib' / 'modules').iterdir()).name, packages[0].version)
    values = {'folder': folder.name, 'release': result.release, 'version': result.version}
    new = cache / f'{kernel.name}.json.new'
    new.write_text(json.dumps({**values, 'packages': [package._asdict() for package in packages]}, indent=2) + '\n')
    new.replace(cache / f'{kernel.name}.json')
    return result


def initramfs_for(kernel: Stored, tools: Tools) -> Path:
    """The initramfs for this kernel, built when the cache has none by this builder."""
    file = kernel.folder / f'initramfs-{initramfs.builder_hash(Path(tools.busybox))}.cpio'
    with locked(kernel.folder.parent):
        if not file.exists():
            new = file.with_suffix('.new')
            new.write_bytes(initramfs.build(kernel.modules, Path(tools.busybox)))
            new.replace(file)
    return file
