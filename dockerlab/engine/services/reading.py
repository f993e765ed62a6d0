"""Look at containers without changing them: list, logs, stats, top, diff, export.

Knows:   where each answer comes from: the row, the log, the cgroup, the store, ps.
Refuses: to wait for anybody who changes a container; readers take no lock.
"""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import AsyncIterator, Generator, Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import quote_plus

from dockerlab.engine.model.container import Container
from dockerlab.engine.model.lifecycle import Status, not_running
from dockerlab.engine.model.log_wish import LogWish
from dockerlab.engine.model.rootfs import drawn
from dockerlab.engine.model.seen import Seen
from dockerlab.engine.runtime import logs
from dockerlab.engine.runtime.log_files import Record
from dockerlab.engine.runtime.log_target import log_attributes, log_target
from dockerlab.engine.runtime.stats import Sample, StatsReader, document
from dockerlab.engine.services import partners
from dockerlab.engine.services.container_events import ContainerEvents
from dockerlab.engine.services.directory import Directory
from dockerlab.engine.services.health import HealthChecks
from dockerlab.engine.services.rooms import Rooms
from dockerlab.engine.services.selection import Selection
from dockerlab.engine.store import archives
from dockerlab.errors import Conflict, DockerlabError, Failed, NotFound, Unsupported
from dockerlab.wire.filters import Filters

_STATS_PAUSE_S = 1.0


