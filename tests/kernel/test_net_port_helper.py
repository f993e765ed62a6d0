"""The port helper alone, on loopback: bytes, half-close, back-pressure, ends and refusals."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import threading

import pytest

from dockerlab.engine.net import port_helper

PATIENCE_S = 20


class Helper:
    """A forked helper and the ends it was given."""

    def __init__(self, *listeners):
        ours, theirs = socket.socketpair()
        watched, self.lifeline = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self.lifeline)
            ours.close()
            with contextlib.suppress(BaseException):
                port_helper.run({"listeners": list(listeners)}, theirs.detach(), watched)
            os._exit(9)
        theirs.close()
        os.close(watched)
        with ours, ours.makefile("rb") as file:
            self.answer = json.loads(file.readline())

    def end(self):
        os.close(self.lifeline)
        return os.waitpid(self.pid, 0)[1]


def free_port(kind=socket.SOCK_STREAM, host="127.0.0.1"):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, kind) as sock:
        sock.bind((host, 0))
        return sock.getsockname()[1]


def listener(port, target_port, protocol="tcp", host_ip="127.0.0.1", target="127.0.0.1"):
    return {
        "protocol": protocol,
        "host_ip": host_ip,
        "host_port": port,
        "target": target,
        "target_port": target_port,
    }


@contextlib.contextmanager
def joined(host_ip="127.0.0.1"):
    """Yield a client and the server behind the helper, connected through it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = free_port(host=host_ip)
        helper = Helper(listener(port, server.getsockname()[1], host_ip=host_ip))
        assert helper.answer["ok"], helper.answer
        with socket.create_connection((host_ip, port), PATIENCE_S) as client:
            accepted, _ = server.accept()
            accepted.settimeout(PATIENCE_S)
            with accepted:
                yield client, accepted
        assert helper.end() == 0


def received(sock):
    data = bytearray()
    while more := sock.recv(1 << 16):
        data += more
    return bytes(data)


def test_half_close_in_both_orders():
    with joined() as (client, server):
        client.sendall(b"question")
        client.shutdown(socket.SHUT_WR)
        assert received(server) == b"question"
        server.sendall(b"answer")
        server.close()
        assert received(client) == b"answer"
    with joined() as (client, server):
        server.sendall(b"greeting")
        server.shutdown(socket.SHUT_WR)
        assert received(client) == b"greeting"
        client.sendall(b"late")
        client.close()
        assert received(server) == b"late"


def test_a_slow_reader_holds_the_writer_and_loses_nothing():
    sent = os.urandom(1 << 20) * 24
    with joined() as (client, server):
        writer = threading.Thread(
            target=lambda: (client.sendall(sent), client.shutdown(socket.SHUT_WR))
        )
        writer.start()
        # Nobody reads yet: 24 MiB fit into no kernel buffer, so the writer must stand still.
        writer.join(0.3)
        assert writer.is_alive()
        assert received(server) == sent
        writer.join()
        server.sendall(b"done")
        server.close()
        assert received(client) == b"done"


def test_a_reset_on_one_side_ends_the_other():
    with joined() as (client, server):
        server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        server.close()
        with contextlib.suppress(ConnectionResetError):
            assert client.recv(1) == b""


def test_nobody_behind_the_port():
    port = free_port()
    helper = Helper(listener(port, free_port()))
    for _ in range(3):
        client = socket.create_connection(("127.0.0.1", port), PATIENCE_S)
        with client, contextlib.suppress(ConnectionResetError):
            assert client.recv(1) == b""
    assert helper.end() == 0


def test_many_connections_at_once():
    with socket.create_server(("127.0.0.1", 0), backlog=300) as server:
        port = free_port()
        helper = Helper(listener(port, server.getsockname()[1]))
        clients = [socket.create_connection(("127.0.0.1", port), PATIENCE_S) for _ in range(200)]
        for number, client in enumerate(clients):
            client.sendall(b"%03d" % number)
        seen = set()
        for _ in clients:
            accepted, _ = server.accept()
            with accepted:
                name = accepted.recv(3)
                seen.add(name)
                accepted.sendall(name)
        assert len(seen) == len(clients)
        for number, client in enumerate(clients):
            assert received(client) == b"%03d" % number
            client.close()
        assert helper.end() == 0


def test_ipv6_in_front_of_ipv4():
    with joined("::1") as (client, server):
        client.sendall(b"x")
        assert server.recv(1) == b"x"


def test_datagrams_keep_their_client_and_answer_from_the_address_asked():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(PATIENCE_S)
        port = free_port(socket.SOCK_DGRAM)
        helper = Helper(listener(port, server.getsockname()[1], protocol="udp", host_ip="0.0.0.0"))
        clients = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
        seen = []
        for number, client in enumerate(clients):
            client.settimeout(PATIENCE_S)
            # Connected: the kernel drops answers from any other address.
            client.connect(("127.0.0.9", port))
            client.send(b"from %d" % number)
            data, address = server.recvfrom(100)
            assert data == b"from %d" % number
            seen.append(address)
        assert seen[0] != seen[1]
        for number in (1, 0):
            server.sendto(b"to %d" % number, seen[number])
            assert clients[number].recv(100) == b"to %d" % number
        clients[0].send(b"")
        assert server.recvfrom(100) == (b"", seen[0])
        for client in clients:
            client.close()
        assert helper.end() == 0


def test_an_address_in_use_is_answered_and_nothing_stays():
    with socket.create_server(("127.0.0.1", 0)) as foreign:
        taken, free = foreign.getsockname()[1], free_port()
        helper = Helper(listener(free, 1), listener(taken, 1))
        assert helper.answer == {
            "ok": False,
            "error": "address already in use",
            "errno": errno.EADDRINUSE,
            "listener": 1,
        }
        assert helper.end() == 0
        socket.create_server(("127.0.0.1", free)).close()


@pytest.mark.parametrize("host_ip", ["192.0.2.77", "2001:db8::77"])
def test_an_address_that_is_not_ours(host_ip):
    helper = Helper(listener(free_port(), 1, host_ip=host_ip))
    assert helper.answer["errno"] == errno.EADDRNOTAVAIL
    assert helper.end() == 0


def test_the_lifeline_ends_it_while_connections_are_open():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = free_port()
        helper = Helper(listener(port, server.getsockname()[1]))
        with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as client:
            assert helper.end() == 0
            with contextlib.suppress(ConnectionResetError):
                assert client.recv(1) == b""
        socket.create_server(("127.0.0.1", port)).close()
