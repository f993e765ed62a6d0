"""The routes of images that are here: list, inspect, history, tag, delete, prune.

Knows:   every query parameter of these routes, and from which version on it counts.
Refuses: what reads or writes registries and archives: image_transfers.py.
Source:  API v1.50, "Image"; moby daemon/server/router/image/image_routes.go.
"""

from __future__ import annotations

from typing import Protocol

import msgspec

from dockerlab.engine.api import image_documents as documents
from dockerlab.engine.api.reply import Empty, Json, Reply
from dockerlab.engine.api.request import Query, Request
from dockerlab.engine.api.routes import Route
from dockerlab.engine.model.image import HistoryStep, Image, Removal
from dockerlab.engine.model.listed_image import Listed
from dockerlab.errors import InvalidRequest
from dockerlab.oci.documents import Platform
from dockerlab.wire.filters import Filters


class Images(Protocol):
    """What these routes need."""

    def find(self, name: str, platform: Platform | None = None) -> Image: ...
    def listed(self, image: Image) -> Listed: ...
    def history(self, image: Image) -> list[HistoryStep]: ...
    def folders(self, image: Image) -> list[str]: ...
    def list(
        self,
        filters: Filters | None = None,
        *,
        everything: bool = False,
        shared_size: bool = False,
        containers: bool = False,
    ) -> list[Listed]: ...
    async def tag(self, name: str, repo: str, tag: str) -> None: ...
    async def remove(self, name: str, *, force: bool = False, prune: bool = True) -> Removal: ...
    async def prune(self, filters: Filters) -> Removal: ...


def routes(images: Images) -> list[Route]:
    """List the routes; the transfers' come before them, as names there are words here."""
    handlers = _Handlers(images)
    return [
        Route("GET", "/images/json", handlers.list),
        Route("POST", "/images/prune", handlers.prune),
        Route("GET", "/images/{name}/json", handlers.inspect),
        Route("GET", "/images/{name}/history", handlers.history),
        Route("POST", "/images/{name}/tag", handlers.tag),
        Route("DELETE", "/images/{name}", handlers.remove),
    ]


class _Handlers:
    def __init__(self, images: Images) -> None:
        self._images = images

    async def list(self, request: Request) -> Reply:
        query = request.query
        filters = query.filters()
        if request.version < (1, 41) and query.text("filter"):
            wanted = {key: filters.get(key) for key in filters.keys()}  # noqa: SIM118 - no dict
            filters = Filters({**wanted, "reference": (query.text("filter"),)})
        found = self._images.list(
            filters,
            everything=query.flag("all"),
            shared_size=request.version >= (1, 42) and query.flag("shared-size"),
            containers=query.flag("containers"),
        )
        return Json([documents.summary(one, request.version) for one in found])

    async def inspect(self, request: Request) -> Reply:
        query = request.query
        platform = None
        if request.version >= (1, 49):
            platform = platform_of(query)
            if platform is not None and query.flag("manifests"):
                raise InvalidRequest(
                    "conflicting options: manifests and platform options cannot both be set"
                )
        image = self._images.find(request.params["name"], platform)
        folders = self._images.folders(image)
        return Json(documents.inspect(self._images.listed(image), folders, request.version))

    async def history(self, request: Request) -> Reply:
        platform = platform_of(request.query) if request.version >= (1, 48) else None
        image = self._images.find(request.params["name"], platform)
        return Json(documents.history(self._images.history(image)))

    async def tag(self, request: Request) -> Reply:
        query = request.query
        await self._images.tag(request.params["name"], query.text("repo"), query.text("tag"))
        return Empty(201)

    async def remove(self, request: Request) -> Reply:
        name, query = request.params["name"].strip(), request.query
        if not name:
            raise InvalidRequest("image name cannot be blank")
        if request.version >= (1, 50):
            for text in query.all("platforms"):
                self._images.find(name, parse_platform(text))
        removal = await self._images.remove(
            name, force=query.flag("force"), prune=not query.flag("noprune")
        )
        return Json(documents.removed(removal))

    async def prune(self, request: Request) -> Reply:
        removal = await self._images.prune(request.query.filters())
        return Json(
            {
                "ImagesDeleted": documents.removed(removal) or None,
                "SpaceReclaimed": removal.freed_bytes,
            }
        )


def platform_of(query: Query) -> Platform | None:
    """Read `platform`, on these routes a JSON object."""
    text = query.text("platform")
    return parse_platform(text) if text else None


def parse_platform(text: str) -> Platform:
    """Read a platform as JSON.

    Raises:
        InvalidRequest: it is none, or names neither system nor architecture.
    """
    try:
        platform = msgspec.json.decode(text, type=Platform)
    except msgspec.MsgspecError as error:
        raise InvalidRequest(
            "failed to parse platform", hint='Write {"os": "linux", "architecture": "arm64"}.'
        ) from error
    if not platform.os or not platform.architecture:
        raise InvalidRequest("both OS and Architecture must be provided")
    return platform
