"""Commit: what a container changed becomes a layer, what it was asked to be a configuration.

Knows:   Docker's merging of the two, the pause around the reading, names, events.
Refuses: how a layer is made (`store/snapshots.py`) and what an instruction does
         (`build/config_steps.py`).
Source:  moby daemon/commit.go, image/image.go (NewChildImage).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import TypeVar

import msgspec

from dockerlab.engine.model.commit_wish import CommitWish
from dockerlab.engine.model.container import Container
from dockerlab.engine.model.image import Image, Layer
from dockerlab.engine.model.lifecycle import Status
from dockerlab.engine.services.container_events import ContainerEvents
from dockerlab.engine.services.directory import Directory
from dockerlab.engine.services.image_changes import changed
from dockerlab.engine.services.images import Images
from dockerlab.engine.services.rooms import Rooms
from dockerlab.engine.services.supervision import Supervisor
from dockerlab.errors import Conflict, DockerlabError
from dockerlab.oci import documents, names
from dockerlab.oci.documents import HealthConfig, History, ImageConfig, ImageRunConfig, RootFS
from dockerlab.wire.documents import ContainerConfig
from dockerlab.wire.times import rfc3339

V = TypeVar("V")


class Commits:
    """Makes images of containers."""

    def __init__(
        self, rooms: Rooms, directory: Directory, supervisor: Supervisor, images: Images
    ) -> None:
        self._rooms, self._directory = rooms, directory
        self._supervisor, self._images = supervisor, images
        self._events = ContainerEvents(rooms.events)

    async def commit(self, name: str, wish: CommitWish) -> str:
        """Make an image of a container; the container goes on as it is.

        Returns:
            The image's id.

        Raises:
            NotFound: no such container, or its image is gone.
            Conflict: it is being removed. InvalidRequest: a change or a name that can't be.
        """
        container = self._directory.find(name)
        reference = names.parse_repository(wish.repository, wish.tag) if wish.repository else None
        if container.state.status in {Status.REMOVING, Status.DEAD}:
            what = "Dead" if container.state.status is Status.DEAD else "being removed"
            raise Conflict(f"You cannot commit container {container.id} which is {what}")
        base = self._rooms.store.images.resolve(container.image_id)
        own = _run_config(container.config)
        config = changed(_run_config(wish.config) if wish.config else own, wish.changes)
        config = _merged(config, own)
        async with self._paused(container, wanted=wish.pause):
            image = await asyncio.to_thread(self._made, container, base, config, wish)
            shown = reference.familiar if reference else ""
            if reference:
                await self._images.tag(image.id, wish.repository, wish.tag)
            self._events.emit(
                container, "commit", comment=wish.comment, imageID=image.id, imageRef=shown
            )
        return image.id

    @asynccontextmanager
    async def _paused(self, container: Container, *, wanted: bool) -> AsyncIterator[None]:
        paused = wanted and container.state.status is Status.RUNNING
        if paused:
            try:
                await self._supervisor.pause(container.id)
            except DockerlabError:
                # It ended meanwhile, or somebody else paused it: either way it holds still.
                paused = False
        try:
            yield
        finally:
            if paused:
                with suppress(DockerlabError):
                    await self._supervisor.unpause(container.id)

    def _made(
        self, container: Container, base: Image, config: ImageRunConfig, wish: CommitWish
    ) -> Image:
        store = self._rooms.store
        with store.layers.lease():
            layers = list(base.layers)
            layer: Layer | None = None
            if store.snapshots.changes(container.id):
                layer = store.snapshots.commit(container.id)
                layers.append(layer)
            document = _document(container, base, config, wish, layers=layers, empty=layer is None)
            return store.images.put_sync(documents.render(document), layers, parent=base.id)


def _document(
    container: Container,
    base: Image,
    config: ImageRunConfig,
    wish: CommitWish,
    *,
    layers: Sequence[Layer],
    empty: bool,
) -> ImageConfig:
    created = rfc3339(time.time_ns())
    step = History(
        created=created,
        created_by=" ".join(container.config.cmd or ()),
        author=wish.author,
        comment=wish.comment,
        empty_layer=empty,
    )
    return ImageConfig(
        architecture=base.document.architecture,
        os=base.document.os,
        variant=base.document.variant,
        os_version=base.document.os_version,
        created=created,
        author=wish.author or msgspec.UNSET,
        comment=wish.comment or msgspec.UNSET,
        config=config,
        rootfs=RootFS(diff_ids=tuple(layer.diff_id for layer in layers)),
        history=(*base.document.history, step),
    )


def _run_config(config: ContainerConfig) -> ImageRunConfig:
    """Take over what an image can say; the rest is about one container."""
    health = config.healthcheck
    return ImageRunConfig(
        user=config.user,
        exposed_ports=dict(config.exposed_ports),
        env=config.env,
        entrypoint=config.entrypoint,
        cmd=config.cmd,
        volumes=dict(config.volumes),
        working_dir=config.working_dir,
        labels=dict(config.labels),
        stop_signal=config.stop_signal,
        stop_timeout=config.stop_timeout,
        healthcheck=HealthConfig(**msgspec.structs.asdict(health)) if health else None,
        shell=config.shell,
        on_build=config.on_build,
    )


def _merged(config: ImageRunConfig, own: ImageRunConfig) -> ImageRunConfig:
    """Fill what a commit leaves open from the container's own configuration."""
    entrypoint, cmd = config.entrypoint, config.cmd
    if not entrypoint:
        cmd = cmd or own.cmd
        entrypoint = own.entrypoint if entrypoint is None else entrypoint
    return msgspec.structs.replace(
        config,
        user=config.user or own.user,
        exposed_ports=_sorted(own.exposed_ports | config.exposed_ports),
        env=_with_missing(config.env, own.env),
        labels=_sorted(own.labels | config.labels),
        entrypoint=entrypoint,
        cmd=cmd,
        volumes=_sorted(own.volumes | config.volumes),
        working_dir=config.working_dir or own.working_dir,
        stop_signal=config.stop_signal or own.stop_signal,
        stop_timeout=own.stop_timeout if config.stop_timeout is None else config.stop_timeout,
        healthcheck=_merged_health(config.healthcheck, own.healthcheck),
        shell=config.shell or own.shell,
    )


def _merged_health(config: HealthConfig | None, own: HealthConfig | None) -> HealthConfig | None:
    if config is None or own is None:
        return config or own
    fields = config.__struct_fields__
    return HealthConfig(**{name: getattr(config, name) or getattr(own, name) for name in fields})


def _with_missing(env: Sequence[str], own: Sequence[str]) -> tuple[str, ...]:
    keys = {entry.partition("=")[0] for entry in env}
    return (*env, *(entry for entry in own if entry.partition("=")[0] not in keys))


def _sorted(mapping: Mapping[str, V]) -> dict[str, V]:
    """Keys in order, as Go writes maps."""
    return dict(sorted(mapping.items()))
