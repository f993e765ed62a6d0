"""Pass UDP datagrams between a port of the host and a container.

Knows:   that a datagram's client is remembered for a while, and that an answer must come from the
         very address the client wrote to.
Refuses: to look into the bytes; anything heavy.
Source:  man 7 ip (IP_PKTINFO), man 7 ipv6; RFC 3542 section 6.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from typing import Any

from dockerlab.engine.net.port_loop import IN, Loop

_IDLE_S = 90.0
_MAX_CLIENTS = 4096
_MAX_DATAGRAM_BYTES = 65536
_DATAGRAMS_AT_ONCE = 64
_IP_PKTINFO = 8
_IPV6_RECVPKTINFO, _IPV6_PKTINFO = 49, 50
_PKTINFO = struct.Struct("=i4s4s")
_PKTINFO6 = struct.Struct("=16sI")

Address = tuple[Any, ...]
Control = list[tuple[int, int, bytes]]


class _Client:
    """Somebody outside who wrote, with a socket of their own towards the container."""

    __slots__ = ("address", "sock", "source", "used_s")

    def __init__(self, address: Address, source: Control, sock: socket.socket) -> None:
        self.address, self.source, self.sock = address, source, sock
        self.used_s = time.monotonic()


class Datagrams:
    """Serves one UDP port."""

    def __init__(self, loop: Loop, listener: socket.socket, target: tuple[str, int]) -> None:
        self._loop, self._listener, self._target = loop, listener, target
        self._family = socket.AF_INET6 if ":" in target[0] else socket.AF_INET
        self._clients: dict[tuple[Address, bytes], _Client] = {}
        if listener.family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVPKTINFO, 1)
        else:
            listener.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
        loop.watch(listener.fileno(), IN, self._on_listener)

    def sweep(self, now_s: float) -> None:
        """Forget clients that were silent for long."""
        for key, client in list(self._clients.items()):
            if now_s - client.used_s > _IDLE_S:
                self._forget(key)

    def _on_listener(self, _: int) -> None:
        for _ in range(_DATAGRAMS_AT_ONCE):
            try:
                data, controls, _, address = self._listener.recvmsg(_MAX_DATAGRAM_BYTES, 256)
            except BlockingIOError:
                return
            except OSError:
                continue  # an ICMP error for an earlier answer
            source = _answer_from(controls)
            key = (address, source[0][2] if source else b"")
            client = self._clients.get(key) or self._new(key, address, source)
            if client is not None:
                client.used_s = time.monotonic()
                # Full or refused: UDP loses datagrams, and the container is told nothing.
                with contextlib.suppress(OSError):
                    client.sock.send(data)

    def _new(self, key: tuple[Address, bytes], address: Address, source: Control) -> _Client | None:
        if len(self._clients) >= _MAX_CLIENTS:
            self._forget(min(self._clients, key=lambda one: self._clients[one].used_s))
        try:
            sock = socket.socket(self._family, socket.SOCK_DGRAM)
        except OSError:
            return None
        sock.setblocking(False)
        try:
            sock.connect(self._target)
        except OSError:
            sock.close()
            return None
        client = self._clients[key] = _Client(address, source, sock)
        self._loop.watch(sock.fileno(), IN, lambda _: self._on_answer(client))
        return client

    def _on_answer(self, client: _Client) -> None:
        for _ in range(_DATAGRAMS_AT_ONCE):
            try:
                data = client.sock.recv(_MAX_DATAGRAM_BYTES)
            except OSError:
                return  # nothing more, or "connection refused": the client may try again
            client.used_s = time.monotonic()
            with contextlib.suppress(OSError):
                self._listener.sendmsg([data], client.source, 0, client.address)

    def _forget(self, key: tuple[Address, bytes]) -> None:
        client = self._clients.pop(key)
        self._loop.forget(client.sock.fileno())
        client.sock.close()


def _answer_from(controls: list[tuple[int, int, bytes]]) -> Control:
    """Turn "it came to this address" into "send from this address"."""
    for level, kind, data in controls:
        if level == socket.IPPROTO_IP and kind == _IP_PKTINFO:
            _, own, _ = _PKTINFO.unpack_from(data)
            return [(level, kind, _PKTINFO.pack(0, own, bytes(4)))]
        if level == socket.IPPROTO_IPV6 and kind == _IPV6_PKTINFO:
            own, interface = _PKTINFO6.unpack_from(data)
            link_local = own[:2] == b"\xfe\x80"
            return [(level, kind, _PKTINFO6.pack(own, interface if link_local else 0))]
    return []
