# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Roots with the tools of another Debian release: its iproute2, nft and Python, on any of the kernels.

Made of the release's packages, unpacked and never configured, so no root is needed. Kept in the cache beside the
kernels as ``userlands/RELEASE-HASH``; ``userlands/RELEASE`` links to the newest.
"""

from __future__ import annotations

import hashlib
import subprocess
import tempfile
from pathlib import Path
from typing import Iterable, List, Sequence

from . import debian
from .errors import HarnessError
from .store import Say, cache_folder, locked
from .tools import Tools

# Debian 11: iproute2 5.10, nft 0.9.8, Python 3.9; Debian 12: 6.1, 1.0.6, 3.11; Debian 13: 6.15, 1.1.3, 3.13.
RELEASES = {
    'bullseye': ('bullseye', 'bullseye-security'),
    'bookworm': ('bookworm', 'bookworm-security'),
    'trixie': ('trixie', 'trixie-security'),
}
PACKAGES = (
    'base-files', 'base-passwd', 'bash', 'coreutils', 'dash', 'grep', 'sed', 'util-linux', 'mount', 'procps', 'kmod',
    'iproute2', 'nftables', 'iputils-ping', 'conntrack', 'ethtool', 'python3', 'python3-pytest', 'python3-hypothesis',
)  # fmt: skip
MERGED = ('bin', 'sbin', 'lib', 'lib64')  # links into usr, as every release since Debian 12 has them


def userland(release: str, tools: Tools, say: Say, refresh: bool = False) -> Path:
    """The root of the release from the cache, or made when it is not there or ``refresh`` asks for the newest."""
    if release not in RELEASES:
        raise HarnessError(f'userland: {release!r}: one of {", ".join(RELEASES)}')
    cache = cache_folder().parent / 'userlands'
    cache.mkdir(exist_ok=True)
    with locked(cache):
        link = cache / release
        return link.resolve() if link.is_dir() and not refresh else make(release, link, tools, say)


def make(release: str, link: Path, tools: Tools, say: Say) -> Path:
    """Look the packages up, unpack them unless this set is there, and link the release to it."""
    with tempfile.TemporaryDirectory(dir=str(link.parent), prefix='new-') as temporary:
        apt = debian.PrivateApt(Path(temporary) / 'apt', RELEASES[release])
        say(f'{release}: reading the index of {" ".join(RELEASES[release])}')
        apt.update()
        uris = apt.install_uris(PACKAGES)
        root = link.parent / f'{release}-{content_hash(uris)}'
        if not root.is_dir():
            say(f'{release}: downloading {len(uris)} packages')
            made = finish(unpack(apt.install_download(PACKAGES), Path(temporary) / 'root', tools))
            compile_python(made, sorted(made.glob('usr/lib/python3*')), ['-s', str(made), '-p', '/'])
            made.rename(root)
            say(f'{release}: ready')
    new = link.with_suffix('.new')
    new.symlink_to(root.name)
    new.replace(link)
    return root


def content_hash(uris: Iterable[str]) -> str:
    """Hash of what apt would fetch: lines of address, file name, size and the file's own hash; mirrors do not count."""
    return hashlib.sha256('\n'.join(sorted(uri.split(' ', 1)[1] for uri in uris)).encode()).hexdigest()[:16]


def unpack(packages: Sequence[Path], root: Path, tools: Tools) -> Path:
    """Unpack all into one tree with merged /usr, owned by whoever runs this."""
    for name in MERGED:
        (root / 'usr' / name).mkdir(parents=True)
        (root / name).symlink_to(f'usr/{name}')
    for package in packages:
        extract = ['tar', '-x', '-C', str(root), '--keep-directory-symlink', '--no-same-owner']
        with subprocess.Popen([tools.dpkg_deb, '--fsys-tarfile', str(package)], stdout=subprocess.PIPE) as archive:
            done = subprocess.run(extract, stdin=archive.stdout, capture_output=True, text=True, check=False)
        if done.returncode or archive.returncode:
            raise HarnessError(f'{package.name}: cannot be unpacked: {done.stderr.strip()[-200:]}')
    return root


def finish(root: Path) -> Path:
    """What the packages' scripts would have made: the shell's name, users, mount points."""
    if not (root / 'bin' / 'sh').exists():
        (root / 'bin' / 'sh').symlink_to('dash')
    for name in ('passwd', 'group'):
        (root / 'etc' / name).write_text((root / 'usr/share/base-passwd' / f'{name}.master').read_text())
    for name in ('proc', 'sys', 'dev', 'run', 'tmp', 'root'):
        (root / name).mkdir(exist_ok=True)
    return root


def compile_python(root: Path, folders: Iterable[Path], options: Sequence[str] = ()) -> None:
    """Compile folders by the root's own Python, run here by the root's own loader (ld.so(8)): ten times faster."""
    libraries = root / 'usr' / 'lib' / 'x86_64-linux-gnu'
    loader = [str(libraries / 'ld-linux-x86-64.so.2'), '--library-path', str(libraries)]
    compiler = [str(root / 'usr' / 'bin' / 'python3'), '-m', 'compileall', '-q', *options, *map(str, folders)]
    environment = {'PYTHONHOME': str(root / 'usr'), 'LC_ALL': 'C.UTF-8'}
    subprocess.run(
        [*loader, *compiler], env=environment, capture_output=True, check=False
    )  # what fails costs time only


def names(cache: Path) -> List[str]:
    """Releases that the cache has."""
    return [release for release in RELEASES if (cache.parent / 'userlands' / release).is_dir()]
