# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The echo server as a module: it answers when the module returns, from the right address, and nobody blocks it."""

from __future__ import annotations

import os
import socket
import threading
from typing import Any, Dict, Iterator, List

import pytest
from modules import module_arguments, module_command, run_module
from namespaces import Namespace

WILDCARD: List[Dict[str, Any]] = [{'address': '0.0.0.0', 'port': 7}, {'address': '::', 'port': 7}]
BULK = 4 << 20


@pytest.fixture
def host() -> Iterator[Namespace]:
    """A namespace with some addresses, whose server is ended after the test."""
    with Namespace() as made:
        made.batch(
            'address add 192.168.9.1/32 dev lo\naddress add 192.168.9.2/32 dev lo\naddress add fd09::1/128 dev lo\n'
        )
        yield made
        run_module(made, 'echo_server', state='absent')


def serve(host: Namespace, listeners: List[Dict[str, Any]], **options: Any) -> Dict[str, Any]:
    answer = run_module(host, 'echo_server', listeners=listeners, **options)
    assert not answer.get('failed'), answer['msg']
    return answer


def made(host: Namespace, address: str, kind: int) -> socket.socket:
    """A socket of the family of an address, inside the host."""
    with host.entered():
        found = socket.socket(socket.AF_INET6 if ':' in address else socket.AF_INET, kind)
    found.settimeout(5)
    return found


def udp(host: Namespace, address: str, text: bytes = b'hi') -> str:
    """Which address answers a datagram."""
    with made(host, address, socket.SOCK_DGRAM) as asking:
        asking.sendto(text, (address, 7))
        data, peer = asking.recvfrom(1 << 16)
    assert data == text
    return str(peer[0])


def tcp(host: Namespace, address: str, data: bytes) -> bytes:
    """What comes back by TCP, sent and read at the same time."""
    with made(host, address, socket.SOCK_STREAM) as asking:
        asking.connect((address, 7))

        def send() -> None:
            asking.sendall(data)
            asking.shutdown(socket.SHUT_WR)

        sender = threading.Thread(target=send)
        sender.start()
        found = b''.join(iter(lambda: asking.recv(1 << 16), b''))
        sender.join()
    return found


@pytest.mark.parametrize('address', ['192.168.9.1', '192.168.9.2', 'fd09::1', '127.0.0.1', '::1'])
def test_a_wildcard_answers_from_the_address_that_was_asked(host: Namespace, address: str) -> None:
    serve(host, WILDCARD)
    assert udp(host, address) == address
    assert tcp(host, address, b'hello') == b'hello'


def test_a_wildcard_answers_on_addresses_that_come_later(host: Namespace) -> None:
    serve(host, WILDCARD)
    host.batch('address add 192.168.9.3/32 dev lo\n')
    assert udp(host, '192.168.9.3') == '192.168.9.3'


def test_a_listener_may_be_there_before_its_address(host: Namespace) -> None:
    serve(host, [{'address': '192.168.9.4', 'port': 7}, {'address': 'fd09::4', 'port': 7}])
    host.batch('address add 192.168.9.4/32 dev lo\naddress add fd09::4/128 dev lo\n')
    assert udp(host, '192.168.9.4') == '192.168.9.4'
    assert tcp(host, 'fd09::4', b'hello') == b'hello'


def test_only_the_named_protocols_and_addresses_are_served(host: Namespace) -> None:
    serve(host, [{'address': '192.168.9.1', 'port': 7, 'protocols': ['udp']}])
    assert udp(host, '192.168.9.1') == '192.168.9.1'
    with pytest.raises(ConnectionRefusedError):
        tcp(host, '192.168.9.1', b'hello')
    with made(host, '192.168.9.2', socket.SOCK_DGRAM) as asking, pytest.raises(ConnectionRefusedError):
        asking.connect(('192.168.9.2', 7))
        asking.send(b'hi')
        asking.recv(10)


@pytest.mark.parametrize('address', ['192.168.9.1', 'fd09::1'])
def test_megabytes_come_back_whole(host: Namespace, address: str) -> None:
    serve(host, WILDCARD)
    data = os.urandom(BULK)
    assert tcp(host, address, data) == data


def test_a_large_datagram_comes_back(host: Namespace) -> None:
    serve(host, WILDCARD)
    assert udp(host, '192.168.9.1', b'x' * 60000) == '192.168.9.1'


def test_a_client_that_never_reads_keeps_nobody_waiting(host: Namespace) -> None:
    serve(host, WILDCARD)
    with made(host, '192.168.9.1', socket.SOCK_STREAM) as stuck:
        stuck.connect(('192.168.9.1', 7))
        stuck.settimeout(0.2)
        # Until the server reads no more of it: its echo has nowhere to go.
        with pytest.raises(TimeoutError):
            while True:
                stuck.sendall(b'x' * (1 << 16))
        assert tcp(host, '192.168.9.1', b'hello') == b'hello'
        assert udp(host, '192.168.9.1') == '192.168.9.1'


