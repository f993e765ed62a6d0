"""containers/ID/{upper,work}: the writable layer of a container, over an image's layers.

Knows:   Docker's mount points (the init layer, not part of any diff), looking at a tree that no
         container has mounted, what a container wrote.
Refuses: to mount for a container; `runtime/init.py` does, in the container's own namespace.
Source:  moby daemon/initlayer/setup_unix.go; Linux filesystems/overlayfs.rst.
"""

from __future__ import annotations

import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from dockerlab.engine.linux import mounts
from dockerlab.engine.model.image import Layer, chain_of
from dockerlab.engine.model.rootfs import Directory, Overlay, Rootfs
from dockerlab.engine.store import copies, pack
from dockerlab.engine.store.layers import Layers
from dockerlab.engine.store.stack import Stack
from dockerlab.errors import DockerlabError, NotFound
from dockerlab.oci import layer_tar
from dockerlab.oci.changes import Change
from dockerlab.oci.layer_tar import Entry

_MOUNT_POINTS = (
    Entry(b"dev", layer_tar.DIRECTORY, 0o755),
    Entry(b"dev/console", layer_tar.FILE, 0o755),
    Entry(b"dev/pts", layer_tar.DIRECTORY, 0o755),
    Entry(b"dev/shm", layer_tar.DIRECTORY, 0o755),
    Entry(b"etc/hostname", layer_tar.FILE, 0o755),
    Entry(b"etc/hosts", layer_tar.FILE, 0o755),
    Entry(b"etc/mtab", layer_tar.SYMLINK, 0o777, target=b"/proc/mounts"),
    Entry(b"etc/resolv.conf", layer_tar.FILE, 0o755),
    Entry(b"proc", layer_tar.DIRECTORY, 0o755),
    Entry(b"sys", layer_tar.DIRECTORY, 0o755),
    Entry(b".dockerenv", layer_tar.FILE, 0o755),
)
_LIST = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class Snapshots:
    """Writable layers. All methods block; use them in worker threads."""

    def __init__(self, root: Path, layers: Layers) -> None:
        self.folder = root / "containers"
        self.folder.mkdir(mode=0o700, exist_ok=True)
        self._layers = layers
        self.copies = not _carries_overlay(root / "tmp")
        self._init_layers: dict[str, Layer] = {}
        self._sweeper = ThreadPoolExecutor(1, thread_name_prefix="removed containers")

    def path(self, container_id: str) -> Path:
        """Return the container's folder; others keep its log and files there too."""
        return self.folder / container_id

    def prepare(
        self, container_id: str, layers: Sequence[Layer], *, volatile: bool = False
    ) -> Rootfs:
        """Make the writable layer of a new container.

        Args:
            container_id: names its folder.
            layers: the image's, bottom first.
            volatile: what it writes need not survive a crash.
        """
        with self._layers.lease():
            init = self._init_layer(layers)
            try:
                self._layers.hold(f"container:{container_id}", [*layers, init])
            except DockerlabError:
                self._layers.collect([init.number])
                raise
            # The next container of this image comes soon, and making it costs ten files.
            self._layers.keep(init, layers)
        folder = self.path(container_id)
        for name, mode in (("upper", 0o755), ("work", 0o700)):
            (folder / name).mkdir(mode=mode, parents=True, exist_ok=True)
        folder.chmod(0o700)
        if self.copies:
            self._copy(folder / "upper", [*layers, init])
        self._dress_root(folder / "upper", layers)
        return self.rootfs(container_id, volatile=volatile)

    def rootfs(self, container_id: str, *, volatile: bool = False) -> Rootfs:
        """Return the mount of a container whose writable layer exists.

        Raises:
            NotFound: it does not.
        """
        held = self._layers.held_by(f"container:{container_id}")
        folder = self.path(container_id)
        if not held or not (folder / "upper").is_dir():
            raise NotFound(f"container {container_id[:12]} has no writable layer")
        if self.copies:
            return Directory(path=str(folder / "upper"))
        return Overlay(
            layers_dir=str(self._layers.folder),
            lowers=tuple(layer.lower for layer in reversed(held)),
            upper=str(folder / "upper"),
            work=str(folder / "work"),
            volatile=volatile,
        )

    def image_layers(self, container_id: str) -> list[Layer]:
        """Return the layers below a container, without its mount points, bottom first."""
        return self._layers.held_by(f"container:{container_id}")[:-1]

    def remove(self, container_id: str) -> int:
        """Remove a container's writable layer and folder; return the bytes freed below it."""
        freed = self._layers.release(f"container:{container_id}")
        # Out of the way in one step, so that a new container of that id may come at once. Nobody
        # waits for the rest; what an engine's death leaves of it is emptied at the next start.
        doomed = self.folder.parent / "tmp" / f"removed-{secrets.token_hex(8)}"
        with suppress(FileNotFoundError):
            self.path(container_id).rename(doomed)
            self._sweeper.submit(shutil.rmtree, doomed, ignore_errors=True)
        return freed

    def close(self) -> None:
        """Wait until everything removed is gone."""
        self._sweeper.shutdown()

    def clear(self, container_id: str) -> None:
        """Free the space of a container that is about to be removed."""
        shutil.rmtree(self.path(container_id) / "upper", ignore_errors=True)

    def sweep(self, known: Collection[str]) -> None:
        """Remove what belongs to no known container: the engine died between two steps."""
        holders = (key.partition(":") for key in self._layers.holds.keys())  # noqa: SIM118
        held = {name for kind, _, name in holders if kind == "container"}
        on_disk = {entry.name for entry in self.folder.iterdir()}
        for container_id in (held | on_disk) - set(known):
            self.remove(container_id)

    def changes(self, container_id: str) -> list[Change]:
        """List what a container changed, as `docker diff` does."""
        held = self._layers.held_by(f"container:{container_id}")
        upper = self.path(container_id) / "upper"
        if not self.copies:
            return self._layers.changes(str(upper), held)
        with self._layers.stack(held) as stack, _opened(upper) as root:
            return copies.diff(root, stack)

    def commit(self, container_id: str) -> Layer:
        """Make a layer of what a container changed; the container keeps its own."""
        upper = self.path(container_id) / "upper"
        parents = self.image_layers(container_id)
        if not self.copies:
            return self._layers.commit(str(upper), parents=parents, move=False)
        with _opened(upper) as root:
            items = copies.changed_items(root, self.changes(container_id))
            return self._layers.pack(items, parents=parents)

    def sizes(self, container_id: str) -> int:
        """Return the bytes of the files that a container wrote."""
        upper = self.path(container_id) / "upper"
        if not self.copies:
            return _size_below(upper, set())
        changed = [upper / change.path.lstrip("/") for change in self.changes(container_id)]
        statuses = [path.lstat() for path in changed if path.is_symlink() or path.exists()]
        return sum(status.st_size for status in statuses if stat.S_ISREG(status.st_mode))

    @contextmanager
    def merged(self, rootfs: Rootfs, *, writable: bool = False) -> Iterator[int]:
        """Look at a whole tree through a mount that nobody else sees.

        Args:
            rootfs: of a container that does not run, or read-only beside one that does.
            writable: changes go to the upper directory; only while no container runs on it.

        Yields:
            A descriptor of the root directory, good for paths below it.
        """
        if isinstance(rootfs, Directory):
            with _opened(Path(rootfs.path)) as root:
                yield root
            return
        mount = self._overlay(rootfs, writable=writable)
        try:
            with _opened(Path(f"/proc/self/fd/{mount}")) as root:
                yield root
        finally:
            os.close(mount)

    def _overlay(self, rootfs: Overlay, *, writable: bool) -> int:
        lowers = [f"{rootfs.layers_dir}/{lower}" for lower in rootfs.lowers]
        if writable:
            return mounts.detached_overlay(lowers, upper=rootfs.upper, work=rootfs.work)
        lowers = [rootfs.upper, *lowers]
        if len(lowers) == 1:
            # An overlay wants two lower directories when there is none to write to.
            lowers.append(str(self._empty()))
        return mounts.detached_overlay(lowers)

    def _empty(self) -> Path:
        folder = self.folder.parent / "tmp" / "empty"
        folder.mkdir(mode=0o755, exist_ok=True)
        return folder

    @contextmanager
    def image_root(self, layers: Sequence[Layer]) -> Iterator[int]:
        """Look at the tree of an image's layers (bottom first), read-only."""
        if self.copies:
            with tempfile.TemporaryDirectory(dir=self.folder.parent / "tmp") as name:
                self._copy(Path(name), layers)
                with _opened(Path(name)) as root:
                    yield root
            return
        lowers = [f"{self._layers.folder}/{layer.lower}" for layer in reversed(layers)]
        lowers += [str(self._empty())] * max(0, 2 - len(lowers))
        mount = mounts.detached_overlay(dict.fromkeys(lowers))
        try:
            with _opened(Path(f"/proc/self/fd/{mount}")) as root:
                yield root
        finally:
            os.close(mount)

    def _copy(self, target: Path, layers: Sequence[Layer]) -> None:
        with ExitStack() as opened:
            sources = [
                opened.enter_context(_opened(self._layers.path(layer) / "fs")) for layer in layers
            ]
            copies.lay(opened.enter_context(_opened(target)), sources)

    def _init_layer(self, layers: Sequence[Layer]) -> Layer:
        """Make, or find, the layer of mount points that these layers lack."""
        chain = chain_of(layers)
        known = self._init_layers.get(chain)
        if known is not None and self._layers.is_there(known):
            return known
        with self._layers.stack(layers) as stack:
            missing = [entry for entry in _MOUNT_POINTS if _lacks(stack, entry.name)]
        made = self._layers.pack([pack.Item(entry) for entry in missing], parents=layers)
        self._init_layers[chain] = made
        return made

    def _dress_root(self, upper: Path, layers: Sequence[Layer]) -> None:
        """Give the root directory what the topmost layer that speaks of it says."""
        root = next((layer.root for layer in reversed(layers) if layer.root), (0o755, 0, 0))
        os.chown(upper, root[1], root[2])
        upper.chmod(root[0])


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, _LIST)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _carries_overlay(folder: Path) -> bool:
    """Try an overlay; another overlay, NFS or a kernel without it says no."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        for part in ("lower", "upper", "work"):
            Path(name, part).mkdir()
        try:
            parts = [str(Path(name, part)) for part in ("lower", "upper", "work")]
            os.close(mounts.detached_overlay(parts[:1], upper=parts[1], work=parts[2]))
        except OSError:
            return False
        return True


def _lacks(stack: Stack, path: bytes) -> bool:
    """Tell whether a mount point is missing, and could be made without hiding anything."""
    folder = path.rpartition(b"/")[0]
    below = stack.exists(folder) if folder else None
    if below is not None and not stat.S_ISDIR(below.st_mode):
        return False
    return stack.exists(path) is None


def _size_below(folder: Path, seen: set[int]) -> int:
    total = 0
    try:
        entries = list(os.scandir(folder))
    except FileNotFoundError:
        return 0
    for entry in entries:
        try:
            status = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            continue
        if stat.S_ISDIR(status.st_mode):
            total += _size_below(Path(entry.path), seen)
        elif stat.S_ISREG(status.st_mode) and status.st_ino not in seen:
            seen.add(status.st_ino)
            total += status.st_size
    return total
