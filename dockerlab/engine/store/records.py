"""Tables of frozen values: in memory for readers, as JSON text in state.db for the next engine.

Knows:   read-your-writes, and undoing the memory when a commit fails.
Refuses: queries; readers filter the values in memory.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import Generic, TypeVar

import msgspec

from dockerlab.engine.store.db import Database
from dockerlab.errors import Failed, Unavailable

_log = logging.getLogger(__name__)
_AGAIN_S = 1.0

T = TypeVar("T")


class Table(Generic[T]):
    """Rows by text key. Safe from any thread; values must be frozen."""

    def __init__(self, db: Database, name: str, kind: type[T]) -> None:
        if not name.isidentifier():
            raise ValueError(name)
        self._db, self._name = db, name
        self._lock = threading.Lock()
        decoder = msgspec.json.Decoder(kind)
        db.write_sync(self._create)
        rows = db.read(lambda c: c.execute(f"SELECT key, value FROM {name}").fetchall())  # noqa: S608 - an identifier
        self._rows: dict[str, T] = {key: decoder.decode(value) for key, value in rows}

    def get(self, key: str) -> T | None:
        """Return the value, or None."""
        return self._rows.get(key)

    def values(self) -> list[T]:
        """Return a copy of all values, oldest row first."""
        return list(self._rows.values())

    def items(self) -> list[tuple[str, T]]:
        """Return a copy of all rows."""
        return list(self._rows.items())

    def keys(self) -> list[str]:
        """Return a copy of all keys."""
        return list(self._rows)

    def __contains__(self, key: object) -> bool:
        return key in self._rows

    def __len__(self) -> int:
        return len(self._rows)

    async def put(self, key: str, value: T, *, durable: bool = False) -> None:
        """Set a row: visible at once, kept when this returns."""
        await asyncio.wrap_future(self._change({key: value}, durable=durable))

    async def delete(self, key: str, *, durable: bool = False) -> None:
        """Drop a row; one that is not there is no error."""
        await asyncio.wrap_future(self._change({key: None}, durable=durable))

    async def change(self, changes: dict[str, T | None], *, durable: bool = False) -> None:
        """Set and drop (None) several rows in one transaction."""
        await asyncio.wrap_future(self._change(changes, durable=durable))

    async def insist(self, key: str, value: T) -> None:
        """Set a row that is true whether it can be kept or not: on a full disk, kept later."""
        loop = asyncio.get_running_loop()
        try:
            await asyncio.wrap_future(self._change({key: value}, durable=False, undo=False))
        except Failed as error:
            _log.warning("a row of %s is not kept yet: %s", self._name, error)
            loop.call_later(_AGAIN_S, self._insist_again, loop, key)

    def _insist_again(self, loop: asyncio.AbstractEventLoop, key: str) -> None:
        value = self._rows.get(key)
        if value is None:
            return
        with suppress(Unavailable):  # the engine ends: nothing more can be done
            self._change({key: value}, durable=False, undo=False).add_done_callback(
                lambda future: (
                    future.exception()
                    and loop.call_soon_threadsafe(
                        loop.call_later, _AGAIN_S, self._insist_again, loop, key
                    )
                )
            )

    def put_sync(self, key: str, value: T, *, durable: bool = False) -> None:
        """Do as `put`, for worker threads."""
        self._change({key: value}, durable=durable).result()

    def delete_sync(self, key: str, *, durable: bool = False) -> None:
        """Do as `delete`, for worker threads."""
        self._change({key: None}, durable=durable).result()

    def change_sync(self, changes: dict[str, T | None], *, durable: bool = False) -> None:
        """Do as `change`, for worker threads."""
        self._change(changes, durable=durable).result()

    def _create(self, connection: sqlite3.Connection) -> None:
        connection.execute(
            f"CREATE TABLE IF NOT EXISTS {self._name} (key TEXT PRIMARY KEY, value TEXT NOT NULL)"
        )

    def _change(
        self, changes: dict[str, T | None], *, durable: bool, undo: bool = True
    ) -> Future[None]:
        texts = [
            (key, None if value is None else msgspec.json.encode(value).decode())
            for key, value in changes.items()
        ]

        def work(connection: sqlite3.Connection) -> None:
            for key, text in texts:
                if text is None:
                    connection.execute(f"DELETE FROM {self._name} WHERE key = ?", (key,))  # noqa: S608
                else:
                    connection.execute(
                        f"INSERT INTO {self._name} VALUES (?, ?) "  # noqa: S608
                        "ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                        (key, text),
                    )

        # Memory and queue under one lock: both see changes in the same order.
        with self._lock:
            before = {key: self._rows.get(key) for key in changes}
            future = self._db.submit(work, durable=durable)
            self._apply(changes)
        if undo:
            future.add_done_callback(self._undo_if_failed(changes, before))
        return future

    def _apply(self, changes: dict[str, T | None]) -> None:
        for key, value in changes.items():
            if value is None:
                self._rows.pop(key, None)
            else:
                self._rows[key] = value

    def _undo_if_failed(
        self, changes: dict[str, T | None], before: dict[str, T | None]
    ) -> Callable[[Future[None]], None]:
        def undo(future: Future[None]) -> None:
            if future.exception() is None:
                return
            with self._lock:
                # Only where nobody wrote again since.
                self._apply({k: before[k] for k, v in changes.items() if self._rows.get(k) is v})

        return undo
