"""The folders of volumes: made, filled from an image, measured, removed, swept.

Knows:   volumes/NAME/_data; that containers write there, so no link inside is ever followed out.
Refuses: rows and who uses what (`volumes.py`). Everything here blocks.
Source:  moby daemon/volume/local/local.go; Kubernetes' CVE-2021-25741 for parts of a volume.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Container, Sequence
from pathlib import Path

from dockerlab.engine.linux.inside import open_inside
from dockerlab.engine.model.rootfs import Rootfs
from dockerlab.engine.model.volume import MountPoint
from dockerlab.engine.store.pack import Payload, Walk
from dockerlab.engine.store.store import Store
from dockerlab.engine.store.tree import Tree
from dockerlab.errors import InvalidRequest

_LIST = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class VolumeFolders:
    """The folder of each volume, below the store's root."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._folder = store.root / "volumes"
        self._folder.mkdir(mode=0o700, exist_ok=True)

    def data(self, name: str) -> Path:
        """Say where a volume's files lie."""
        return self._folder / name / "_data"

    def make(self, name: str) -> None:
        """Make an empty one that survives a power loss."""
        data = self.data(name)
        data.mkdir(mode=0o755, parents=True, exist_ok=True)
        data.chmod(0o755)
        for folder in (data.parent, self._folder):
            descriptor = os.open(folder, _LIST)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def remove(self, name: str) -> None:
        """Remove one with all it holds."""
        doomed = self._store.root / "tmp" / f"volume-{secrets.token_hex(8)}"
        (self._folder / name).rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)

    def sweep(self, names: Container[str]) -> None:
        """Remove folders that have no row: an engine ended while it made or removed them."""
        for folder in self._folder.iterdir():
            if folder.name not in names:
                self.remove(folder.name)

    def check_part(self, name: str, subpath: str) -> None:
        """Check that a volume has this part now; init looks again when it mounts.

        Raises:
            InvalidRequest: it has not, or only by a link that leads out.
        """
        data = self.data(name)
        root = os.open(data, _LIST)
        try:
            os.close(open_inside(root, subpath, os.O_PATH))
        except FileNotFoundError:
            raise InvalidRequest(
                f"cannot access path {data}/{subpath}: no such file or directory"
            ) from None
        finally:
            os.close(root)

    def size(self, name: str) -> int:
        """Measure the bytes of a volume's files, hard links once."""
        total, seen = 0, set()
        for place, _, files in os.walk(self.data(name)):
            for file in files:
                try:
                    status = os.lstat(Path(place) / file)
                except FileNotFoundError:
                    continue
                key = (status.st_dev, status.st_ino)
                if status.st_nlink == 1 or key not in seen:
                    seen.add(key)
                    total += status.st_size
        return total

    def fill(self, rootfs: Rootfs, points: Sequence[MountPoint]) -> None:
        """Fill empty volumes with what the image has at their place, the place itself included.

        Raises:
            InvalidRequest: the image has a file there.
        """
        waiting = [(point, target) for point in points if (target := _empty(point)) >= 0]
        try:
            if waiting:
                with self._store.snapshots.merged(rootfs) as root:
                    for point, target in waiting:
                        _fill(root, point.destination, target)
        finally:
            for _, target in waiting:
                os.close(target)


def _empty(point: MountPoint) -> int:
    """Open what is mounted, if it is an empty directory; else -1."""
    target = os.open(point.source, _LIST)
    if os.listdir(target):
        os.close(target)
        return -1
    return target


def _fill(root: int, destination: str, target: int) -> None:
    try:
        source = open_inside(root, destination, _LIST)
    except FileNotFoundError:
        return
    except NotADirectoryError:
        raise InvalidRequest(
            f"cannot mount volume over existing file, file exists {destination}",
            hint="Choose a directory, or a path that the image does not have.",
        ) from None
    try:
        _copy(source, target)
    finally:
        os.close(source)


def _copy(source: int, target: int) -> None:
    """Copy a directory's content and its own mode and owner."""
    tree = Tree(target)
    try:
        own = None
        for item in Walk(source, with_root=True).items():
            if own is None:
                own = item.entry
            else:
                tree.put(item.entry, Payload(item.chunks))
        tree.finish()
        if own is not None:
            tree.dress(target, own)
    finally:
        tree.close()
