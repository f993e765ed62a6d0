"""Copy files into and out of containers, whether they run or not.

Knows:   what a container shows at which path, and when it may not be written to.
Refuses: tar and the way through hostile trees (`store/carry.py`, `linux/views.py`); HTTP.
Source:  moby daemon/archive_unix.go.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress

from dockerlab.engine.linux import views
from dockerlab.engine.linux.inside import directory_inside, file_inside, open_inside, text_inside
from dockerlab.engine.linux.views import Part, View
from dockerlab.engine.model.container import Container
from dockerlab.engine.model.path_stat import PathStat
from dockerlab.engine.model.rootfs import Directory
from dockerlab.engine.runtime import identity
from dockerlab.engine.services.bodies import with_body
from dockerlab.engine.services.container_events import ContainerEvents
from dockerlab.engine.services.directory import Directory as Names
from dockerlab.engine.services.rooms import Rooms
from dockerlab.engine.store import carry
from dockerlab.engine.store.archives import chunks_of
from dockerlab.engine.store.streams import Source
from dockerlab.errors import Failed, InvalidRequest, NotFound

_ENGINE_FILES = ("hosts", "hostname", "resolv.conf")
_MAX_PASSWD_BYTES = 1 << 20


class Download:
    """A tar on its way out; holds the container's tree until it is closed."""

    def __init__(self, view: View, path: str) -> None:
        self._view = view
        self._pieces = chunks_of(carry.tar(view.root, path))

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        piece = await asyncio.to_thread(next, self._pieces, b"")
        if not piece:
            raise StopAsyncIteration
        return piece

    async def aclose(self) -> None:
        """Let go, also in the middle, also before the first piece."""
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._pieces.close()
        self._view.close()


