"""state.db: one SQLite file, one thread that writes.

Knows:   transactions, and what must survive power loss (durable) and what only a kill -9.
Refuses: to know any table; `records.py` keeps rows, callers bring their own work.
Source:  sqlite.org/wal.html, pragma.html#pragma_synchronous.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

from dockerlab.errors import Failed, Unavailable

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]
_Job = tuple[Work[Any], bool, "Future[Any]"]

_BATCH = 64


class Database:
    """An open state.db. Its thread ends with `close()`; writes asked for before still happen."""

    def __init__(self, path: Path) -> None:
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=NORMAL")
        self._full = False
        self._closed = False
        self._closing = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="state.db writer", daemon=True)
        self._thread.start()

    def submit(self, work: Work[T], *, durable: bool = False) -> Future[T]:
        """Queue work; the order of calls is the order of effects."""
        future: Future[T] = Future()
        # Running from birth: a cancelled caller must not leave memory and disk apart.
        future.set_running_or_notify_cancel()
        with self._closing:
            if self._closed:
                raise Unavailable("the engine is stopping")
            self._jobs.put((work, durable, future))
        return future

    async def write(self, work: Work[T], *, durable: bool = False) -> T:
        """Run work in a transaction; return when it is committed.

        Args:
            work: gets the connection; an exception undoes what it did and reaches the caller.
            durable: survive power loss, not only a kill (0.3 ms and more instead of 0.01).
        """
        return await asyncio.wrap_future(self.submit(work, durable=durable))

    def write_sync(self, work: Work[T], *, durable: bool = False) -> T:
        """Do as `write`, for worker threads."""
        return self.submit(work, durable=durable).result()

    def read(self, work: Work[T]) -> T:
        """Run work that only reads; for start-up, checks and tests."""
        return self.submit(work).result()

    def close(self) -> None:
        """Finish what was asked for, then let go of the file."""
        with self._closing:
            if self._closed:
                return
            self._closed = True
            self._jobs.put(None)
        self._thread.join()
        self._connection.close()

    def _run(self) -> None:
        while True:
            batch, last = self._collect()
            if batch:
                self._transaction(batch)
            if last:
                return

    def _collect(self) -> tuple[list[_Job], bool]:
        """Wait for one job and take what else is there: one commit for all of them."""
        job = self._jobs.get()
        batch: list[_Job] = []
        while job is not None:
            batch.append(job)
            if len(batch) == _BATCH:
                return batch, False
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                return batch, False
        return batch, True

    def _transaction(self, batch: list[_Job]) -> None:
        results: list[tuple[Future[Any], Any, BaseException | None]] = []
        try:
            self._synchronous(full=any(durable for _, durable, _ in batch))
            self._connection.execute("BEGIN IMMEDIATE")
            for work, _, future in batch:
                results.append((future, *self._attempt(work)))
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            results = [(future, None, _told(error)) for _, _, future in batch]
        for future, value, failure in results:
            if failure is None:
                future.set_result(value)
            else:
                future.set_exception(failure)

    def _attempt(self, work: Work[Any]) -> tuple[Any, BaseException | None]:
        self._connection.execute("SAVEPOINT job")
        try:
            value = work(self._connection)
        except Exception as error:
            if not self._connection.in_transaction:
                raise  # a full disk has undone everything, not only this
            self._connection.execute("ROLLBACK TO job")
            self._connection.execute("RELEASE job")
            return None, error
        self._connection.execute("RELEASE job")
        return value, None

    def _synchronous(self, *, full: bool) -> None:
        if full != self._full:
            self._connection.execute(f"PRAGMA synchronous={'FULL' if full else 'NORMAL'}")
            self._full = full


def _told(error: sqlite3.Error) -> Exception:
    """Say what a user can do something about; the rest is a mistake of ours, and stays as it is."""
    if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_FULL:
        return error
    return Failed(
        "write state.db: no space left on device",
        hint="Make room: docker system prune, or remove something else from that disk.",
    )
