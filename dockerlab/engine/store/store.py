"""The store: one data root, opened by one engine.

Knows:   the lock, the version of the layout, what to sweep before anybody looks.
Refuses: to keep things itself; each part has its own file.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
from pathlib import Path

from dockerlab.engine.store import check
from dockerlab.engine.store.blobs import Blobs
from dockerlab.engine.store.db import Database
from dockerlab.engine.store.durable import Durable
from dockerlab.engine.store.images import Images
from dockerlab.engine.store.layers import Layers
from dockerlab.engine.store.snapshots import Snapshots
from dockerlab.errors import Conflict, Forbidden, Unsupported

VERSION = "1"


class Store:
    """All that outlives an engine. Open with `Store.open`, end with `close`."""

    def __init__(self, root: Path, lock: int) -> None:
        self.root, self._lock = root, lock
        self.db = Database(root / "state.db")
        self.durable = Durable(root, self.db)
        self.blobs = Blobs(root, self.durable)
        self.layers = Layers(root, self.db, self.durable)
        self.images = Images(self.db, self.blobs, self.layers)
        self.snapshots = Snapshots(root, self.layers)

    @classmethod
    def open(cls, root: Path) -> Store:
        """Open a data root, or make it; sweep what an engine's death left half made.

        Raises:
            Conflict: another engine has it.
            Unsupported: a newer dockerlab made it.
            Forbidden: it can't be closed to other users.
        """
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        _close_to_others(root)
        lock = os.open(root / "engine.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(lock)
            raise Conflict(
                f"another engine uses {root}", hint="Stop it: dockerlab engine stop"
            ) from error
        try:
            _check_version(root)
            _empty(root / "tmp")
            store = cls(root, lock)
        except BaseException:
            os.close(lock)
            raise
        check.after_power_loss(store.images, store.layers, store.blobs, store.durable)
        check.sweep(store.images, store.layers, store.blobs)
        return store

    def close(self) -> None:
        """Finish writing and let another engine in."""
        if self._lock < 0:
            return
        self.snapshots.close()
        self.durable.close()
        self.db.close()
        os.close(self._lock)
        self._lock = -1


def _close_to_others(root: Path) -> None:
    """Images hold setuid programs, rows hold secrets: nobody else may even pass through."""
    found = root.stat()
    if found.st_mode & stat.S_IWOTH or found.st_uid != os.geteuid():
        raise Forbidden(
            f"{root} belongs to others, too", hint="Choose a folder of its own: DOCKERLAB_ROOT=..."
        )
    root.chmod(0o700)


def _check_version(root: Path) -> None:
    file = root / "VERSION"
    if not file.exists():
        file.write_text(f"{VERSION}\n")
    elif (found := file.read_text().strip()) != VERSION:
        raise Unsupported(
            f"{root} has layout {found}, this engine knows {VERSION}",
            hint="Upgrade dockerlab, or choose another DOCKERLAB_ROOT.",
        )


def _empty(folder: Path) -> None:
    folder.mkdir(mode=0o700, exist_ok=True)
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)