class Copies:
    """`docker cp`, both ways."""

    def __init__(self, rooms: Rooms, names: Names) -> None:
        self._rooms, self._names = rooms, names
        self._events = ContainerEvents(rooms.events)
        self._place = str(rooms.store.root / "tmp")

    async def stat(self, name: str, path: str) -> PathStat:
        """Look at a path in a container.

        Raises:
            NotFound: no such container, or no such path in it.
        """
        container = self._names.find(name)
        await self._make_places(container)

        def look() -> PathStat:
            with self._view(container) as view, _docker_errors(name, path):
                return carry.look(view.root, path)

        return await asyncio.to_thread(look)

    async def read(self, name: str, path: str) -> tuple[PathStat, Download]:
        """Take a path out of a container, as a tar that comes piece by piece.

        Raises:
            NotFound: no such container, or no such path in it.
        """
        container = self._names.find(name)
        await self._make_places(container)

        def opened() -> tuple[PathStat, Download]:
            view = self._view(container)
            try:
                with _docker_errors(name, path):
                    return carry.look(view.root, path), Download(view, path)
            except BaseException:
                view.close()
                raise

        found = await asyncio.to_thread(opened)
        self._events.emit(container, "archive-path")
        return found

    async def write(
        self,
        name: str,
        path: str,
        body: AsyncIterator[bytes],
        *,
        keep_kinds: bool,
        as_user: bool,
    ) -> None:
        """Unpack an archive into a directory of a container.

        Args:
            name: of the container.
            path: of the directory; it must be there.
            body: the archive, compressed or not.
            keep_kinds: a directory is never replaced by a file, nor the other way round.
            as_user: everything belongs to the container's user.

        Raises:
            NotFound: no such container or directory.
            InvalidRequest: no directory, read-only, or an archive that can't be unpacked.
        """
        container = self._names.find(name)
        live = self._names.live(container.id)

        def unpack(source: Source) -> None:
            with self._view(container, writable=True) as view:
                with _docker_errors(name, path):
                    landing = carry.check_landing(view.root, path)
                _check_writable(container, landing)
                owner = _owner(view.root, container) if as_user else None
                carry.untar(view.root, landing, source, owner=owner, keep_kinds=keep_kinds)

        if live.process is not None:
            await with_body(body, unpack)
        else:
            # A start would mount the writable layer a second time: it waits, as Docker's does.
            async with live.lock:
                await with_body(body, unpack)
        self._events.emit(container, "extract-to-dir")

    async def _make_places(self, container: Container) -> None:
        """Make the places of a resting container's mounts, which a look alone could not."""
        live = self._names.live(container.id)
        if live.process is None and container.mounts:
            async with live.lock:
                if live.process is None:
                    await asyncio.to_thread(self._make_missing, container)

    def _view(self, container: Container, *, writable: bool = False) -> View:
        process = self._names.live(container.id).process
        if process is not None:
            with suppress(ProcessLookupError, ValueError):
                return views.of_process(process.pidfd, self._parts(container), self._place)
        snapshots = self._rooms.store.snapshots
        rootfs = snapshots.rootfs(container.id)
        parts = self._parts(container)
        if isinstance(rootfs, Directory):
            return views.of_directory(rootfs.path, parts, self._place)
        with snapshots.merged(rootfs, writable=writable) as root:
            return views.of_mount(root, parts, self._place)

    def _parts(self, container: Container) -> list[Part]:
        """What is mounted in a container that one can copy from: not /proc, /sys and /dev."""
        folder = self._rooms.store.snapshots.path(container.id)
        points = [
            Part(
                target=point.destination,
                source=point.source,
                within=point.within,
                read_only=not point.rw,
            )
            for point in container.mounts
            if point.type != "tmpfs"
        ]
        points.sort(key=lambda part: part.target.count("/"))
        taken = {part.target for part in points}
        files = [
            Part(target=f"/etc/{name}", source=str(folder / name))
            for name in _ENGINE_FILES
            if f"/etc/{name}" not in taken and (folder / name).exists()
        ]
        return [*files, *points]

    def _make_missing(self, container: Container) -> None:
        snapshots = self._rooms.store.snapshots
        rootfs = snapshots.rootfs(container.id)
        parts = self._parts(container)
        with snapshots.merged(rootfs) as root:
            missing = [part for part in parts if _lacks(root, part.target)]
        if not missing:
            return
        with snapshots.merged(rootfs, writable=True) as root:
            for part in missing:
                make = directory_inside if os.path.isdir(part.source) else file_inside
                os.close(make(root, part.target))


@contextmanager
def _docker_errors(name: str, path: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise NotFound(
            f"Could not find the file {path} in container {name}",
            hint=f"docker exec {name} ls, or docker cp {name}:/ - | tar t, shows what is there.",
        ) from None
    except OSError as error:
        raise Failed(f"lstat {path}: {(error.strerror or str(error)).lower()}") from error


def _lacks(root: int, path: str) -> bool:
    try:
        os.close(open_inside(root, path, os.O_PATH))
    except FileNotFoundError:
        return True
    except OSError:
        # Something else is in the way; the start will say so.
        return False
    return False


def _check_writable(container: Container, landing: str) -> None:
    """Refuse what the mounts would refuse, in Docker's words."""
    inner_first = sorted(container.mounts, key=lambda point: -len(point.destination))
    for point in inner_first:
        if landing == point.destination or landing.startswith(f"{point.destination}/"):
            if not point.rw:
                raise InvalidRequest("mounted volume is marked read-only")
            return
    if container.host.readonly_rootfs:
        raise InvalidRequest(
            "container rootfs is marked read-only", hint="A volume in it can be written to."
        )


def _owner(root: int, container: Container) -> tuple[int, int]:
    """Look up the container's user in its own files."""
    texts = [text_inside(root, f"/etc/{name}", _MAX_PASSWD_BYTES) for name in ("passwd", "group")]
    try:
        found = identity.resolve(container.config.user, [], *texts)
    except identity.UnknownUser as error:
        raise InvalidRequest(str(error)) from None
    return found.uid, found.gid
