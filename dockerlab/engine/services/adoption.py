"""Take over from an earlier engine: what runs is watched, what ended is written down.

Knows:   rows, shims and exit records, and which of them to believe when they differ.
Refuses: to start anything but what a restart policy asks for.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from pathlib import Path

from dockerlab.engine.model.container import Container
from dockerlab.engine.model.lifecycle import Status
from dockerlab.engine.runtime.launcher import read_exit
from dockerlab.engine.runtime.spec import ProcessKind
from dockerlab.engine.services import restarts
from dockerlab.engine.services.containers import Containers
from dockerlab.engine.services.rooms import Rooms
from dockerlab.errors import DockerlabError

_log = logging.getLogger(__name__)


class Adoption:
    """One engine's start, as seen from the containers."""

    def __init__(self, rooms: Rooms, containers: Containers) -> None:
        self._rooms, self._containers = rooms, containers

    async def take_over(self) -> None:
        """Bring rows and reality together; nobody else may touch containers meanwhile."""
        for container in self._containers.directory.all():
            removing = container.state.status is Status.REMOVING
            await self._tried(
                "finish the removal of" if removing else "take over",
                container,
                self._containers.finish_removal(container.id)
                if removing
                else self._adopt(container),
            )
        await self._end_orphans()
        await self._sweep()
        for container in self._containers.directory.all():
            if container.host.auto_remove and not container.state.status.running:
                await self._tried("remove", container, self._containers.remove(container.id))

    async def start_by_policy(self) -> None:
        """Start what restart policies want to run with the engine."""
        for container in reversed(self._containers.directory.all()):
            state = container.state
            # A restart that `take_over` scheduled keeps its delay.
            pending = self._containers.directory.live(container.id).restarting
            waiting = state.status is Status.RESTARTING and pending is None
            resting = state.status is Status.EXITED and restarts.wants_start_with_engine(container)
            if waiting or resting:
                try:
                    await self._containers.supervisor.start_by_policy(container.id)
                except DockerlabError as error:
                    _log.warning("cannot restart %s: %s", container.name, error)

    async def _adopt(self, container: Container) -> None:
        folder = self._rooms.store.snapshots.path(container.id)
        run_dir = self._rooms.settings.run / "c" / container.id[:16]
        exit_path = str(folder / "exit")
        process = await self._rooms.launcher.adopt(
            str(run_dir), cgroup=container.id, exit_path=exit_path
        )
        record = await asyncio.to_thread(read_exit, exit_path) if process is None else None
        await self._containers.supervisor.take_over(container.id, process, record)

    async def _tried(self, what: str, container: Container, work: Awaitable[None]) -> None:
        """Let no single container keep the engine from starting."""
        try:
            await work
        except DockerlabError as error:
            _log.warning("cannot %s %s: %s", what, container.name, error)
        except Exception:  # noqa: BLE001 - told, and the next one has its turn
            _log.exception("cannot %s %s", what, container.name)

    async def _end_orphans(self) -> None:
        """Execs go on and are let go; build steps and containers without a row are ended."""
        folder = self._rooms.settings.run / "c"
        known = {one.id[:16] for one in self._containers.directory.all()}
        for run_dir in _folders(folder):
            if run_dir.name in known:
                continue
            process = await self._rooms.launcher.adopt(str(run_dir))
            if process is None:
                continue
            if process.kind is ProcessKind.EXEC:
                process.disconnect()
                continue
            await process.signal(9)
            await process.wait()
            await asyncio.to_thread(self._rooms.hierarchy.group(process.id).remove)

    async def _sweep(self) -> None:
        """Remove what an engine's death left half made: build steps, creations."""
        known = {one.id for one in self._containers.directory.all()}
        running = {one.id for one in self._containers.directory.all() if one.state.pid}
        await self._rooms.networks.release_others(running)
        await self._rooms.volumes.sweep(known)
        await asyncio.to_thread(self._rooms.store.snapshots.sweep, known)


def _folders(parent: Path) -> list[Path]:
    return sorted(parent.iterdir()) if parent.is_dir() else []
