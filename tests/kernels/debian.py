# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fetch kernel packages from the Debian archive with apt, apart from the machine's own apt state.

The mirror is the one in the machine's own apt sources, and so are the settings (proxies, certificates). Packages are
trusted as apt trusts them: the archive's signature, by debian-archive-keyring, over the index that holds their SHA256.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Callable, Dict, Iterable, List, NamedTuple, Sequence

from .errors import HarnessError

METAPACKAGE = 'linux-image-amd64'
KEYRING = Path('/usr/share/keyrings/debian-archive-keyring.gpg')
INDEX_FORMAT = '$(REPO_URI)|$(RELEASE)|$(COMPONENT)|$(ORIGIN)'
SUITES = r'(?:buster|bullseye|bookworm|trixie|forky|duke|oldstable|stable|testing|unstable|sid)'
INSTALL = ('apt-get', 'install', '--yes', '--no-install-recommends')


class Mirror(NamedTuple):
    """Addresses of the Debian archive and of its security archive ('' where the machine has none)."""

    main: str
    security: str


class Package(NamedTuple):
    """A package of the archive; the hash is the one of the signed index."""

    name: str
    version: str
    sha256: str
    size: int  # bytes


def mirror_of(targets: str) -> Mirror:
    """The mirror in ``apt-get indextargets`` (lines of INDEX_FORMAT); the origin is empty before the first update."""
    rows = [line.split('|') for line in targets.splitlines() if line.count('|') == 3]
    debian = [(uri, release) for uri, release, component, origin in rows if component == 'main' and debian_like(origin)]
    main = [uri for uri, release in debian if re.fullmatch(SUITES, release)]
    security = [uri for uri, release in debian if re.fullmatch(SUITES + r'(?:-security|/updates)', release)]
    if not main:
        raise HarnessError("apt sources: no suite of Debian among the machine's own, so no mirror to take kernels from")
    return Mirror(main[0], security[0] if security else '')


def debian_like(origin: str) -> bool:
    """Whether apt takes the repository for Debian's; before an update it cannot tell, the signature will."""
    return origin in ('Debian', '', '$(ORIGIN)')


def sources_list(mirror: Mirror, suites: Iterable[str]) -> str:
    """Text of a sources.list for the suites; those of security are left out where the mirror has none."""
    pairs = [(mirror.security if suite.endswith('-security') else mirror.main, suite) for suite in suites]
    return ''.join(f'deb [arch=amd64 signed-by={KEYRING}] {uri} {suite} main\n' for uri, suite in pairs if uri)


def apt_conf(folder: Path, machine: str) -> str:
    """Text of an apt.conf that keeps apt in ``folder``. ``machine`` is the output of ``apt-config dump Acquire``.

    The machine's hooks and index kinds stay outside; unsigned archives are refused whatever the machine allows.
    """
    own = [line for line in machine.splitlines() if re.match(r'Acquire::(?!IndexTargets|Languages)\S+ ".+";$', line)]
    return '\n'.join(
        [
            *own,
            'Acquire::AllowInsecureRepositories "false";',
            'Acquire::AllowWeakRepositories "false";',
            'APT::Get::AllowUnauthenticated "false";',
            'Acquire::Languages "none";',
            'APT::Sandbox::User "";',
            *(f'Dir::{key} "{folder / value}";' for key, value in FOLDERS.items()),
            '',
        ]
    )


FOLDERS = {
    'State': 'state',
    'State::Lists': 'lists',
    'State::status': 'status',
    'Cache': 'cache',
    'Etc::main': 'none',
    'Etc::parts': 'none.d',
    'Etc::sourcelist': 'sources.list',
    'Etc::sourceparts': 'none.d',
    'Etc::preferences': 'none',
    'Etc::preferencesparts': 'none.d',
}


class PrivateApt:
    """apt with its own state in a folder, for one list of suites."""

    def __init__(self, folder: Path, suites: Sequence[str]) -> None:
        self.folder = folder
        self.environment = {**os.environ, 'APT_CONFIG': str(folder / 'apt.conf'), 'LC_ALL': 'C'}
        for name in ('state', 'lists/partial', 'cache/archives/partial', 'none.d'):
            (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / 'status').touch()
        targets = run(['apt-get', 'indextargets', '--format', INDEX_FORMAT, 'Created-By: Packages'])
        (folder / 'sources.list').write_text(sources_list(mirror_of(targets), suites))
        (folder / 'apt.conf').write_text(apt_conf(folder, run(['apt-config', 'dump', 'Acquire'])))

    def update(self) -> None:
        """Read the indexes; a signature that does not verify is an error."""
        run(['apt-get', 'update', '--error-on=any', '-q'], self.environment)

    def show(self, package: str) -> Dict[str, str]:
        """The candidate's fields."""
        return fields(run(['apt-cache', 'show', '--no-all-versions', package], self.environment))

    def download(self, packages: Sequence[Package], folder: Path) -> List[Path]:
        """Fetch packages into the folder; apt verifies them against the index."""
        wanted = [f'{package.name}={package.version}' for package in packages]
        run(['apt-get', 'download', '-q', *wanted], self.environment, folder)
        return sorted(folder.glob('*.deb'))

    def install_uris(self, packages: Sequence[str]) -> List[str]:
        """Lines ``'address' file size hash`` of the packages and all they need, on a machine that has nothing."""
        return run([*INSTALL, '--print-uris', '-qq', *packages], self.environment).splitlines()

    def install_download(self, packages: Sequence[str]) -> List[Path]:
        """Fetch the packages and all they need; apt verifies them against the index."""
        run([*INSTALL, '--download-only', '-q', *packages], self.environment)
        return sorted(self.folder.glob('cache/archives/*.deb'))


def kernel_packages(show: Callable[[str], Dict[str, str]]) -> List[Package]:
    """Packages that hold the kernel of the metapackage: what it needs of itself, followed to the end.

    Up to 6.12 this is one package with image and modules; newer kernels have one for each.
    """
    found: Dict[str, Package] = {}
    waiting = [METAPACKAGE]
    while waiting:
        name = waiting.pop()
        stanza = show(name)
        found[name] = Package(name, stanza['Version'], stanza['SHA256'], int(stanza['Size']))
        waiting += [need for need in kernel_needs(stanza.get('Depends', '')) if need not in found]
    return sorted(found.values())


def kernel_needs(depends: str) -> List[str]:
    """Names in a Depends field that are parts of the kernel."""
    names = (relation.split()[0] for relation in re.split(r'[,|]', depends) if relation.strip())
    return [name for name in names if re.fullmatch(r'linux-(?:base|image|binary|modules)-\S+', name)]


def fields(stanza: str) -> Dict[str, str]:
    """Single-line fields of a control stanza."""
    pairs = (line.partition(': ') for line in stanza.splitlines() if not line.startswith(' '))
    return {key: value for key, _colon, value in pairs if value}


def run(command: Sequence[str], environment: Dict[str, str] | None = None, folder: Path | None = None) -> str:
    """Output of a command; HarnessError with its own last words."""
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        words = [line for line in (done.stderr + done.stdout).splitlines() if line.startswith(('E:', 'W:', 'dpkg'))]
        raise HarnessError(f'{" ".join(command[:2])}: {"; ".join(words[-3:]) or f"exit status {done.returncode}"}')
    return done.stdout
