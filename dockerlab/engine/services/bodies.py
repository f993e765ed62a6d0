"""A request's body for blocking work: received by the loop, read from a worker thread.

Knows:   handing pieces over, so that the sender waits for the reader in the end; giving up.
Refuses: to know what is in it.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from typing import TypeVar

from dockerlab.engine.store.streams import Source
from dockerlab.errors import InvalidRequest

T = TypeVar("T")

_AHEAD_BYTES = 1 << 21


async def with_body(body: AsyncIterator[bytes], work: Callable[[Source], T]) -> T:
    """Run `work` in a worker thread with the body to read from.

    When the calling task is cancelled, reading fails and the thread ends before this returns.
    """
    source = _BodySource()
    pumping = asyncio.create_task(source.pump(body))
    running = asyncio.ensure_future(asyncio.to_thread(work, source))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        source.give_up()
        # Its failure is our doing, and is told to nobody.
        await asyncio.gather(running, return_exceptions=True)
        raise
    finally:
        pumping.cancel()
        await asyncio.gather(pumping, return_exceptions=True)


class _BodySource:
    """Pieces go over in bundles: a hand-over between threads for each would take most of a load."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._changed = threading.Condition()
        self._room = asyncio.Event()
        self._pieces: list[bytes] = []
        self._held = 0
        self._ended = self._given_up = False
        self._failure: Exception | None = None
        self._bundle, self._position = b"", 0

    async def pump(self, body: AsyncIterator[bytes]) -> None:
        """Receive the body, in the loop, as far ahead of the reader as there is room."""
        try:
            async for piece in body:
                with self._changed:
                    self._pieces.append(piece)
                    self._held += len(piece)
                    full = self._held >= _AHEAD_BYTES
                    if full:
                        self._room.clear()
                    self._changed.notify()
                if full:
                    await self._room.wait()
        except asyncio.CancelledError:
            # A body cut off here must not look like a whole one.
            self.give_up()
            raise
        except Exception as error:  # noqa: BLE001 - it is the reader's
            self._failure = error
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify()

    def give_up(self) -> None:
        """Let reading fail."""
        with self._changed:
            self._given_up = True
            self._changed.notify()

    def read(self, size: int = -1, /) -> bytes:
        """Return at most `size` bytes; b"" at the end."""
        if self._position == len(self._bundle):
            self._bundle, self._position = self._next(), 0
        start = self._position
        end = len(self._bundle) if size < 0 else min(start + size, len(self._bundle))
        self._position = end
        return self._bundle[start:end]

    def _next(self) -> bytes:
        with self._changed:
            self._changed.wait_for(lambda: self._pieces or self._ended or self._given_up)
            if self._given_up:
                raise InvalidRequest("unexpected EOF")
            if not self._pieces:
                if self._failure is not None:
                    raise self._failure
                return b""
            bundle = b"".join(self._pieces)
            self._pieces.clear()
            was_full, self._held = self._held >= _AHEAD_BYTES, 0
        if was_full:
            self._loop.call_soon_threadsafe(self._room.set)
        return bundle
