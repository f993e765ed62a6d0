"""The verbs of containers: create, remove, rename, update, prune; and who owns their parts.

Knows:   that a creation or a removal is whole or has left nothing.
Refuses: HTTP; runs (`supervision`), execs (`execs`), reading (`reading`).
Source:  moby daemon/{create,delete,rename,update,prune}.go.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from dataclasses import replace

import msgspec

from dockerlab.engine.model.container import Container
from dockerlab.engine.model.image import Image, ImageUser
from dockerlab.engine.model.lifecycle import Move, Status, after
from dockerlab.engine.runtime.translate import resources
from dockerlab.engine.services import creation, host_checks, names, partners, updates
from dockerlab.engine.services.container_events import ContainerEvents
from dockerlab.engine.services.directory import Directory
from dockerlab.engine.services.execs import Execs
from dockerlab.engine.services.health import HealthChecks
from dockerlab.engine.services.reading import Reading
from dockerlab.engine.services.rooms import Rooms
from dockerlab.engine.services.selection import Selection
from dockerlab.engine.services.supervision import Supervisor
from dockerlab.errors import Conflict, DockerlabError, Failed, InvalidRequest
from dockerlab.wire.documents import CreateContainer, UpdateContainer
from dockerlab.wire.filters import Filters

_NO_NAME = "Error when allocating new name"


class Containers:
    """All containers of this engine."""

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms
        self.directory = Directory(rooms.containers)
        self.execs = Execs(rooms, self.directory)
        self.health = HealthChecks(rooms, self.directory, self.execs)
        self.supervisor = Supervisor(rooms, self.directory, self.health, self._auto_remove)
        self.reading = Reading(rooms, self.directory, self.health)
        self._events = ContainerEvents(rooms.events)
        self._pruning = asyncio.Lock()

    async def create(
        self, request: CreateContainer, name: str, platform: str = ""
    ) -> tuple[str, list[str]]:
        """Make a container; nothing runs yet.

        Returns:
            Its id, and warnings about limits this machine can't hold.

        Raises:
            NotFound: no such image here. Conflict: the name is taken. InvalidRequest: see text.
        """
        if not request.image:
            raise InvalidRequest("config.Image must not be empty")
        image = self._rooms.store.images.resolve(request.image)
        creation.check_platform(request.image, image, platform)
        host = partners.resolved(request.host_config, self.directory.find)
        request = msgspec.structs.replace(request, host_config=host)
        fresh_id = names.new_id()
        taken = self.directory.reserve(name, fresh_id)
        try:
            facts = creation.Facts(
                id=fresh_id,
                name=taken,
                now_ns=time.time_ns(),
                host_name=socket.gethostname(),
                cgroup_version=self._rooms.hierarchy.version,
                cpus=os.cpu_count() or 1,
                limits=self._rooms.hierarchy.supports,
            )
            container = creation.decide(request, image, facts)
            container = await self._furnished(container, image)
        except BaseException:
            self.directory.release(taken)
            raise
        self._events.emit(container, "create")
        warnings = self._rooms.hierarchy.warnings(resources(request.host_config))
        return fresh_id, warnings + host_checks.warnings(container.host)

    async def remove(self, name: str, *, force: bool = False, volumes: bool = False) -> None:
        """Remove a container, its writable layer and its log.

        Args:
            name: of the container.
            force: end it first if it runs.
            volumes: its anonymous volumes go too.

        Raises:
            Conflict: it runs and `force` was not asked for, or it is being removed already.
        """
        container = self.directory.find(name)
        if force:
            await self.supervisor.end(container.id)
        async with self.directory.live(container.id).lock:
            if force:
                # A start, or a restart policy, may have been faster than the lock.
                await self.supervisor.end(container.id)
            await self._remove(container.id, volumes=volumes or container.host.auto_remove)

    async def rename(self, name: str, new_name: str) -> None:
        """Give a container another name.

        Raises:
            Conflict: somebody has that name. InvalidRequest: it can't be one, or it is the same.
        """
        if not new_name:
            raise InvalidRequest("Neither old nor new names may be empty")
        container = self.directory.find(name)
        try:
            wanted = names.checked(f"/{new_name.removeprefix('/')}")
        except InvalidRequest as error:
            raise InvalidRequest(f"{_NO_NAME}: {error.message}", hint=error.hint) from None
        if wanted == container.name:
            raise InvalidRequest("Renaming a container with the same name as its current name")
        try:
            taken = self.directory.reserve(new_name, container.id)
        except Conflict as error:
            raise Conflict(f"{_NO_NAME}: {error.message}", hint=error.hint) from None
        renamed = replace(self.directory.get(container.id), name=taken)
        await self._rooms.containers.put(container.id, renamed)
        self.directory.release(container.name)
        await self._rooms.networks.rename(container.id, taken)
        self._events.emit(renamed, "rename", oldName=f"/{container.name}")

    async def update(self, name: str, wishes: UpdateContainer) -> list[str]:
        """Change limits and restart policy, also of a running container.

        Raises:
            InvalidRequest, Conflict: a limit that can't be; nothing has changed then.
        """
        container = self.directory.find(name)
        async with self.directory.live(container.id).lock:
            container = self.directory.get(container.id)
            try:
                host = updates.updated(container.host, wishes, os.cpu_count() or 1)
            except Conflict as error:
                raise updates.refused(container.id, error) from None
            wanted = resources(host)
            if wishes.pids_limit is not None and not host.pids_limit:
                wanted = replace(wanted, pids_limit=-1)  # a running group must be told
            if container.state.pid:
                group = self._rooms.hierarchy.group(container.id)
                try:
                    await asyncio.to_thread(group.update, wanted)
                except DockerlabError as error:
                    raise Conflict(
                        f"Cannot update container {container.id}: {error.message}", hint=error.hint
                    ) from error
            updated = replace(self.directory.get(container.id), host=host)
            await self._rooms.containers.put(container.id, updated)
        self._events.emit(updated, "update")
        return self._rooms.hierarchy.warnings(wanted)

    async def prune(self, filters: Filters) -> tuple[list[str], int]:
        """Remove every container that is at rest and matches.

        Returns:
            The ids removed, and the bytes that were freed.

        Raises:
            Conflict: another prune is under way.
        """
        if self._pruning.locked():
            raise Conflict("a prune operation is already running")
        async with self._pruning:
            removed, freed = [], 0
            for container in Selection.prunable(self.directory.all(), filters):
                freed += await asyncio.to_thread(self._rooms.store.snapshots.sizes, container.id)
                await self.remove(container.id)
                removed.append(container.id)
            self._rooms.events.emit("container", "prune", "", {"reclaimed": str(freed)})
        return removed, freed

    async def end_all(self) -> None:
        """End every run, for `engine stop --clean`; rows and files stay."""
        running = [one for one in self.directory.all() if one.state.status.running]
        await asyncio.gather(*(self.supervisor.end(one.id) for one in running))

    def image_users(self, image_id: str) -> list[ImageUser]:
        """List the containers made from an image, for those who want to remove it."""
        return [
            ImageUser(container_id=one.id, running=one.state.status.running)
            for one in self.directory.all()
            if one.image_id == image_id
        ]

    async def finish_removal(self, container_id: str) -> None:
        """Go on with a removal that an earlier engine did not finish."""
        async with self.directory.live(container_id).lock:
            container = self.directory.get(container_id)
            volumes = container.state.with_volumes or container.host.auto_remove
            await self._dissolve(container, volumes=volumes)

    async def _furnished(self, container: Container, image: Image) -> Container:
        """Give it a snapshot, its volumes and its row; on any failure nothing of them remains."""
        snapshots, volumes = self._rooms.store.snapshots, self._rooms.volumes
        try:
            rootfs = await asyncio.to_thread(snapshots.prepare, container.id, image.layers)
            points = await volumes.prepare(container, rootfs)
            container = replace(container, mounts=points)
            await self._rooms.containers.put(container.id, container)
        except BaseException:
            await volumes.release(container.id, remove_anonymous=True)
            await asyncio.to_thread(snapshots.remove, container.id)
            raise
        return container

    async def _auto_remove(self, container_id: str) -> None:
        async with self.directory.live(container_id).lock:
            await self._remove(container_id, volumes=True)

    async def _remove(self, container_id: str, *, volumes: bool) -> None:
        container = self.directory.get(container_id)
        before = container.state
        status = after(before.status, Move.REMOVE, name=container.name, container_id=container.id)
        removing = replace(container, state=replace(before, status=status, with_volumes=volumes))
        try:
            await self._rooms.containers.put(container.id, removing)
        except Failed:
            # A full disk: what is being removed makes room for the note that it is.
            await asyncio.to_thread(self._rooms.store.snapshots.clear, container.id)
            await self._rooms.containers.put(container.id, removing)
        try:
            await self._dissolve(container, volumes=volumes)
        except Exception as error:
            await self._not_removed(container, error)
            raise

    async def _not_removed(self, container: Container, error: Exception) -> None:
        """Let a removal that failed be tried again."""
        if container.id not in self._rooms.containers:
            return
        status = after(
            Status.REMOVING, Move.FAIL_REMOVAL, name=container.name, container_id=container.id
        )
        dead = replace(container.state, status=status, error=str(error))
        await self._rooms.containers.put(container.id, replace(container, state=dead))

    async def _dissolve(self, container: Container, *, volumes: bool) -> None:
        live = self.directory.live(container.id)
        live.dismiss()
        self.execs.forget(container.id)
        self.health.forget(container.id)
        await self._rooms.networks.release(container.id)
        await self._rooms.volumes.release(container.id, remove_anonymous=volumes)
        await self._rooms.containers.delete(container.id)
        self.directory.forget(container)
        await asyncio.to_thread(self._rooms.store.snapshots.remove, container.id)
        self._events.emit(container, "destroy")
        live.waiters.announce_removal(container.state.exit_code)
