"""The route of `docker system df`: what takes how much room.

Knows:   which parts a client may ask for, and which figures each item needs.
Refuses: to measure; the services do.
Source:  API v1.50, SystemDataUsage; moby daemon/disk_usage.go.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Protocol

from dockerlab.engine.api import image_documents
from dockerlab.engine.api.container_documents import summary_document
from dockerlab.engine.api.reply import Json, Reply
from dockerlab.engine.api.request import Request
from dockerlab.engine.api.routes import Route
from dockerlab.engine.model.container import Container
from dockerlab.engine.model.listed_image import Listed
from dockerlab.engine.model.seen import Seen
from dockerlab.engine.model.volume import Volume
from dockerlab.errors import InvalidRequest
from dockerlab.wire.filters import Filters
from dockerlab.wire.times import rfc3339, rfc3339_seconds

_PARTS = frozenset({"container", "image", "volume", "build-cache"})


class Images(Protocol):
    """Measures images."""

    def layers_size(self) -> int: ...
    def list(
        self,
        filters: Filters | None = None,
        *,
        everything: bool = False,
        shared_size: bool = False,
        containers: bool = False,
    ) -> Sequence[Listed]: ...


class Looks(Protocol):
    """Measures containers."""

    def select(self, filters: Filters, *, every: bool, limit: int) -> Sequence[Container]: ...
    def seen(self, container: Container) -> Seen: ...
    async def sizes(self, container: Container) -> tuple[int, int]: ...


class Volumes(Protocol):
    """Measures volumes."""

    def listed(self, filters: Filters) -> Sequence[Volume]: ...
    def mountpoint(self, volume: Volume) -> str: ...
    def users(self, name: str) -> Sequence[str]: ...
    async def size(self, volume: Volume) -> int: ...


class CachedStep(Protocol):
    """One remembered step of a build."""

    @property
    def created_by(self) -> str: ...
    @property
    def parent(self) -> str: ...
    @property
    def size(self) -> int: ...
    @property
    def created_ns(self) -> int: ...
    @property
    def used_ns(self) -> int: ...
    @property
    def uses(self) -> int: ...


class Builds(Protocol):
    """Knows the build cache."""

    def records(self) -> Sequence[tuple[str, CachedStep]]: ...


def routes(images: Images, looks: Looks, volumes: Volumes, builds: Builds) -> list[Route]:
    """List the routes."""
    usage = _Usage(images, looks, volumes, builds)
    return [Route("GET", "/system/df", usage.df, cancel=True)]


class _Usage:
    def __init__(self, images: Images, looks: Looks, volumes: Volumes, builds: Builds) -> None:
        self._images, self._looks, self._volumes, self._builds = images, looks, volumes, builds

    async def df(self, request: Request) -> Reply:
        asked = set(request.query.all("type")) if request.version >= (1, 42) else set()
        unknown = asked - _PARTS
        if unknown:
            raise InvalidRequest(f"unknown object type: {min(unknown)}")
        wanted = asked or _PARTS
        return Json(
            {
                "LayersSize": self._images.layers_size() if "image" in wanted else 0,
                "Images": self._image_list(request.version) if "image" in wanted else None,
                "Containers": await self._container_list() if "container" in wanted else None,
                "Volumes": await self._volume_list() if "volume" in wanted else None,
                "BuildCache": self._cache_list() if "build-cache" in wanted else None,
                "BuilderSize": 0,
            }
        )

    def _image_list(self, version: tuple[int, int]) -> list[dict[str, Any]]:
        found = self._images.list(shared_size=True, containers=True)
        return [image_documents.summary(one, version) for one in found]

    async def _container_list(self) -> list[dict[str, Any]]:
        now_ns = time.time_ns()
        return [
            summary_document(one, self._looks.seen(one), now_ns, await self._looks.sizes(one))
            for one in self._looks.select(Filters(), every=True, limit=0)
        ]

    async def _volume_list(self) -> list[dict[str, Any]]:
        return [
            {
                "CreatedAt": rfc3339_seconds(one.created_ns),
                "Driver": one.driver,
                "Labels": dict(one.labels) or None,
                "Mountpoint": self._volumes.mountpoint(one),
                "Name": one.name,
                "Options": dict(one.options) or None,
                "Scope": "local",
                "UsageData": {
                    "RefCount": len(self._volumes.users(one.name)),
                    "Size": await self._volumes.size(one),
                },
            }
            for one in self._volumes.listed(Filters())
        ]

    def _cache_list(self) -> list[dict[str, Any]]:
        return [
            {
                "ID": key,
                "Parents": [step.parent] if step.parent else None,
                "Type": "regular",
                "Description": step.created_by,
                "InUse": False,
                "Shared": False,
                "Size": step.size,
                "CreatedAt": rfc3339(step.created_ns),
                "LastUsedAt": rfc3339(step.used_ns) if step.uses else None,
                "UsageCount": step.uses,
            }
            for key, step in self._builds.records()
        ]
