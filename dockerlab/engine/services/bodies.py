"""A request's body for blocking work: received by the loop, read from a worker thread.

Knows:   handing pieces over one by one, so that the sender waits for the reader; giving up.
Refuses: to know what is in it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import TypeVar

from dockerlab.engine.store.streams import Source
from dockerlab.errors import InvalidRequest

T = TypeVar("T")


async def with_body(body: AsyncIterator[bytes], work: Callable[[Source], T]) -> T:
    """Run `work` in a worker thread with the body to read from.

    When the calling task is cancelled, reading fails and the thread ends before this returns.
    """
    source = _BodySource(body)
    running = asyncio.ensure_future(asyncio.to_thread(work, source))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        source.given_up = True
        # Its failure is our doing, and is told to nobody.
        await asyncio.gather(running, return_exceptions=True)
        raise


class _BodySource:
    def __init__(self, body: AsyncIterator[bytes]) -> None:
        self._loop = asyncio.get_running_loop()
        self._body = body
        self._rest = b""
        self.given_up = False

    def read(self, size: int = -1, /) -> bytes:
        """Return at most `size` bytes; b"" at the end."""
        while not self._rest:
            if self.given_up:
                raise InvalidRequest("unexpected EOF")
            piece = asyncio.run_coroutine_threadsafe(self._next(), self._loop).result()
            if piece is None:
                return b""
            self._rest = piece
        data = self._rest if size < 0 else self._rest[:size]
        self._rest = self._rest[len(data) :]
        return data

    async def _next(self) -> bytes | None:
        return await anext(self._body, None)
