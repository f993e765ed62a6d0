"""A step's own view of the files: an overlay above the layers so far, and what became of it.

Knows:   preparing, writing into the merged tree, making a layer of the changes, throwing away.
Refuses: to know instructions.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from dockerlab.engine.model.image import Layer
from dockerlab.engine.model.rootfs import Directory, Overlay, Rootfs
from dockerlab.engine.store.store import Store
from dockerlab.engine.store.tree import Tree
from dockerlab.errors import Unsupported

T = TypeVar("T")

_NEW_DIRECTORY = 0o755

_LIST = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@asynccontextmanager
async def entered(manager: AbstractContextManager[T]) -> AsyncIterator[T]:
    """Enter and leave in worker threads: mounting and removing block.

    Whatever is cancelled meanwhile, what was entered is left.
    """
    entering = asyncio.ensure_future(asyncio.to_thread(manager.__enter__))
    try:
        value = await asyncio.shield(entering)
    except asyncio.CancelledError:
        await entering
        await asyncio.to_thread(manager.__exit__, None, None, None)
        raise
    try:
        yield value
    finally:
        await asyncio.to_thread(manager.__exit__, None, None, None)


@contextmanager
def snapshot(store: Store, step_id: str, layers: Sequence[Layer]) -> Iterator[Overlay]:
    """Prepare what a container of the step runs on; it is gone afterwards."""
    rootfs = store.snapshots.prepare(step_id, layers, volatile=True)
    try:
        if not isinstance(rootfs, Overlay):
            raise Unsupported("builds need overlay file systems")
        yield rootfs
    finally:
        store.snapshots.remove(step_id)


@contextmanager
def image_root(store: Store, layers: Sequence[Layer]) -> Iterator[int]:
    """Open the merged files of an image, to copy from them."""
    with store.snapshots.image_root(layers) as root:
        yield root


def make_layer(store: Store, layers: Sequence[Layer], write: Callable[[int], None]) -> Layer | None:
    """Let `write` change the merged tree, given its root; None when it changed nothing."""
    folder = Path(tempfile.mkdtemp(dir=store.root / "tmp", prefix="step-"))
    try:
        rootfs = _above(store, layers, folder)
        with store.snapshots.merged(rootfs, writable=True) as root:
            write(root)
        return keep(store, str(folder / "upper"), layers)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def keep(store: Store, upper: str, layers: Sequence[Layer]) -> Layer | None:
    """Turn an upper directory into a layer; None when nothing is in it."""
    with os.scandir(upper) as entries:
        if not any(entries):
            return None
    return store.layers.commit(upper, parents=layers)


def _above(store: Store, layers: Sequence[Layer], folder: Path) -> Rootfs:
    """An overlay above layers, without the mount points that containers get."""
    upper, work = folder / "upper", folder / "work"
    upper.mkdir(mode=0o755)
    work.mkdir(mode=0o700)
    if not layers:
        return Directory(path=str(upper))
    return Overlay(
        layers_dir=str(store.layers.folder),
        lowers=tuple(layer.lower for layer in reversed(layers)),
        upper=str(upper),
        work=str(work),
        volatile=True,
    )


def make_directory(root: int, path: str) -> None:
    """Make a directory and those above it, links inside the root followed."""
    tree = Tree(root)
    try:
        tree.directory(os.fsencode(path).strip(b"/"))
        for made in tree.implied:
            folder, _, base = made.rpartition(b"/")
            os.chmod(base, _NEW_DIRECTORY, dir_fd=tree.directory(folder, create=False)[0])
    finally:
        tree.close()


def drop(upper: str, paths: Sequence[str]) -> None:
    """Take what was written below some directories back out of an upper directory.

    Volumes: what a RUN writes below one belongs to the volume, not to the image.
    """
    root = os.open(upper, _LIST)
    try:
        for path in paths:
            _drop(root, [part for part in path.split("/") if part not in {"", "."}])
    finally:
        os.close(root)


def _drop(folder: int, parts: list[str]) -> None:
    if not parts or ".." in parts:
        return
    name = parts[0]
    with suppress(FileNotFoundError):
        status = os.lstat(name, dir_fd=folder)
        if not stat.S_ISDIR(status.st_mode):
            return
        if len(parts) == 1:
            shutil.rmtree(name, dir_fd=folder)
            return
        below = os.open(name, _LIST, dir_fd=folder)
        try:
            _drop(below, parts[1:])
        finally:
            os.close(below)
