"""Surviving power loss without making anybody wait for the disk.

Knows:   what was written since the last sync of the file system, and in which boot; one thread
         syncs a moment later. After a crash of the machine, `check.py` looks at just that.
Refuses: to sync on the way of a pull: that costs more than all of its work.
Source:  man 2 syncfs; sqlite.org/wal.html (the log keeps the order of rows).
"""

from __future__ import annotations

import threading
from contextlib import suppress
from pathlib import Path

from dockerlab.engine.linux import sync
from dockerlab.engine.linux.birth import boot_id
from dockerlab.engine.store.db import Database
from dockerlab.engine.store.records import Table
from dockerlab.errors import Unavailable

_MOMENT_S = 2.0


class Durable:
    """Notes of what may not be on disk yet. Its thread ends with `close()`."""

    def __init__(self, root: Path, db: Database) -> None:
        self._root = str(root)
        self._notes = Table(db, "unsynced", str)
        self._boot = boot_id()
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="store sync", daemon=True)
        self._thread.start()
        if self._notes.keys():
            self._wake.set()

    def note(self, key: str) -> None:
        """Say that "layer:N" or "blob:DIGEST" was just written; before its row."""
        self._notes.put_sync(key, self._boot)
        self._wake.set()

    def suspects(self) -> list[str]:
        """Name what an earlier boot wrote and perhaps lost."""
        return [key for key, boot in self._notes.items() if boot != self._boot]

    def clear(self, key: str) -> None:
        """Forget a note: the thing was looked at, or is gone."""
        self._notes.delete_sync(key)

    def close(self) -> None:
        """End the thread; what it did not sync stays noted for the next engine."""
        self._stop.set()
        self._wake.set()
        self._thread.join()

    def _run(self) -> None:
        while True:
            self._wake.wait()
            # A moment later, one sync does for all that a pull writes.
            if self._stop.wait(_MOMENT_S):
                return
            self._wake.clear()
            written = [key for key, boot in self._notes.items() if boot == self._boot]
            with suppress(OSError, Unavailable):
                sync.syncfs(self._root)
                self._notes.change_sync(dict.fromkeys(written))
