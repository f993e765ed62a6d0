"""Copy TCP connections between a port of the host and a container, both ways.

Knows:   half-close, back-pressure, connections that fail, running out of descriptors.
Refuses: to look into the bytes; anything heavy.
Source:  man 7 tcp, man 2 shutdown.
"""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Callable

from dockerlab.engine.net.port_loop import IN, OUT, Loop

_BUFFER_BYTES = 256 << 10
_ACCEPTS_AT_ONCE = 64
_NO_DESCRIPTORS = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}

# One for all connections: bytes stay in it only while they are passed on.
_buffer = bytearray(_BUFFER_BYTES)
_view = memoryview(_buffer)


class Streams:
    """Accepts connections on one port and opens one to the container for each."""

    def __init__(self, loop: Loop, listener: socket.socket, target: tuple[str, int]) -> None:
        self._loop, self._listener, self._target = loop, listener, target
        self._family = socket.AF_INET6 if ":" in target[0] else socket.AF_INET
        self._open: set[Connection] = set()
        self._full = False
        loop.watch(listener.fileno(), IN, self._accept)

    def _accept(self, _: int) -> None:
        for _ in range(_ACCEPTS_AT_ONCE):
            try:
                client, _ = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _NO_DESCRIPTORS:
                    self._pause()
                    return
                continue  # the client gave up while it waited
            self._connect(client)

    def _connect(self, client: socket.socket) -> None:
        try:
            server = socket.socket(self._family, socket.SOCK_STREAM)
        except OSError:
            client.close()
            self._pause()
            return
        self._open.add(Connection(self._loop, client, server, self._target, self._closed))

    def _pause(self) -> None:
        """Leave connections in the queue until one ends, instead of asking without end."""
        if self._open:
            self._full = True
            self._loop.forget(self._listener.fileno())

    def _closed(self, connection: Connection) -> None:
        self._open.discard(connection)
        if self._full:
            self._full = False
            self._loop.watch(self._listener.fileno(), IN, self._accept)


class _Pump:
    """One direction of a connection."""

    __slots__ = ("ended", "pending", "sink", "source")

    def __init__(self, source: socket.socket, sink: socket.socket) -> None:
        self.source, self.sink = source, sink
        self.pending = b""
        self.ended = False

    def pull(self) -> None:
        """Take what there is and pass it on; what the other side won't take yet is kept."""
        try:
            count = self.source.recv_into(_buffer)
        except BlockingIOError:
            return
        if not count:
            self.ended = True
            self._finish()
            return
        sent = self._send(_view[:count])
        if sent < count:
            self.pending = bytes(_view[sent:count])

    def push(self) -> None:
        """Pass on what was kept."""
        self.pending = self.pending[self._send(memoryview(self.pending)) :]
        if self.ended:
            self._finish()

    def _send(self, data: memoryview) -> int:
        try:
            return self.sink.send(data, socket.MSG_NOSIGNAL)
        except BlockingIOError:
            return 0

    def _finish(self) -> None:
        if not self.pending:
            # ENOTCONN: the other side is gone, which its own direction will notice.
            with contextlib.suppress(OSError):
                self.sink.shutdown(socket.SHUT_WR)


class Connection:
    """A client and the container, joined."""

    def __init__(
        self,
        loop: Loop,
        client: socket.socket,
        server: socket.socket,
        target: tuple[str, int],
        closed: Callable[[Connection], None],
    ) -> None:
        self._loop, self._client, self._server = loop, client, server
        self._closed = closed
        self._there, self._back = _Pump(client, server), _Pump(server, client)
        for sock in (client, server):
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        refusal = server.connect_ex(target)
        if refusal in {0, errno.EINPROGRESS}:
            loop.watch(server.fileno(), OUT, self._connected)
        else:
            loop.watch(server.fileno(), OUT, self._give_up)

    def _connected(self, _: int) -> None:
        if self._server.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self.close()
        else:
            self._rearm()

    def _give_up(self, _: int) -> None:
        self.close()

    def _on_client(self, mask: int) -> None:
        self._step(self._there, self._back, mask)

    def _on_server(self, mask: int) -> None:
        self._step(self._back, self._there, mask)

    def _step(self, own: _Pump, other: _Pump, mask: int) -> None:
        """Serve one socket: `own` reads from it, `other` writes to it."""
        try:
            if other.pending and mask & ~IN:
                other.push()
            if not own.ended and not own.pending and mask & ~OUT:
                own.pull()
        except OSError:
            self.close()
            return
        done = own.ended and other.ended and not own.pending and not other.pending
        if done:
            self.close()
        else:
            self._rearm()

    def _rearm(self) -> None:
        there, back = self._there, self._back
        self._loop.watch(self._client.fileno(), _wishes(there, back), self._on_client)
        self._loop.watch(self._server.fileno(), _wishes(back, there), self._on_server)

    def close(self) -> None:
        """End both sides."""
        for sock in (self._client, self._server):
            self._loop.forget(sock.fileno())
            sock.close()
        self._closed(self)


def _wishes(own: _Pump, other: _Pump) -> int:
    reads = IN if not own.ended and not own.pending else 0
    return reads | (OUT if other.pending else 0)
