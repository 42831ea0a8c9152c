# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The helper other tests stand on does keep namespaces apart."""

from __future__ import annotations

import os
import socket

from namespaces import Namespace


def test_entering_and_leaving(namespace: Namespace) -> None:
    namespace.run('ip', 'link', 'add', 'inside0', 'type', 'bridge')
    with namespace.entered():
        assert 'inside0' in [name for _index, name in socket.if_nameindex()]
    assert 'inside0' not in [name for _index, name in socket.if_nameindex()]


def test_nothing_remains() -> None:
    with Namespace() as made:
        assert os.path.exists(made.path)
    assert not os.path.exists(made.path)
