"""The routes of containers' lives: create, list, inspect, start to remove.

Knows:   which query and body each route takes, and what it answers.
Refuses: to decide anything about containers; the services below do.
Source:  API v1.50, "Container"; moby daemon/server/router/container.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from typing import Protocol

import msgspec

from dockerlab.engine.api.container_documents import inspect_document, summary_document
from dockerlab.engine.api.reply import Empty, Json, Reply, Stream
from dockerlab.engine.api.request import Request
from dockerlab.engine.api.routes import Route
from dockerlab.engine.model.container import Container
from dockerlab.engine.model.seen import Seen
from dockerlab.wire.documents import CreateContainer, UpdateContainer
from dockerlab.wire.filters import Filters


class Runs(Protocol):
    """What happens between a creation and a removal."""

    async def start(self, name: str) -> None: ...
    async def stop(self, name: str, timeout_s: int | None, signal: str) -> None: ...
    async def restart(self, name: str, timeout_s: int | None, signal: str) -> None: ...
    async def kill(self, name: str, signal: str) -> None: ...
    async def pause(self, name: str) -> None: ...
    async def unpause(self, name: str) -> None: ...
    def waiting(self, name: str, condition: str) -> asyncio.Future[int]: ...


class Lives(Protocol):
    """What begins, changes and ends containers."""

    async def create(
        self, request: CreateContainer, name: str, platform: str
    ) -> tuple[str, list[str]]: ...
    async def rename(self, name: str, new_name: str) -> None: ...
    async def update(self, name: str, wishes: UpdateContainer) -> list[str]: ...
    async def remove(self, name: str, *, force: bool, volumes: bool) -> None: ...
    async def prune(self, filters: Filters) -> tuple[list[str], int]: ...


class Looks(Protocol):
    """What can be seen of containers."""

    def find(self, name: str) -> Container: ...
    def select(self, filters: Filters, *, every: bool, limit: int) -> Sequence[Container]: ...
    def seen(self, container: Container) -> Seen: ...
    def seen_closely(self, container: Container) -> Seen: ...
    async def sizes(self, container: Container) -> tuple[int, int]: ...
    async def top(self, name: str, ps_arguments: str) -> tuple[list[str], list[list[str]]]: ...
    async def changes(self, name: str) -> list[tuple[str, int]]: ...
    def export(self, name: str) -> AsyncIterator[bytes]: ...


def routes(lives: Lives, runs: Runs, looks: Looks) -> list[Route]:
    """List the routes."""
    handlers = _Handlers(lives, runs, looks)
    one = "/containers/{name}"
    return [
        Route("POST", "/containers/create", handlers.create),
        Route("GET", "/containers/json", handlers.list),
        Route("POST", "/containers/prune", handlers.prune),
        Route("GET", f"{one}/json", handlers.inspect),
        Route("GET", f"{one}/top", handlers.top),
        Route("GET", f"{one}/changes", handlers.changes),
        Route("GET", f"{one}/export", handlers.export),
        Route("POST", f"{one}/start", handlers.start),
        Route("POST", f"{one}/stop", handlers.stop),
        Route("POST", f"{one}/restart", handlers.restart),
        Route("POST", f"{one}/kill", handlers.kill),
        Route("POST", f"{one}/pause", handlers.pause),
        Route("POST", f"{one}/unpause", handlers.unpause),
        Route("POST", f"{one}/rename", handlers.rename),
        Route("POST", f"{one}/update", handlers.update),
        Route("POST", f"{one}/wait", handlers.wait),
        Route("DELETE", one, handlers.remove),
    ]


class _Handlers:
    def __init__(self, lives: Lives, runs: Runs, looks: Looks) -> None:
        self._lives, self._runs, self._looks = lives, runs, looks

    async def create(self, request: Request) -> Reply:
        body = await request.json(CreateContainer, required=True)
        # Older clients name a platform only to pull.
        platform = request.query.text("platform") if request.version >= (1, 41) else ""
        name = request.query.text("name")
        fresh_id, warnings = await self._lives.create(body, name, platform)
        return Json({"Id": fresh_id, "Warnings": warnings}, 201)

    async def list(self, request: Request) -> Reply:
        query = request.query
        limit = query.integer("limit")
        chosen = self._looks.select(
            query.filters(), every=query.flag("all") or limit > 0, limit=limit
        )
        now_ns = time.time_ns()
        with_size = query.flag("size")
        return Json(
            [
                summary_document(
                    one,
                    self._looks.seen(one),
                    now_ns,
                    await self._looks.sizes(one) if with_size else None,
                    version=request.version,
                )
                for one in chosen
            ]
        )

    async def inspect(self, request: Request) -> Reply:
        container = self._looks.find(request.params["name"])
        sizes = await self._looks.sizes(container) if request.query.flag("size") else None
        seen = self._looks.seen_closely(container)
        return Json(inspect_document(container, seen, sizes, version=request.version))

    async def top(self, request: Request) -> Reply:
        arguments = request.query.text("ps_args", "-ef")
        titles, processes = await self._looks.top(request.params["name"], arguments)
        return Json({"Titles": titles, "Processes": processes})

    async def changes(self, request: Request) -> Reply:
        found = await self._looks.changes(request.params["name"])
        return Json([{"Path": path, "Kind": kind} for path, kind in found] or None)

    async def export(self, request: Request) -> Reply:
        pieces = self._looks.export(request.params["name"])
        return Stream(pieces, "application/octet-stream", wait_first=True)

    async def start(self, request: Request) -> Reply:
        await self._runs.start(request.params["name"])
        return Empty()

    async def stop(self, request: Request) -> Reply:
        query = request.query
        patience = query.integer("t") if query.text("t") else None
        await self._runs.stop(request.params["name"], patience, query.text("signal"))
        return Empty()

    async def restart(self, request: Request) -> Reply:
        query = request.query
        patience = query.integer("t") if query.text("t") else None
        await self._runs.restart(request.params["name"], patience, query.text("signal"))
        return Empty()

    async def kill(self, request: Request) -> Reply:
        await self._runs.kill(request.params["name"], request.query.text("signal"))
        return Empty()

    async def pause(self, request: Request) -> Reply:
        await self._runs.pause(request.params["name"])
        return Empty()

    async def unpause(self, request: Request) -> Reply:
        await self._runs.unpause(request.params["name"])
        return Empty()

    async def rename(self, request: Request) -> Reply:
        await self._lives.rename(request.params["name"], request.query.text("name"))
        return Empty()

    async def update(self, request: Request) -> Reply:
        wishes = await request.json(UpdateContainer, required=True)
        return Json({"Warnings": await self._lives.update(request.params["name"], wishes)})

    async def wait(self, request: Request) -> Reply:
        # Clients wait for the headers before they start the container: they go out at once.
        future = self._runs.waiting(request.params["name"], request.query.text("condition"))
        return Stream(_one_document(future))

    async def remove(self, request: Request) -> Reply:
        query = request.query
        await self._lives.remove(
            request.params["name"], force=query.flag("force"), volumes=query.flag("v")
        )
        return Empty()

    async def prune(self, request: Request) -> Reply:
        removed, freed = await self._lives.prune(request.query.filters())
        return Json({"ContainersDeleted": removed or None, "SpaceReclaimed": freed})


async def _one_document(code: asyncio.Future[int]) -> AsyncIterator[bytes]:
    yield msgspec.json.encode({"StatusCode": await code}) + b"\n"
