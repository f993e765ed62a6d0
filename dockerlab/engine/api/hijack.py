"""Take a connection out of the HTTP server: attach and exec speak raw bytes on it.

Knows:   how to leave tornado without losing a byte, in either direction, and with half-close.
Refuses: to know what is said on the connection afterwards; an `Upgrade` runs it.
Source:  moby daemon/server/router/container/container_routes.go; tornado iostream.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from contextlib import suppress
from http import HTTPStatus

from tornado.httputil import HTTPHeaders
from tornado.iostream import IOStream, StreamClosedError

from dockerlab.engine.api.reply import COMMON_HEADERS, Bytes, Empty, Json, encode
from dockerlab.errors import InvalidRequest

_DRAIN_BYTES = 1 << 20
_READ_BYTES = 1 << 16


class Hijacked:
    """A connection that speaks HTTP no longer; whoever runs it closes it.

    Attributes:
        socket: non-blocking; for `loop.sock_*`, or to be passed on by SCM_RIGHTS.
        pending: what the client had sent already, behind its request.
        upgraded: the client asked for `Upgrade: tcp` and got a 101.
    """

    __slots__ = ("pending", "socket", "upgraded")

    def __init__(self, sock: socket.socket, pending: bytes, *, upgraded: bool) -> None:
        self.socket = sock
        self.pending = pending
        self.upgraded = upgraded

    async def send(self, data: bytes) -> None:
        """Send all of it; raises OSError when the client is gone."""
        await asyncio.get_running_loop().sock_sendall(self.socket, data)

    def close(self) -> None:
        """Say the end to the client, also where a copy of the socket lives in a shim."""
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
            # What a client sent and nobody read would turn its end of file into a reset.
            while self.socket.recv(_READ_BYTES):
                pass
        self.socket.close()


async def read_body(stream: IOStream, headers: HTTPHeaders, limit_bytes: int) -> bytes:
    """Read the request's body off a detached stream.

    Raises:
        InvalidRequest: a body without a usable length, or beyond the limit.
    """
    if "Transfer-Encoding" in headers:
        return await _read_chunked(stream, headers["Transfer-Encoding"], limit_bytes)
    text = headers.get("Content-Length", "0")
    if not (text.isascii() and text.isdigit()) or len(text) > 18:
        raise InvalidRequest(f"invalid Content-Length: {text}")
    length = int(text)
    if length > limit_bytes:
        raise InvalidRequest("http: request body too large")
    return await stream.read_bytes(length) if length else b""


async def _read_chunked(stream: IOStream, encoding: str, limit_bytes: int) -> bytes:
    if encoding.lower() != "chunked":
        raise InvalidRequest(f"unsupported Transfer-Encoding: {encoding}")
    body = b""
    while True:
        line = (await stream.read_until(b"\r\n", max_bytes=64)).strip()
        try:
            size = int(line.partition(b";")[0], 16)
        except ValueError as error:
            raise InvalidRequest("invalid chunk size") from error
        if size < 0 or len(body) + size > limit_bytes:
            raise InvalidRequest("http: request body too large")
        body += await stream.read_bytes(size) if size else b""
        await stream.read_until(b"\r\n", max_bytes=64)
        if not size:
            return body


def take_socket(stream: IOStream) -> tuple[socket.socket, bytes]:
    """Leave tornado: a duplicate of the socket, and the bytes that were read ahead.

    The stream's own end of file closes its descriptor, which would end a half-closed
    connection; the duplicate stays open. Must not await between draining and closing.
    """
    sock: socket.socket = stream.socket.dup()
    sock.setblocking(False)
    pending = bytearray()
    try:
        while len(pending) < _DRAIN_BYTES:
            future = asyncio.ensure_future(stream.read_bytes(_READ_BYTES, partial=True))
            if not future.done():
                future.add_done_callback(lambda done: done.exception())
                break
            pending += future.result()
    except StreamClosedError:
        pass
    stream.close()
    return sock, bytes(pending)


def upgrade_head(content_type: str, *, upgraded: bool, extra: Mapping[str, str]) -> bytes:
    """The head that makes the connection raw; `UPGRADED` is Docker's own reason phrase."""
    lines = ["HTTP/1.1 101 UPGRADED" if upgraded else "HTTP/1.1 200 OK"]
    lines += [f"Content-Type: {content_type}"]
    if upgraded:
        lines += ["Connection: Upgrade", "Upgrade: tcp"]
    lines += [f"{name}: {value}" for name, value in extra.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def whole_reply(reply: Json | Empty | Bytes) -> bytes:
    """An ordinary answer on a connection that already left the HTTP server, which ends with it."""
    body = encode(reply)
    lines = [f"HTTP/1.1 {body.status} {HTTPStatus(body.status).phrase}"]
    lines += [f"{name}: {value}" for name, value in {**COMMON_HEADERS, **body.headers}.items()]
    if body.content_type:
        lines.append(f"Content-Type: {body.content_type}")
    if body.status not in {204, 304}:
        lines.append(f"Content-Length: {len(body.body)}")
    lines.append("Connection: close")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body.body