def test_an_answer_that_cannot_leave_is_survived(host: Namespace) -> None:
    serve(host, WILDCARD)
    with made(host, '192.168.9.1', socket.SOCK_DGRAM) as asking:
        asking.bind(('192.168.9.2', 0))
        host.batch('address del 192.168.9.2/32 dev lo\n')
        with pytest.raises(OSError, match='unreachable|Invalid argument|Cannot assign'):
            asking.sendto(b'hi', ('192.168.9.1', 7))
    assert udp(host, '192.168.9.1') == '192.168.9.1'


def test_many_clients_at_once(host: Namespace) -> None:
    serve(host, WILDCARD)
    clients = [made(host, '192.168.9.1', socket.SOCK_STREAM) for _turn in range(200)]
    for client in clients:
        client.connect(('192.168.9.1', 7))
        client.sendall(b'hello')
    assert [client.recv(10) for client in clients] == [b'hello'] * 200
    for client in clients:
        client.close()


def test_a_second_run_changes_nothing_and_keeps_connections(host: Namespace) -> None:
    assert serve(host, WILDCARD)['changed']
    with made(host, '192.168.9.1', socket.SOCK_STREAM) as asking:
        asking.connect(('192.168.9.1', 7))
        assert not serve(host, list(reversed(WILDCARD)))['changed']
        asking.sendall(b'still there')
        assert asking.recv(100) == b'still there'


def test_other_listeners_replace_the_server(host: Namespace) -> None:
    serve(host, WILDCARD)
    answer = serve(host, WILDCARD[:1])
    assert answer['changed']
    assert answer['diff'] == {
        'before': 'tcp 0.0.0.0:7\nudp 0.0.0.0:7\ntcp [::]:7\nudp [::]:7\n',
        'after': 'tcp 0.0.0.0:7\nudp 0.0.0.0:7\n',
    }
    assert udp(host, '192.168.9.1') == '192.168.9.1'
    with pytest.raises(ConnectionRefusedError):
        tcp(host, 'fd09::1', b'hello')


def test_check_mode_starts_and_ends_nothing(host: Namespace) -> None:
    assert serve(host, WILDCARD, check=True)['changed']
    with pytest.raises(ConnectionRefusedError):
        tcp(host, '192.168.9.1', b'hello')
    serve(host, WILDCARD)
    assert run_module(host, 'echo_server', check=True, state='absent')['changed']
    assert tcp(host, '192.168.9.1', b'hello') == b'hello'


def test_absent_ends_it_and_frees_its_ports(host: Namespace) -> None:
    serve(host, WILDCARD)
    assert run_module(host, 'echo_server', state='absent')['changed']
    with made(host, '0.0.0.0', socket.SOCK_STREAM) as taken:
        taken.bind(('0.0.0.0', 7))
    assert not run_module(host, 'echo_server', state='absent')['changed']


def test_servers_of_two_namespaces_do_not_see_each_other(host: Namespace) -> None:
    serve(host, WILDCARD)
    with Namespace() as other:
        assert not run_module(other, 'echo_server', state='absent')['changed']
    assert udp(host, '192.168.9.1') == '192.168.9.1'


def test_two_servers_of_one_namespace_are_told_apart_by_name(host: Namespace) -> None:
    serve(host, WILDCARD)
    for options in ({'listeners': [{'address': '192.168.9.1', 'port': 9}]}, {'state': 'absent'}):
        done = host.process(*module_command('echo_server'), stdin=module_arguments(name='second', **options))
        assert '"changed": true' in done.stdout
    assert udp(host, '192.168.9.1') == '192.168.9.1'


def test_a_port_in_use_is_told_and_nothing_stays(host: Namespace) -> None:
    with made(host, '0.0.0.0', socket.SOCK_STREAM) as taken:
        taken.bind(('0.0.0.0', 7))
        taken.listen()
        answer = run_module(host, 'echo_server', listeners=WILDCARD)
    assert answer['msg'] == 'listen on tcp 0.0.0.0:7: Address already in use'
    assert serve(host, WILDCARD)['changed']


def test_a_server_of_another_user_is_not_believed(host: Namespace) -> None:
    with host.entered():
        control = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    control.bind(b'\0returntraffic-echo-default')
    child = os.fork()
    if child == 0:
        # What a peer is told of us is who we were when we began to listen.
        os.setuid(65534)
        control.listen()
        os.kill(os.getpid(), 19)
        os._exit(0)
    os.waitpid(child, os.WUNTRACED)
    answer = run_module(host, 'echo_server', listeners=WILDCARD)
    assert 'its name is taken by process' in answer['msg']
    assert 'of uid 65534' in answer['msg']
    os.kill(child, 9)
    os.waitpid(child, 0)
    control.close()


@pytest.mark.parametrize(
    ('listeners', 'message'),
    [
        ([], 'listeners: []: needs at least 1 entry'),
        ([{'address': 'x', 'port': 7}], "listeners[0].address: 'x': must be an IPv4 or IPv6 address"),
        ([{'address': '::', 'port': 70000}], 'listeners[0].port: 70000: must be a whole number from 1 to 65535'),
    ],
)
def test_bad_input_is_one_line(host: Namespace, listeners: List[Dict[str, Any]], message: str) -> None:
    assert run_module(host, 'echo_server', listeners=listeners)['msg'] == message
