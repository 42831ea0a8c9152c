# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the collection's echo server in a pod until the pod ends."""

import signal
import socket
import sys
from types import FrameType
from typing import Optional

from ansible_collections.returntraffic.net.plugins.module_utils.lab.echo_server import EchoServer
from ansible_collections.returntraffic.net.plugins.module_utils.lab.echo_sockets import open_all
from ansible_collections.returntraffic.net.plugins.module_utils.lab.echo_spec import parse_listeners


def leave(_signal: int, _frame: Optional[FrameType]) -> None:
    sys.exit(0)


def main() -> None:
    signal.signal(signal.SIGTERM, leave)
    # Nobody asks this server to stop but by a signal; the address is unique within the pod.
    control = socket.socket(socket.AF_UNIX)
    control.bind('\0returntraffic-echo')
    control.listen(1)
    addresses = ['0.0.0.0', '::'] if socket.has_ipv6 else ['0.0.0.0']
    EchoServer(control, open_all(parse_listeners([{'address': one, 'port': 8080} for one in addresses])), ()).run()


if __name__ == '__main__':
    main()
