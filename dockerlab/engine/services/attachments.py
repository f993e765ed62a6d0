"""Clients joined to a container's program: attach, and the size of its terminal.

Knows:   that a client may come before the start, and what it is shown of the runs before.
Refuses: to copy a byte: connections go to the shim. Starting and ending: `supervision.py`.
Source:  moby daemon/attach.go, daemon/resize.go.
"""

from __future__ import annotations

import time

from dockerlab.engine.model.container import Container
from dockerlab.engine.model.lifecycle import Status, not_running
from dockerlab.engine.runtime.client import Client
from dockerlab.engine.runtime.launcher import Process
from dockerlab.engine.services.container_events import ContainerEvents
from dockerlab.engine.services.directory import Directory
from dockerlab.engine.services.rooms import Rooms
from dockerlab.errors import Conflict


class Attachments:
    """Joins clients to the programs of this engine's containers."""

    def __init__(self, rooms: Rooms, directory: Directory) -> None:
        self._directory = directory
        self._events = ContainerEvents(rooms.events)

    def check_attachable(self, name: str) -> None:
        """Refuse what can't be attached to; a container that does not run yet can.

        Raises:
            Conflict: it is paused or restarting.
        """
        container = self._directory.find(name)
        if container.state.status is Status.PAUSED:
            raise Conflict(
                f"container {name} is paused, unpause the container before attach",
                hint=f"docker unpause {container.name}",
            )
        if container.state.status is Status.RESTARTING:
            raise Conflict(
                f"Container {container.id} is restarting, wait until the container is running"
            )

    async def attach(self, name: str, client: Client | None) -> None:
        """Join a client to a container's program, now or at its start; stay until it is over.

        Without a client only the event tells that somebody looked.
        """
        container = self._directory.find(name)
        live = self._directory.live(container.id)
        self._events.emit(container, "attach")
        if client is None:
            return
        seen_ns = 0
        if live.process is None and client.history is not None:
            # Whoever attaches before a start sees the runs before it at once.
            seen_ns = time.time_ns()
            await client.history(0, seen_ns)
        if live.process is not None:
            await client.join(live.process)
        else:
            live.joining.append(client)
        try:
            attached = await client.joined
        finally:
            if client in live.joining:
                live.joining.remove(client)
        if attached is None:
            return
        if client.history is not None and client.process is not None:
            try:
                await client.history(seen_ns and seen_ns + 1, attached.since_ns)
            finally:
                await client.process.resume(attached)
        if await attached.done == "detached":
            self._events.emit(self._directory.get(container.id), "detach")

    async def resize(self, name: str, height: int, width: int) -> None:
        """Tell a container's terminal its size.

        Raises:
            Conflict: it does not run.
        """
        container = self._directory.find(name)
        await self._process_of(container).resize(height, width)
        self._events.emit(container, "resize", height=str(height), width=str(width))

    def _process_of(self, container: Container) -> Process:
        process = self._directory.live(container.id).process
        if process is None:
            raise not_running(container.id)
        return process
