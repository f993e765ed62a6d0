"""The eight bytes in front of each piece of output: written and read here, and nowhere else.

Knows:   `[stream, 0, 0, 0, length as u32 big-endian] payload`; streams 1 and 2, 3 for failures.
Refuses: sockets, and anything heavy: every shim carries it.
Source:  Docker Engine API, "Attach to a container", stream format.
"""

from __future__ import annotations

import struct

from dockerlab.errors import Failed

HEADER_BYTES = 8
_LAST_STREAM = 3
_MAX_FRAME_BYTES = 64 << 20

_HEADER = struct.Struct(">BxxxL")


def header(stream: int, length: int) -> bytes:
    """The eight bytes for a payload that is sent separately."""
    return _HEADER.pack(stream, length)


def encode(stream: int, data: bytes) -> bytes:
    """Frame a payload; an empty one gives nothing, as clients stumble over empty frames."""
    return _HEADER.pack(stream, len(data)) + data if data else b""


def parse_header(data: bytes) -> tuple[int, int]:
    """Read the eight bytes: which stream, and how many bytes of it follow.

    Raises:
        Failed: that is no frame; the stream can't be trusted any more.
    """
    stream, length = _HEADER.unpack(data)
    if stream > _LAST_STREAM or length > _MAX_FRAME_BYTES:
        raise Failed(
            f"Unrecognized stream: {stream}",
            hint="The container has a terminal: read its output unframed.",
        )
    return stream, length
