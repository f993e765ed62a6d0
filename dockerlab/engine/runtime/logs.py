"""What a container said: from the past, and as it goes on.

Knows:   tail, since, until, following over rotations, the end of the container.
Refuses: formats and files (`log_files.py`), frames and timestamps in the text (`api/`).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path

from dockerlab.engine.linux.inotify import watching
from dockerlab.engine.runtime.log_files import JsonRecord, LocalRecord, LogFiles, Record
from dockerlab.errors import Unsupported

__all__ = ["JsonRecord", "LocalRecord", "Record", "batches", "check_readable", "read"]

# Less than this is read on the loop itself: a thread would cost more than the reading.
_SMALL = 1 << 15


def check_readable(driver: str) -> None:
    """Refuse before anything is answered.

    Raises:
        Unsupported: the driver keeps nothing that could be read.
    """
    if driver not in ("json-file", "local"):
        raise Unsupported(
            "configured logging driver does not support reading",
            hint="Run it with --log-driver json-file or local to keep its output.",
        )


async def read(
    path: str, *, driver: str, since_ns: int = 0, until_ns: int = 0, tail: int | None = None,
    follow: bool = False, ended: asyncio.Event | None = None,
) -> AsyncGenerator[Record, None]:  # fmt: skip
    """Yield single records; see `batches`, which is the way for many."""
    found = batches(
        path, driver=driver, since_ns=since_ns, until_ns=until_ns, tail=tail, follow=follow,
        ended=ended,
    )  # fmt: skip
    async with contextlib.aclosing(found):
        async for batch in found:
            for record in batch:
                yield record


async def batches(
    path: str, *, driver: str, since_ns: int = 0, until_ns: int = 0, tail: int | None = None,
    follow: bool = False, ended: asyncio.Event | None = None, lines: bool = True,
) -> AsyncGenerator[list[Record], None]:  # fmt: skip
    """Yield records in the order of their arrival, as many at a time as there are.

    Args:
        path: of the active file.
        driver: "json-file" or "local".
        since_ns: nothing before it; 0 for all.
        until_ns: ends with the first record after it; 0 for never.
        tail: only the last so many entries of what is there now; None for all.
        follow: go on with what comes, until `ended`.
        ended: set when the container's output is complete; without it, following never ends.
        lines: False lets the `local` driver put several lines of one stream into one record.

    Raises:
        Unsupported: the driver keeps nothing that could be read.
    """
    check_readable(driver)
    files = await asyncio.to_thread(LogFiles, path, driver, lines=lines)
    try:
        if tail is not None:
            await asyncio.to_thread(files.skip_to_last, tail)
        found = _followed(files, path, ended) if follow else _present(files)
        async with contextlib.aclosing(found):
            async for batch in found:
                kept, finished = _between(batch, since_ns, until_ns)
                if kept:
                    yield kept
                if finished:
                    return
    finally:
        files.close()


def _between(batch: list[Record], since_ns: int, until_ns: int) -> tuple[list[Record], bool]:
    """The records within the times, and whether a later one was met."""
    if since_ns:
        batch = [record for record in batch if record.time_ns >= since_ns]
    if until_ns:
        for index, record in enumerate(batch):
            if record.time_ns > until_ns:
                return batch[:index], True
    return batch, False


async def _next(files: LogFiles) -> list[Record]:
    if files.left() <= _SMALL:
        return files.records()
    return await asyncio.to_thread(files.records)


async def _present(files: LogFiles) -> AsyncGenerator[list[Record], None]:
    while batch := await _next(files):
        yield batch


async def _followed(
    files: LogFiles, path: str, ended: asyncio.Event | None
) -> AsyncGenerator[list[Record], None]:
    """Everything there is, then everything that comes; the seam is the position in the file."""
    async with _changes(str(Path(path).parent)) as changed, _told(ended, changed):
        while True:
            # Both are asked before the look, so that nothing can slip in after it.
            changed.clear()
            complete = ended is not None and ended.is_set()
            batch = await _next(files)
            if batch:
                yield batch
            elif complete:
                return
            else:
                await changed.wait()


@contextlib.asynccontextmanager
async def _told(ended: asyncio.Event | None, changed: asyncio.Event) -> AsyncIterator[None]:
    """Let the end count as a change, while this block runs."""
    if ended is None:
        yield
        return

    async def tell() -> None:
        await ended.wait()
        changed.set()

    task = asyncio.create_task(tell(), name="log: the container's end")
    try:
        yield
    finally:
        task.cancel()


@contextlib.asynccontextmanager
async def _changes(directory: str) -> AsyncIterator[asyncio.Event]:
    """An event for changes in a directory; each 0.1 s where the kernel has no watch left."""
    async with contextlib.AsyncExitStack() as stack:
        try:
            event = await stack.enter_async_context(watching(directory))
        except OSError:
            event = await stack.enter_async_context(_ticking())
        yield event


@contextlib.asynccontextmanager
async def _ticking() -> AsyncIterator[asyncio.Event]:
    event = asyncio.Event()

    async def tick() -> None:
        while True:
            await asyncio.sleep(0.1)
            event.set()

    task = asyncio.create_task(tick(), name="log: looking again")
    try:
        yield event
    finally:
        task.cancel()
