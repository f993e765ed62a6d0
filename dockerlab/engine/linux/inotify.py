"""Be told when something in a directory changes; one kernel queue for the whole engine.

Knows:   inotify(7), shared by all who watch: a user may have 128 queues, and logs are many.
Refuses: what changed; whoever wakes looks for himself.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import struct
from collections.abc import AsyncIterator
from weakref import WeakKeyDictionary

_IN_MODIFY, _IN_MOVED_TO, _IN_CREATE, _IN_DELETE_SELF = 0x2, 0x80, 0x100, 0x400
_IN_CHANGES = _IN_MODIFY | _IN_MOVED_TO | _IN_CREATE | _IN_DELETE_SELF
_EVENT = struct.Struct("iIII")

_libc = ctypes.CDLL(None, use_errno=True)
_libc.inotify_add_watch.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_uint32)


def _checked(result: int, what: str) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), what)
    return result


class _Queue:
    """The queue of one event loop; closed with the last watch."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._descriptor = _checked(
            _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC), "inotify_init1"
        )
        self._waiting: dict[int, list[asyncio.Event]] = {}
        loop.add_reader(self._descriptor, self._wake)

    def add(self, directory: str, event: asyncio.Event) -> int:
        watch = _checked(
            _libc.inotify_add_watch(self._descriptor, os.fsencode(directory), _IN_CHANGES),
            directory,
        )
        # The kernel gives one number to one directory, however often it is added.
        self._waiting.setdefault(watch, []).append(event)
        return watch

    def remove(self, watch: int, event: asyncio.Event) -> bool:
        """Forget an event; True if the queue was closed as nobody is left."""
        events = self._waiting[watch]
        events.remove(event)
        if not events:
            del self._waiting[watch]
            _libc.inotify_rm_watch(self._descriptor, watch)
        if not self._waiting:
            self.close()
        return not self._waiting

    def close(self) -> None:
        self._loop.remove_reader(self._descriptor)
        os.close(self._descriptor)

    def _wake(self) -> None:
        try:
            data = os.read(self._descriptor, 65536)
        except BlockingIOError:
            return
        position = 0
        while position < len(data):
            watch, _, _, length = _EVENT.unpack_from(data, position)
            position += _EVENT.size + length
            # -1: the queue ran over; then anything may have changed.
            found = self._waiting.values() if watch < 0 else [self._waiting.get(watch, [])]
            for events in found:
                for event in events:
                    event.set()


_queues: WeakKeyDictionary[asyncio.AbstractEventLoop, _Queue] = WeakKeyDictionary()


@contextlib.asynccontextmanager
async def watching(directory: str) -> AsyncIterator[asyncio.Event]:
    """Yield an event that is set at each change in `directory`; the receiver clears it.

    Raises:
        OSError: no more watches to be had (ENOSPC, EMFILE).
    """
    loop = asyncio.get_running_loop()
    queue = _queues.get(loop) or _Queue(loop)
    _queues[loop] = queue
    event = asyncio.Event()
    try:
        watch = queue.add(directory, event)
    except OSError:
        if not queue._waiting:  # noqa: SLF001 - the same file; nobody else uses this queue
            queue.close()
            del _queues[loop]
        raise
    try:
        yield event
    finally:
        if queue.remove(watch, event):
            del _queues[loop]
