"""Volumes of the `local` driver, and the mounts of new containers.

Knows:   the rows of volumes, who uses them, what a container mounts of them.
Refuses: to mount (init does), the disk (`volume_folders.py`), and for now volumes of type tmpfs
         and nfs, which need a mount that outlives their containers.
Source:  moby daemon/volume/local/local.go, daemon/create_unix.go, daemon/volumes.go.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from dockerlab.engine.model.container import Container
from dockerlab.engine.model.rootfs import Rootfs
from dockerlab.engine.model.volume import ANONYMOUS_LABEL, MountPoint, Volume
from dockerlab.engine.services import mount_requests
from dockerlab.engine.services.mount_requests import Wish
from dockerlab.engine.services.volume_folders import VolumeFolders
from dockerlab.engine.store.records import Table
from dockerlab.engine.store.store import Store
from dockerlab.errors import Conflict, InvalidRequest, NotFound, Unsupported
from dockerlab.wire.binds import parse_volumes_from
from dockerlab.wire.documents import VolumeCreate
from dockerlab.wire.filters import Filters

_LIST_FILTERS = {"dangling", "driver", "label", "name"}
_PRUNE_FILTERS = {"label", "label!", "all"}
_OPTIONS = {"type", "o", "device", "size"}
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*", re.ASCII)


class Events(Protocol):
    """The part of the events service that this needs."""

    def emit(self, kind: str, action: str, actor_id: str, attributes: Mapping[str, str]) -> None:
        """Announce something."""


class Volumes:
    """All volumes of this engine."""

    def __init__(
        self, store: Store, events: Events, containers: Callable[[], Iterable[Container]]
    ) -> None:
        """Take what it works on.

        Args:
            store: keeps rows and folders, shows image content.
            events: hears of everything.
            containers: lists all rows, to know who uses what.
        """
        self._store, self._events, self._containers = store, events, containers
        self._rows = Table(store.db, "volumes", Volume)
        self._folders = VolumeFolders(store)
        self._making = asyncio.Lock()
        self._pruning = asyncio.Lock()
        # Volumes made by creations under way; a failed one takes them back.
        self._made: dict[str, list[str]] = {}
        self._folders.sweep(self._rows)

    def get(self, name: str) -> Volume:
        """Find a volume.

        Raises:
            NotFound: there is none.
        """
        row = self._rows.get(name)
        if row is None:
            raise NotFound(f"get {name}: no such volume", hint="docker volume ls lists all.")
        return row

    def mountpoint(self, volume: Volume) -> str:
        """Say where a volume's data lie on the host."""
        return str(self._folders.data(volume.name))

    async def create(self, request: VolumeCreate) -> Volume:
        """Make a volume; one of that name that is there already is the answer.

        Raises:
            InvalidRequest, NotFound, Unsupported, Conflict: in Docker's words.
        """
        volume, _ = await self._ensure(
            request.name, request.driver, request.driver_opts, request.labels
        )
        return volume

    def listed(self, filters: Filters) -> list[Volume]:
        """List volumes by name."""
        filters.check(_LIST_FILTERS)
        dangling = filters.flag("dangling") if "dangling" in filters else None
        found = [
            one
            for one in self._rows.values()
            if filters.pattern("name", one.name)
            and filters.exact("driver", one.driver)
            and filters.labels(one.labels)
            and (dangling is None or dangling != bool(self.users(one.name)))
        ]
        return sorted(found, key=lambda one: one.name)

    async def remove(self, name: str, *, force: bool = False) -> None:
        """Remove a volume and its data.

        Raises:
            Conflict: a container has it, running or not. NotFound: not when forced.
        """
        try:
            volume = self.get(name)
        except NotFound:
            if force:
                return
            raise
        if ids := self.users(name):
            raise Conflict(
                f"remove {name}: volume is in use - [{', '.join(ids)}]",
                hint=f"Remove the container first: docker rm {ids[0][:12]}",
            )
        await self._drop(volume)

    async def prune(self, filters: Filters, *, every: bool = False) -> tuple[list[str], int]:
        """Remove unused volumes: those without a name, or all.

        Returns:
            Their names, and the bytes freed.

        Raises:
            Conflict: another prune is under way.
        """
        filters.check(_PRUNE_FILTERS)
        every = filters.flag("all", every)
        if self._pruning.locked():
            raise Conflict("a prune operation is already running")
        async with self._pruning:
            gone, freed = [], 0
            for one in self.listed(Filters()):
                fits = filters.labels(one.labels) and filters.labels(one.labels, "label!")
                if fits and (every or one.anonymous) and not self.users(one.name):
                    freed += await asyncio.to_thread(self._folders.size, one.name)
                    await self._drop(one)
                    gone.append(one.name)
            self._events.emit("volume", "prune", "", {"reclaimed": str(freed)})
            return gone, freed

    async def size(self, volume: Volume) -> int:
        """Measure the bytes of a volume's files."""
        return await asyncio.to_thread(self._folders.size, volume.name)

    def users(self, name: str) -> list[str]:
        """List the ids of the containers that have a volume."""
        return mount_requests.users(name, ((one.id, one.mounts) for one in self._containers()))

    async def prepare(self, container: Container, rootfs: Rootfs) -> tuple[MountPoint, ...]:
        """Make what a new container mounts; fill new volumes with the image's content.

        On failure the caller calls `release`, and nothing of it remains.

        Raises:
            InvalidRequest, NotFound, Conflict, Unsupported: in Docker's words.
        """
        wishes = mount_requests.decide(
            container.host,
            container.config.volumes or (),
            self._inherited(container.host.volumes_from),
        )
        self._made[container.id] = []
        points, empty = [], []
        for wish in wishes:
            point = await self._point(container.id, wish)
            points.append(point)
            if point.type == "volume" and wish.copy:
                empty.append(point)
        if empty:
            await asyncio.to_thread(self._folders.fill, rootfs, empty)
        return tuple(points)

    async def release(self, container_id: str, *, remove_anonymous: bool) -> None:
        """Let go of a container's volumes, before its row goes or because it never got one.

        Args:
            container_id: whose.
            remove_anonymous: those made for it without a name go too.
        """
        made = self._made.pop(container_id, [])
        row = next((one for one in self._containers() if one.id == container_id), None)
        if row is not None:
            made = [point.name for point in row.mounts if point.owned] if remove_anonymous else []
            for name in {point.name for point in row.mounts} - set(made):
                present = self._rows.get(name)
                if present is not None and present.made_for == container_id:
                    await self._rows.put(name, replace(present, made_for=""))
        for name in made:
            volume = self._rows.get(name)
            if volume is not None and not set(self.users(name)) - {container_id}:
                await self._drop(volume)

    async def sweep(self, container_ids: Collection[str]) -> None:
        """Remove what was made for containers whose creation an engine's death cut short."""
        for volume in self._rows.values():
            if volume.made_for and volume.made_for not in container_ids:
                await self._drop(volume)

    def announce(self, container: Container, action: str) -> None:
        """Tell that a container's volumes were mounted ("mount") or let go of ("unmount")."""
        for point in container.mounts:
            if point.type != "volume":
                continue
            attributes = {"container": container.id, "driver": point.driver}
            if action == "mount":
                attributes |= {
                    "destination": point.destination,
                    "propagation": point.propagation,
                    "read/write": "true" if point.rw else "false",
                }
            self._events.emit("volume", action, point.name, attributes)

    async def _ensure(
        self,
        name: str,
        driver: str,
        options: Mapping[str, str],
        labels: Mapping[str, str],
        made_for: str = "",
    ) -> tuple[Volume, bool]:
        """Find or make a volume; say whether it was made."""
        if driver not in {"", "local"}:
            raise NotFound(
                f'error looking up volume plugin {driver}: plugin "{driver}" not found',
                hint="This engine has the driver local.",
            )
        _check_name(name)
        _check_options(name, options)
        async with self._making:
            present = self._rows.get(name)
            if present is not None:
                return present, False
            if not name:
                name, labels = secrets.token_hex(32), {**labels, ANONYMOUS_LABEL: ""}
            volume = Volume(
                name=name,
                created_ns=time.time_ns(),
                labels=dict(labels),
                options=dict(options),
                made_for=made_for,
            )
            await asyncio.to_thread(self._folders.make, name)
            await self._rows.put(name, volume, durable=True)
        self._events.emit("volume", "create", name, {"driver": volume.driver})
        return volume, True

    async def _point(self, container_id: str, wish: Wish) -> MountPoint:
        if wish.point is not None:
            return replace(wish.point, rw=wish.rw, owned=False)
        if wish.kind == "tmpfs":
            return MountPoint(type="tmpfs", destination=wish.target, mode=wish.mode, rw=wish.rw)
        if wish.kind == "bind":
            await asyncio.to_thread(_check_source, wish)
            return MountPoint(
                type="bind",
                source=wish.source,
                destination=wish.target,
                mode=wish.mode,
                rw=wish.rw,
                propagation=wish.propagation or self._propagation(wish.source),
            )
        volume, made = await self._ensure(
            wish.source, wish.driver, wish.options, wish.labels, container_id
        )
        if made:
            self._made[container_id].append(volume.name)
        source = await asyncio.to_thread(self._source_of, volume, wish.subpath)
        return MountPoint(
            type="volume",
            name=volume.name,
            source=source,
            within=self.mountpoint(volume) if self._is_part(source, volume) else "",
            destination=wish.target,
            driver=volume.driver,
            mode=wish.mode,
            rw=wish.rw,
            propagation=wish.propagation,
            owned=not wish.source,
        )

    def _source_of(self, volume: Volume, subpath: str) -> str:
        """Say what is mounted for a volume: its data, a part of them, or what it stands for."""
        if "bind" in volume.options.get("o", "").split(","):
            device = volume.options.get("device", "")
            if not Path(device).exists():
                raise InvalidRequest(
                    f"failed to mount local volume: mount {device}:{self.mountpoint(volume)}, "
                    "flags: 0x1000: no such file or directory"
                )
            return device
        if subpath:
            self._folders.check_part(volume.name, subpath)
            return f"{self.mountpoint(volume)}/{subpath}"
        return self.mountpoint(volume)

    def _is_part(self, source: str, volume: Volume) -> bool:
        return source.startswith(f"{self.mountpoint(volume)}/")

    def _propagation(self, source: str) -> str:
        """A bind that holds our own folders must not keep what the engine mounts there."""
        root = str(self._store.root)
        inside = source == root or source.startswith(f"{root}/")
        around = source == "/" or root.startswith(f"{source}/")
        return "rslave" if inside or around else "rprivate"

    def _inherited(self, texts: Sequence[str]) -> Iterator[tuple[MountPoint, str]]:
        for text in texts:
            name, mode = parse_volumes_from(text)
            bare = name.removeprefix("/")
            found = [
                one
                for one in self._containers()
                if bare in {one.name, one.id} or one.id.startswith(bare)
            ]
            exact = [one for one in found if bare in {one.name, one.id}] or found
            if len(exact) != 1:
                raise NotFound(f"No such container: {name}", hint="docker ps -a lists all.")
            for point in exact[0].mounts:
                yield point, mode

    async def _drop(self, volume: Volume) -> None:
        # The row first: a folder without one is swept by the next engine.
        await self._rows.delete(volume.name, durable=True)
        await asyncio.to_thread(self._folders.remove, volume.name)
        self._events.emit("volume", "destroy", volume.name, {"driver": volume.driver})


