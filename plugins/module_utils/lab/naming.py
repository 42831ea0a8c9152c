# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the parts of a lab are called: namespaces, switch ports, MAC addresses. Pure."""

from __future__ import annotations

import hashlib
import re
import zlib

from ..errors import PolicyError

#: The namespace of a lab in which its networks live, as bridges.
SWITCH = 'switch'
#: What `ip link` shows on `lo` of every namespace of ours: nothing without it is ever removed.
TAG = 'returntraffic lab '
#: IFNAMSIZ without the final NUL (linux/if.h).
_INTERFACE_LIMIT = 15

# No dash in a lab's name: 'rt-a' and 'rt' with a host 'a-node' would share a namespace's name.
_LAB = re.compile(r'[A-Za-z][A-Za-z0-9_]{0,31}\Z')
_HOST = re.compile(r'[A-Za-z0-9][A-Za-z0-9_.-]{0,62}\Z')


def lab_name(key: str, value: object) -> str:
    """A checked lab name."""
    if not isinstance(value, str) or not _LAB.match(value):
        raise PolicyError(key, value, 'must be a letter and up to 31 of A-Z a-z 0-9 _ (a dash ends the name)')
    return str(value)


def host_name(key: str, value: object) -> str:
    """A checked host name; `switch` is taken."""
    if not isinstance(value, str) or not _HOST.match(value):
        raise PolicyError(key, value, 'must be 1-63 of A-Z a-z 0-9 _ . - and start with a letter or digit')
    if value == SWITCH:
        raise PolicyError(key, value, 'is the name of the namespace with the bridges; take another one')
    return str(value)


def namespace(lab: str, host: str) -> str:
    """The name of a host's namespace in /run/netns."""
    return f'{lab}-{host}'


def tag(lab: str) -> str:
    """The alias of `lo` that marks a namespace as the lab's."""
    return TAG + lab


def port(host: str, interface: str) -> str:
    """The name of the switch's end of a host's cable: 'node.eth1', or shortened but still unique."""
    plain = f'{host}.{interface}'
    if len(plain) <= _INTERFACE_LIMIT:
        return plain
    return f'{host[:6]}.{zlib.crc32(plain.encode()):08x}'


def mac(lab: str, host: str, interface: str) -> str:
    """A locally administered unicast MAC that stays the same when the NIC is made anew.

    So neighbours need not learn it again after a repair.
    """
    digest = hashlib.sha256(f'{lab}/{host}/{interface}'.encode()).digest()
    return '02:' + ':'.join(f'{byte:02x}' for byte in digest[:5])
