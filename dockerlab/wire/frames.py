"""The eight bytes in front of each piece of output: written and read here, and nowhere else.

Knows:   `[stream, 0, 0, 0, length as u32 big-endian] payload`, however the bytes are cut.
Refuses: sockets; bytes go in, frames come out.
Source:  Docker Engine API, "Attach to a container", stream format.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from dockerlab.errors import Failed

STDIN, STDOUT, STDERR, ENGINE_ERROR = 0, 1, 2, 3
HEADER_BYTES = 8
MAX_FRAME_BYTES = 64 << 20

_HEADER = struct.Struct(">BxxxL")


class Frame(NamedTuple):
    """One piece of output."""

    stream: int
    data: bytes


def header(stream: int, length: int) -> bytes:
    """The eight bytes for a payload that is sent separately."""
    return _HEADER.pack(stream, length)


def encode(stream: int, data: bytes) -> bytes:
    """Frame a payload; an empty one gives nothing, as clients stumble over empty frames."""
    return _HEADER.pack(stream, len(data)) + data if data else b""


class FrameReader:
    """Finds frames in bytes as they arrive, whole or in pieces."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Add bytes and give every frame that is whole by now.

        Raises:
            Failed: bytes that are no frame; the stream can't be trusted any more.
        """
        self._buffer += data
        position = 0
        try:
            while len(self._buffer) - position >= HEADER_BYTES:
                stream, length = _HEADER.unpack_from(self._buffer, position)
                if stream > ENGINE_ERROR or length > MAX_FRAME_BYTES:
                    raise Failed(
                        f"Unrecognized stream: {stream}",
                        hint="The container has a terminal: read its output unframed.",
                    )
                end = position + HEADER_BYTES + length
                if len(self._buffer) < end:
                    break
                payload = bytes(self._buffer[position + HEADER_BYTES : end])
                position = end
                if payload:
                    yield Frame(stream, payload)
        finally:
            del self._buffer[:position]

    @property
    def incomplete(self) -> bool:
        """Whether the bytes so far end inside a frame."""
        return bool(self._buffer)
