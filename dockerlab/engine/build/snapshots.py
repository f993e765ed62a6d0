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
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from dockerlab.engine.model.image import Layer
from dockerlab.engine.model.rootfs import Directory, Overlay, Rootfs
from dockerlab.engine.store.store import Store
from dockerlab.engine.store.tree import Tree
from dockerlab.errors import InvalidRequest, Unsupported

T = TypeVar("T")

_NEW_DIRECTORY = 0o755
_PREFIX = "build-"  # no container's id begins so

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
    name = f"{_PREFIX}{step_id}"
    rootfs = store.snapshots.prepare(name, layers, volatile=True)
    try:
        if not isinstance(rootfs, Overlay):
            raise Unsupported("builds need overlay file systems")
        yield rootfs
    finally:
        store.snapshots.remove(name)


def sweep(store: Store) -> None:
    """Remove the snapshots of steps that an engine's death interrupted."""
    for folder in store.snapshots.folder.glob(f"{_PREFIX}*"):
        store.snapshots.remove(folder.name)


@contextmanager
def image_root(store: Store, layers: Sequence[Layer]) -> Iterator[int]:
    """Open the merged files of an image, to copy from them."""
    with store.snapshots.image_root(layers) as root:
        yield root


def make_layer(
    store: Store, layers: Sequence[Layer], write: Callable[[int], object]
) -> Layer | None:
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


def make_directory(root: int, path: str) -> bool:
    """Make a directory and those above it, links inside the root followed.

    Returns:
        Whether it was not there before.
    """
    tree = Tree(root)
    try:
        tree.directory(os.fsencode(path).strip(b"/"))
        for made in tree.implied:
            folder, _, base = made.rpartition(b"/")
            os.chmod(base, _NEW_DIRECTORY, dir_fd=tree.directory(folder, create=False)[0])
        return bool(tree.implied)
    finally:
        tree.close()


def make_stub(root: int, path: str, *, is_file: bool) -> list[bytes]:
    """Make the place where something will be mounted; return what was made, outermost first."""
    tree = Tree(root)
    try:
        name = os.fsencode(path).strip(b"/")
        if not is_file:
            tree.directory(name)
            return sorted(tree.implied)
        folder, _, base = name.rpartition(b"/")
        parent, real = tree.directory(folder)
        made = sorted(tree.implied)
        with suppress(FileExistsError):
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            os.close(os.open(base, flags, 0o644, dir_fd=parent))
            made.append(real + b"/" + base if real else base)
        return made
    finally:
        tree.close()


def remove_stubs(upper: str, stubs: Sequence[bytes]) -> None:
    """Take places of mounts away again, unless something was put into them meanwhile."""
    root = os.open(upper, _LIST)
    tree = Tree(root)
    try:
        for path in reversed(stubs):
            folder, _, base = path.rpartition(b"/")
            with suppress(OSError, InvalidRequest):
                parent, _ = tree.directory(folder, create=False)
                status = os.lstat(base, dir_fd=parent)
                if stat.S_ISDIR(status.st_mode):
                    os.rmdir(base, dir_fd=parent)
                elif stat.S_ISREG(status.st_mode) and not status.st_size:
                    os.unlink(base, dir_fd=parent)
    finally:
        tree.close()
        os.close(root)


def drop(upper: str, volumes: Mapping[str, bool]) -> None:
    """Take what was written below volumes back out of an upper directory.

    It belongs to the volume, not to the image; of the image is the directory, where it is new.

    Args:
        upper: the upper directory.
        volumes: by path, whether the directory was made for this step.
    """
    root = os.open(upper, _LIST)
    try:
        for path, is_new in volumes.items():
            parts = [part for part in path.split("/") if part not in {"", "."}]
            _drop(root, parts, is_new=is_new)
    finally:
        os.close(root)


def _drop(folder: int, parts: list[str], *, is_new: bool) -> None:
    if not parts or ".." in parts:
        return
    name = parts[0]
    with suppress(FileNotFoundError, NotADirectoryError):
        if len(parts) == 1 and not is_new:
            shutil.rmtree(name, dir_fd=folder)
            return
        below = os.open(name, _LIST, dir_fd=folder)
        try:
            if len(parts) > 1:
                _drop(below, parts[1:], is_new=is_new)
            else:
                _empty(below)
        finally:
            os.close(below)


def _empty(folder: int) -> None:
    with os.scandir(folder) as entries:
        for entry in list(entries):
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.name, dir_fd=folder)
            else:
                os.unlink(entry.name, dir_fd=folder)
