"""Log records as bytes on a connection.

Knows:   frames, timestamps, which streams are wanted.
Refuses: to read a log.
Source:  API v1.50, ContainerLogs, ContainerAttach ("stream format").
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Collection

from dockerlab.engine.runtime.log_files import Record
from dockerlab.wire.frames import encode
from dockerlab.wire.times import log_stamp


async def written(
    batches: AsyncIterator[list[Record]],
    wanted: Collection[int],
    *,
    framed: bool,
    stamped: bool = False,
    details: str = "",
) -> AsyncGenerator[bytes, None]:
    """Write batches of records, each as one piece.

    Args:
        batches: as the log is read.
        wanted: 1 for stdout, 2 for stderr.
        framed: each record gets Docker's 8-byte head.
        stamped: each begins with its time.
        details: what stands between time and text.
    """
    prefix = details.encode()
    try:
        async for batch in batches:
            pieces: list[bytes] = []
            for record in batch:
                if record.stream not in wanted:
                    continue
                data = prefix + record.data
                if stamped:
                    data = f"{log_stamp(record.time_ns)} ".encode() + data
                pieces.append(encode(record.stream, data) if framed else data)
            if pieces:
                yield b"".join(pieces)
    finally:
        # A client that left must not keep the log's files open until the next collection.
        close = getattr(batches, "aclose", None)
        if close is not None:
            await close()