def _check_name(name: str) -> None:
    if not name:
        return
    if not _NAME.fullmatch(name):
        raise InvalidRequest(
            f'create {name}: "{name}" includes invalid characters for a local volume name, only '
            '"[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, '
            "use absolute path"
        )
    if len(name) == 1:
        raise InvalidRequest(
            f"create {name}: volume name is too short, names should be at least two "
            "alphanumeric characters"
        )


def _check_options(name: str, options: Mapping[str, str]) -> None:
    for key in options:
        if key not in _OPTIONS:
            raise InvalidRequest(f'create {name}: invalid option: "{key}"')
    words = options.get("o", "").split(",")
    if options and "bind" not in words:
        raise Unsupported(
            f"create {name}: volumes of type {options.get('type', '')} are not supported yet",
            hint="Use --tmpfs, or a bind: -o type=none -o o=bind -o device=/path",
        )
    if "bind" in words and not options.get("device"):
        raise InvalidRequest(f'create {name}: missing required option: "device"')


def _check_source(wish: Wish) -> None:
    path = Path(wish.source)
    if path.exists():
        return
    if not wish.make_source:
        raise InvalidRequest(
            f'invalid mount config for type "bind": bind source path does not exist: {path}',
            hint=f"Make it first (mkdir -p {path}), or use -v, which does.",
        )
    path.mkdir(mode=0o755, parents=True, exist_ok=True)
