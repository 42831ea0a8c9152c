# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A whole proof run from a test: capture in the node's namespace, flows from the clients', all at once."""

from __future__ import annotations

import ipaddress
import json
import os
import selectors
from typing import Dict, Iterable, List, Mapping, Sequence, Tuple

from ansible_collections.returntraffic.net.plugins.module_utils.kernel.addresses import list_addresses
from ansible_collections.returntraffic.net.plugins.module_utils.kernel.links import list_links
from ansible_collections.returntraffic.net.plugins.module_utils.kernel.netlink import Netlink
from ansible_collections.returntraffic.net.plugins.module_utils.proof.capture import Capture, Captured
from ansible_collections.returntraffic.net.plugins.module_utils.proof.flows import fire
from ansible_collections.returntraffic.net.plugins.module_utils.proof.nics import only_nics
from ansible_collections.returntraffic.net.plugins.module_utils.proof.spec import Answer, Flow
from ansible_collections.returntraffic.net.plugins.module_utils.proof.verdict import Verdict, judge
from namespaces import Namespace


def prove(node: Namespace, clients: Mapping[str, Namespace], flows: Sequence[Flow]) -> List[Verdict]:
    """A verdict for each flow (those of one client in their order); lasts as long as the slowest flow."""
    with node.entered(), Capture(_addresses(clients.values())) as capture:
        answers = _fire_all(clients, flows, capture)
        with Netlink() as netlink:
            captured: Captured = capture.captured(list_links(netlink))
    return judge(answers, only_nics(captured.frames, captured.links), captured.dropped)


def _addresses(clients: Iterable[Namespace]) -> List[str]:
    """Those that a node can see."""
    found: List[str] = []
    for client in clients:
        with client.entered(), Netlink() as netlink:
            found += [address.address for address in list_addresses(netlink)]
    return [address for address in found if not ipaddress.ip_address(address).is_loopback]


def _fire_all(clients: Mapping[str, Namespace], flows: Sequence[Flow], capture: Capture) -> List[Answer]:
    """The capture is drained meanwhile, so that a long run needs no large buffer."""
    answers: List[Answer] = []
    with selectors.DefaultSelector() as selector:
        selector.register(capture, selectors.EVENT_READ)
        children: Dict[int, int] = {}
        for name, namespace in clients.items():
            pid, pipe = _fire_in_child(namespace, [flow for flow in flows if flow.client == name])
            selector.register(pipe, selectors.EVENT_READ)
            children[pipe] = pid
        while children:
            for key, _ in selector.select():
                if key.fileobj is capture:
                    capture.read()
                    continue
                selector.unregister(key.fd)
                answers += _collect(key.fd, children.pop(key.fd))
    return answers


def _fire_in_child(namespace: Namespace, flows: Sequence[Flow]) -> Tuple[int, int]:
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            with namespace.entered():
                answers = fire(flows)
            with os.fdopen(writing, 'w') as stream:
                json.dump(answers, stream)
            code = 0
        finally:
            os._exit(code)
    os.close(writing)
    return pid, reading


def _collect(pipe: int, pid: int) -> List[Answer]:
    with os.fdopen(pipe) as stream:
        text = stream.read()
    code = os.waitpid(pid, 0)[1]
    assert code == 0, f'a client of the proof died: wait status {code}'
    return [Answer(*row) for row in json.loads(text)]