class Reading:
    """Everything that can be seen of containers."""

    def __init__(self, rooms: Rooms, directory: Directory, health: HealthChecks) -> None:
        self._rooms, self._directory, self._health = rooms, directory, health
        self._events = ContainerEvents(rooms.events)
        self._selection = Selection(directory.find, self._with_ancestor, self.seen)

    def find(self, name: str) -> Container:
        """Find a container by id, name or the start of an id."""
        return self._directory.find(name)

    def select(self, filters: Filters, *, every: bool, limit: int) -> Sequence[Container]:
        """Choose what a list shows, newest first."""
        return self._selection.listed(self._directory.all(), filters, every=every, limit=limit)

    def seen(self, container: Container) -> Seen:
        """Say what surrounds a container right now."""
        networks = self._rooms.networks
        # Docker's monitor, and with it the field, comes with the first start.
        health = self._health.of(container) if container.state.started_ns else None
        snapshots = self._rooms.store.snapshots
        return Seen(
            endpoints=networks.places_of(container),
            ports=networks.ports_of(container),
            directory=str(snapshots.path(container.id)),
            exec_ids=tuple(self._directory.live(container.id).execs),
            health=health.document() if health else None,
            image_shown=self._image_shown(container),
        )

    def seen_closely(self, container: Container) -> Seen:
        """Say also what only an inspect shows: the directories of the overlay, and the links."""
        try:
            rootfs = self._rooms.store.snapshots.rootfs(container.id)
        except NotFound:
            graph = {}  # it is being removed
        else:
            graph = {"ID": container.id, **drawn(rootfs)}
        links = partners.shown(container, self._directory.find)
        return replace(self.seen(container), graph=graph, links=links)

    async def sizes(self, container: Container) -> tuple[int, int]:
        """Measure the bytes a container wrote, and those with its image."""
        written = await asyncio.to_thread(self._rooms.store.snapshots.sizes, container.id)
        image = self._rooms.store.images.get(container.image_id)
        return written, written + (image.size if image else 0)

    def logs(self, name: str, wish: LogWish) -> AsyncIterator[list[Record]]:
        """Read a container's log in batches of records.

        Raises:
            Conflict: it is being removed. Unsupported: its log driver keeps nothing to read.
        """
        container = self._directory.find(name)
        if container.state.status in {Status.REMOVING, Status.DEAD}:
            raise Conflict("can not get logs from container which is dead or marked for removal")
        target = log_target(container, str(self._rooms.store.snapshots.path(container.id)))
        logs.check_readable(target.driver)
        return logs.batches(
            target.path,
            driver=target.driver,
            since_ns=wish.since_ns,
            until_ns=wish.until_ns,
            tail=wish.tail,
            follow=wish.follow,
            ended=self._directory.live(container.id).ended,
        )

    @staticmethod
    def log_details(container: Container) -> str:
        """Say what `logs --details` puts before each line: labels and variables by log options."""
        pairs = log_attributes(container).items()
        return ",".join(f"{quote_plus(key)}={quote_plus(value)}" for key, value in pairs)

    async def stats(
        self, name: str, *, stream: bool, one_shot: bool
    ) -> AsyncIterator[Mapping[str, Any]]:
        """Sample what a container uses: once, or once a second for as long as it exists.

        Yields documents of ContainerStatsResponse. A single one that is not one-shot has seen
        two samples, so that clients can compute a rate.
        """
        container = self._directory.find(name)
        reader: StatsReader | None = None
        last: Sample | None = None
        try:
            while True:
                pid = self._directory.get(container.id).state.pid
                if pid and reader is None:
                    reader = self._stats_reader(container, pid)
                elif not pid and reader is not None:
                    reader.close()
                    reader = last = None
                present = await asyncio.to_thread(reader.sample) if reader else None
                if stream or one_shot or last is not None or present is None:
                    yield document(present, last, container_id=container.id, name=container.name)
                    if not stream:
                        return
                last = present
                await asyncio.sleep(_STATS_PAUSE_S)
        finally:
            if reader is not None:
                reader.close()

    async def top(self, name: str, ps_arguments: str) -> tuple[list[str], list[list[str]]]:
        """List a container's processes with the host's ps; process ids are the host's.

        Raises:
            Conflict: it does not run. Failed: ps refuses the arguments, or shows no PID.
        """
        container = self._directory.find(name)
        if not container.state.pid:
            raise not_running(container.id)
        pids = set(await asyncio.to_thread(self._rooms.hierarchy.group(container.id).pids))
        found = _processes(await _ps(ps_arguments), pids)
        self._events.emit(container, "top")
        return found

    async def changes(self, name: str) -> list[tuple[str, int]]:
        """List what a container changed: (path, kind), kind 0 modified, 1 added, 2 deleted."""
        container = self._directory.find(name)
        snapshots = self._rooms.store.snapshots
        found = await asyncio.to_thread(snapshots.changes, container.id)
        return [(change.path, int(change.kind)) for change in found]

    async def export(self, name: str) -> AsyncIterator[bytes]:
        """Give a container's merged root as a tar, as it comes."""
        container = self._directory.find(name)
        pieces = self._tar_of(container.id)
        self._events.emit(container, "export")
        try:
            while piece := await asyncio.to_thread(next, pieces, b""):
                yield piece
        finally:
            await asyncio.to_thread(pieces.close)

    def _tar_of(self, container_id: str) -> Generator[bytes, None, None]:
        snapshots = self._rooms.store.snapshots
        with snapshots.merged(snapshots.rootfs(container_id)) as root:
            yield from archives.chunks_of(archives.export(root))

    def _stats_reader(self, container: Container, pid: int) -> StatsReader:
        own_network = container.host.network_mode not in {"host", "none"}
        group = self._rooms.hierarchy.group(container.id)
        return StatsReader(group, pid if own_network else 0)

    def _with_ancestor(self, name: str) -> set[str]:
        """The ids of an image and of all images built upon it."""
        images = self._rooms.store.images
        base = images.resolve(name)
        depth = len(base.layers)
        numbers = [layer.number for layer in base.layers]
        return {
            image.id
            for image in images.list()
            if [layer.number for layer in image.layers[:depth]] == numbers
        }

    def _image_shown(self, container: Container) -> str:
        """The user's spelling, but the id once that spelling means another image."""
        try:
            image = self._rooms.store.images.resolve(container.image)
        except DockerlabError:
            return container.image_id
        return container.image if image.id == container.image_id else container.image_id


async def _ps(arguments: str) -> str:
    try:
        words = shlex.split(arguments)
        process = await asyncio.create_subprocess_exec(
            "ps",
            *words,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except FileNotFoundError:
        raise Unsupported("ps is not on this machine", hint="apt-get install procps") from None
    except ValueError as error:
        raise Failed(f"bad ps arguments: {error}") from None
    out, problem = await process.communicate()
    if process.returncode:
        first, *_ = problem.decode(errors="replace").strip().splitlines() or [""]
        raise Failed(f"ps: {first}")
    return out.decode(errors="replace")


def _processes(text: str, pids: set[int]) -> tuple[list[str], list[list[str]]]:
    head, *lines = text.splitlines()
    titles = head.split()
    if "PID" not in titles:
        raise Failed("Couldn't find PID field in ps output")
    column, last = titles.index("PID"), len(titles) - 1
    rows = [line.split(maxsplit=last) for line in lines if line.strip()]

    def ours(row: list[str]) -> bool:
        return len(row) > column and row[column].isdigit() and int(row[column]) in pids

    return titles, [row for row in rows if ours(row)]
