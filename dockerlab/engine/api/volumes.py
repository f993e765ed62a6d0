"""The routes of volumes: list, inspect, create, remove, prune.

Knows:   Docker's document for volumes, and what prune meant in older versions.
Refuses: decisions; the service answers in its own values.
Source:  API v1.50, "Volume"; moby daemon/server/router/volume/volume_routes.go.
"""

from __future__ import annotations

from typing import Any, Protocol

from dockerlab.engine.api.reply import Empty, Json, Reply
from dockerlab.engine.api.request import Request
from dockerlab.engine.api.routes import Route
from dockerlab.engine.model.volume import Volume
from dockerlab.wire.documents import VolumeCreate
from dockerlab.wire.filters import Filters
from dockerlab.wire.times import rfc3339_seconds


class Volumes(Protocol):
    """What these routes need."""

    def get(self, name: str) -> Volume: ...
    def mountpoint(self, volume: Volume) -> str: ...
    def listed(self, filters: Filters) -> list[Volume]: ...
    async def create(self, request: VolumeCreate) -> Volume: ...
    async def remove(self, name: str, *, force: bool = False) -> None: ...
    async def prune(self, filters: Filters, *, every: bool = False) -> tuple[list[str], int]: ...


def routes(volumes: Volumes) -> list[Route]:
    """List the routes."""
    handlers = _Handlers(volumes)
    return [
        Route("GET", "/volumes", handlers.list),
        Route("POST", "/volumes/create", handlers.create),
        Route("POST", "/volumes/prune", handlers.prune),
        Route("GET", "/volumes/{name}", handlers.inspect),
        Route("DELETE", "/volumes/{name}", handlers.remove),
    ]


class _Handlers:
    def __init__(self, volumes: Volumes) -> None:
        self._volumes = volumes

    async def list(self, request: Request) -> Reply:
        found = self._volumes.listed(request.query.filters())
        return Json({"Volumes": [self._document(one) for one in found], "Warnings": None})

    async def inspect(self, request: Request) -> Reply:
        return Json(self._document(self._volumes.get(request.params["name"])))

    async def create(self, request: Request) -> Reply:
        volume = await self._volumes.create(await request.json(VolumeCreate))
        return Json(self._document(volume), status=201)

    async def remove(self, request: Request) -> Reply:
        force = request.query.flag("force")
        await self._volumes.remove(request.params["name"], force=force)
        return Empty(204)

    async def prune(self, request: Request) -> Reply:
        # Before 1.42 a prune took named volumes too.
        every = request.version < (1, 42)
        names, freed = await self._volumes.prune(request.query.filters(), every=every)
        return Json({"VolumesDeleted": names or None, "SpaceReclaimed": freed})

    def _document(self, volume: Volume) -> dict[str, Any]:
        return {
            "CreatedAt": rfc3339_seconds(volume.created_ns),
            "Driver": volume.driver,
            "Labels": dict(volume.labels) or None,
            "Mountpoint": self._volumes.mountpoint(volume),
            "Name": volume.name,
            "Options": dict(volume.options) or None,
            "Scope": "local",
        }
