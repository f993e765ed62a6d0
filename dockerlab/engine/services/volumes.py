"""What appears in containers beside their image: binds, volumes, tmpfs.

Knows:   the words of `-v`, `--mount` and VOLUME; whose an anonymous volume is.
Refuses: to mount; `runtime/init.py` does.
Source:  moby daemon/volumes.go, daemon/create_unix.go.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Protocol

from dockerlab.engine.model.container import Container
from dockerlab.engine.model.rootfs import Rootfs
from dockerlab.engine.model.volume import ANONYMOUS_LABEL, MountPoint, Volume
from dockerlab.engine.services.names import new_id
from dockerlab.engine.store.records import Table
from dockerlab.engine.store.store import Store
from dockerlab.wire.binds import parse_bind


class Events(Protocol):
    """The part of the events service that this needs."""

    def emit(self, kind: str, action: str, actor_id: str, attributes: Mapping[str, str]) -> None:
        """Announce something."""


class Volumes:
    """All volumes of this engine."""

    def __init__(
        self, store: Store, events: Events, containers: Callable[[], Iterable[Container]]
    ) -> None:
        self._rows = Table(store.db, "volumes", Volume)
        self._folder = store.root / "volumes"
        self._events, self._containers = events, containers

    async def prepare(self, container: Container, rootfs: Rootfs) -> tuple[MountPoint, ...]:
        """Decide and make what a new container mounts."""
        del rootfs
        points: dict[str, MountPoint] = {}
        for text in container.host.binds:
            bind = parse_bind(text)
            if bind.is_volume:
                point = await self._volume(bind.source, bind.target, rw=not bind.read_only)
            else:
                await asyncio.to_thread(os.makedirs, bind.source, exist_ok=True)
                point = MountPoint(
                    type="bind",
                    source=bind.source,
                    destination=bind.target,
                    mode=bind.mode,
                    rw=not bind.read_only,
                    propagation=bind.propagation or "rprivate",
                )
            points[point.destination] = point
        for target in container.config.volumes:
            if target not in points:
                points[target] = await self._volume("", target, rw=True)
        return tuple(points.values())

    async def release(self, container_id: str, *, remove_anonymous: bool) -> None:
        """Let a removed container's volumes go."""
        del container_id, remove_anonymous

    async def _volume(self, name: str, target: str, *, rw: bool) -> MountPoint:
        labels = {} if name else {ANONYMOUS_LABEL: ""}
        owned, name = not name, name or new_id()
        data = self._folder / name / "_data"
        if name not in self._rows:
            await asyncio.to_thread(Path.mkdir, data, 0o755, True, True)  # noqa: FBT003
            volume = Volume(name=name, created_ns=time.time_ns(), labels=labels)
            await self._rows.put(name, volume, durable=True)
        return MountPoint(
            type="volume",
            name=name,
            source=str(data),
            destination=target,
            driver="local",
            rw=rw,
            owned=owned,
        )
