"""A websocket on a hijacked connection, and a raw stream behind it.

Knows:   the handshake, and how bytes go over in both directions until either side ends.
Refuses: to know whose stream it is.
Source:  RFC 6455; moby daemon/server/router/container/container_routes.go (wsContainersAttach).
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from dockerlab.engine.api.hijack import Hijacked
from dockerlab.errors import InvalidRequest
from dockerlab.wire import websocket

_READ_BYTES = 1 << 16
_NORMAL = (1000).to_bytes(2, "big")
_WRONG = (1002).to_bytes(2, "big")


def switching(headers: Mapping[str, str]) -> bytes:
    """Answer a client's handshake.

    Raises:
        InvalidRequest: it is none.
    """
    key = headers.get("sec-websocket-key", "")
    if headers.get("upgrade", "").lower() != "websocket" or not key:
        raise InvalidRequest("not websocket protocol", hint="Connect with a websocket client.")
    if headers.get("sec-websocket-version") != "13":
        raise InvalidRequest("missing or bad WebSocket Version")
    lines = [
        "HTTP/1.1 101 Switching Protocols",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Accept: {websocket.accept_key(key)}",
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


class Bridge:
    """Carries bytes between a websocket's frames and a raw stream.

    Attributes:
        far: the raw stream's other end, for whoever serves it; closed by the bridge.
    """

    def __init__(self, hijacked: Hijacked) -> None:
        self._hijacked = hijacked
        self._raw, self.far = socket.socketpair()
        self._raw.setblocking(False)
        self.far.setblocking(False)
        self._sending = asyncio.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._raw.close()
        self.far.close()

    async def run(self, serving: Coroutine[Any, Any, None]) -> None:
        """Carry while `serving`, which has the far end, goes on."""
        served = asyncio.ensure_future(serving)
        outward = asyncio.ensure_future(self._outward())
        inward = asyncio.ensure_future(self._inward())
        try:
            await asyncio.wait({served, inward}, return_when=asyncio.FIRST_COMPLETED)
            if served.done():
                # What was said last is still between the two ends, and then comes the end.
                self.far.close()
                await asyncio.wait({outward, inward}, return_when=asyncio.FIRST_COMPLETED)
            with suppress(OSError):
                await self._send(websocket.CLOSE, _NORMAL)
        finally:
            for task in (outward, inward, served):
                task.cancel()
            await asyncio.wait({outward, inward, served})
        if served.done() and not served.cancelled():
            served.result()

    async def _send(self, opcode: int, payload: bytes) -> None:
        async with self._sending:
            await self._hijacked.send(websocket.encode(opcode, payload))

    async def _outward(self) -> None:
        loop = asyncio.get_running_loop()
        with suppress(OSError):
            while data := await loop.sock_recv(self._raw, _READ_BYTES):
                await self._send(websocket.BINARY, data)

    async def _inward(self) -> None:
        """Carry what the client sends; returns when it has said goodbye, or is gone."""
        loop = asyncio.get_running_loop()
        decoder = websocket.Decoder()
        data = self._hijacked.pending
        try:
            while True:
                for frame in decoder.feed(data):
                    if frame.opcode == websocket.CLOSE:
                        return
                    if frame.opcode == websocket.PING:
                        await self._send(websocket.PONG, frame.payload)
                    elif frame.opcode < websocket.CLOSE and frame.payload:
                        await loop.sock_sendall(self._raw, frame.payload)
                data = await loop.sock_recv(self._hijacked.socket, _READ_BYTES)
                if not data:
                    return
        except InvalidRequest:
            await self._send(websocket.CLOSE, _WRONG)
        except OSError:
            return
