"""The frames of a websocket: what attach over one needs, as a server.

Knows:   the handshake's answer, binary frames, masks, ping and close.
Refuses: text, extensions, and to put fragments together: attach carries a stream of bytes.
Source:  RFC 6455, sections 4.2.2, 5.2, 5.5.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from dockerlab.errors import InvalidRequest

CONTINUATION, TEXT, BINARY = 0x0, 0x1, 0x2
CLOSE, PING, PONG = 0x8, 0x9, 0xA

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_MAX_PAYLOAD = 1 << 24
_MAX_CONTROL = 125


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame, unmasked."""

    opcode: int
    payload: bytes


def accept_key(key: str) -> str:
    """Answer a client's `Sec-WebSocket-Key`."""
    digest = hashlib.sha1(key.encode("ascii", "replace") + _GUID, usedforsecurity=False).digest()
    return base64.b64encode(digest).decode()


def encode(opcode: int, payload: bytes) -> bytes:
    """Write a whole frame; a server's are not masked."""
    size = len(payload)
    if size <= _MAX_CONTROL:
        return bytes((0x80 | opcode, size)) + payload
    if size < 1 << 16:
        return bytes((0x80 | opcode, 126)) + size.to_bytes(2, "big") + payload
    return bytes((0x80 | opcode, 127)) + size.to_bytes(8, "big") + payload


class Decoder:
    """Reads a client's frames out of bytes as they come."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Yield every frame that is whole by now.

        Raises:
            InvalidRequest: not masked, too long, or of a kind that does not exist.
        """
        self._buffer += data
        while (frame := self._next()) is not None:
            yield frame

    def _next(self) -> Frame | None:
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        opcode, size, start = buffer[0] & 0x0F, buffer[1] & 0x7F, 2
        if buffer[0] & 0x70 or not buffer[1] & 0x80:
            raise InvalidRequest("websocket: protocol error")
        if size >= 126:
            start = 4 if size == 126 else 10
            if len(buffer) < start:
                return None
            size = int.from_bytes(buffer[2:start], "big")
        known = {CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG}
        if opcode not in known or size > (_MAX_CONTROL if opcode >= CLOSE else _MAX_PAYLOAD):
            raise InvalidRequest("websocket: protocol error")
        end = start + 4 + size
        if len(buffer) < end:
            return None
        payload = _unmasked(bytes(buffer[start + 4 : end]), bytes(buffer[start : start + 4]))
        del buffer[:end]
        return Frame(opcode, payload)


def _unmasked(payload: bytes, mask: bytes) -> bytes:
    # As one long number: byte by byte would take a second for 10 MB.
    size = len(payload)
    stretched = (mask * (size // 4 + 1))[:size]
    mixed = int.from_bytes(payload, "big") ^ int.from_bytes(stretched, "big")
    return mixed.to_bytes(size, "big")
