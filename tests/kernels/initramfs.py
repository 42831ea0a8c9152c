# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The initramfs: busybox, the modules that reach the host's root, and init.sh.

Written as a cpio archive in the "newc" format (kernel: Documentation/driver-api/early-userspace/buffer-format.rst)
without time stamps, so the same content gives the same bytes.
"""

from __future__ import annotations

import hashlib
import lzma
import stat
from pathlib import Path
from typing import Dict, List, NamedTuple

from .catalogue import BOOT_MODULES, JOB_MODULES
from .modules import load_order, module_name, parse_builtin, parse_dependencies

INIT = Path(__file__).parent / 'init.sh'
APPLETS = (
    'cat',
    'chroot',
    'echo',
    'insmod',
    'ip',
    'ln',
    'mkdir',
    'mkfifo',
    'mount',
    'mv',
    'sh',
    'sleep',
    'switch_root',
    'uname',
)
FOLDERS = ('bin', 'modules', 'proc', 'sys', 'host', 'share', 'upper', 'root')


class Entry(NamedTuple):
    """A file of the archive: its mode with the type bits, and its content (a link's target)."""

    mode: int
    content: bytes = b''


def cpio(entries: Dict[str, Entry]) -> bytes:
    """Archive of the entries in their order; a folder must come before what is in it."""
    members = [member(number, name, entry) for number, (name, entry) in enumerate(entries.items(), 1)]
    return b''.join([*members, member(0, 'TRAILER!!!', Entry(0))])


def member(number: int, name: str, entry: Entry) -> bytes:
    """One member: 13 fields of 8 hex digits behind the magic, the name, the content, each padded to 4 bytes."""
    encoded = name.encode() + b'\0'
    fields = (number, entry.mode, 0, 0, 1, 0, len(entry.content), 0, 0, 0, 0, len(encoded), 0)
    return padded(b'070701' + b''.join(b'%08X' % field for field in fields) + encoded) + padded(entry.content)


def padded(data: bytes) -> bytes:
    """The data with zeros up to a multiple of four bytes."""
    return data + b'\0' * (-len(data) % 4)


def module_bytes(path: Path) -> bytes:
    """A module's object code; Debian 13 ships modules compressed, and busybox inserts them as they are."""
    content = path.read_bytes()
    return lzma.decompress(content) if path.suffix == '.xz' else content


def boot_modules(modules: Path) -> List[Path]:
    """Files of the modules that the initramfs inserts, in order. ``modules`` is the kernel's lib/modules/RELEASE.

    HarnessError when the kernel lacks one of these or of those that init.sh loads later.
    """
    dependencies = parse_dependencies((modules / 'modules.dep').read_text())
    builtin = parse_builtin((modules / 'modules.builtin').read_text())
    load_order(JOB_MODULES, dependencies, builtin)
    return [modules / path for path in load_order(BOOT_MODULES, dependencies, builtin)]


def build(modules: Path, busybox: Path) -> bytes:
    """The whole archive for a kernel."""
    inserted = boot_modules(modules)
    entries = {folder: Entry(stat.S_IFDIR | 0o755) for folder in FOLDERS}
    entries['bin/busybox'] = Entry(stat.S_IFREG | 0o755, busybox.read_bytes())
    entries.update({f'bin/{applet}': Entry(stat.S_IFLNK | 0o777, b'busybox') for applet in APPLETS})
    entries.update({f'modules/{module_name(file.name)}': plain(module_bytes(file)) for file in inserted})
    order = '\n'.join(module_name(file.name) for file in inserted)
    entries['modules/order'] = plain(f'{order}\n'.encode())
    entries['init'] = Entry(stat.S_IFREG | 0o755, INIT.read_bytes())
    return cpio(entries)


def plain(content: bytes) -> Entry:
    """A regular file."""
    return Entry(stat.S_IFREG | 0o644, content)


def builder_hash(busybox: Path) -> str:
    """What the archive depends on besides the kernel: this package's own files and busybox."""
    digest = hashlib.sha256()
    for file in (Path(__file__), INIT, Path(__file__).parent / 'catalogue.py', busybox):
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:16]
