"""The routes by which images come and go: create, push, get, load, search, distribution.

Knows:   when an error still has a status of its own, and when it is a message of the stream.
Refuses: to transfer (services/transfers.py), and to word messages (wire/progress.py).
Source:  API v1.50, "Image", "Distribution"; moby daemon/server/router/image/image_routes.go.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from typing import Protocol

import msgspec

from dockerlab.engine.api.images import platform_of
from dockerlab.engine.api.reply import Json, Reply, Stream
from dockerlab.engine.api.request import Request
from dockerlab.engine.api.routes import Route
from dockerlab.engine.model.image import Image
from dockerlab.engine.registry.auth import ANONYMOUS, Credentials, parse_header
from dockerlab.engine.registry.resolve import Offered
from dockerlab.engine.registry.search import Found
from dockerlab.errors import DockerlabError, Failed, InvalidRequest, Unsupported
from dockerlab.oci.documents import Platform
from dockerlab.wire import progress

Tell = Callable[[bytes], None]
"""Takes one message of a stream."""

_TAR = "application/x-tar"
_AUTH = "x-registry-auth"


class Images(Protocol):
    """What is asked of images that are here."""

    def find(self, name: str, platform: Platform | None = None) -> Image: ...


class Transfers(Protocol):
    """What these routes need."""

    async def pull(
        self,
        name: str,
        tell: Tell,
        *,
        tag: str = "",
        platform: str = "",
        credentials: Credentials = ANONYMOUS,
    ) -> None: ...
    async def push(
        self, name: str, tell: Tell, *, tag: str = "", credentials: Credentials = ANONYMOUS
    ) -> None: ...
    def save(self, wanted: Sequence[str]) -> Iterator[bytes]: ...
    async def load(self, body: AsyncIterator[bytes], tell: Tell, *, quiet: bool) -> None: ...
    async def import_(
        self,
        body: AsyncIterator[bytes],
        tell: Tell,
        *,
        repo: str = "",
        tag: str = "",
        message: str = "",
        platform: str = "",
        changes: Sequence[str] = (),
    ) -> None: ...
    async def search(
        self, term: str, limit: int, credentials: Credentials = ANONYMOUS
    ) -> list[Found]: ...
    async def offered(self, name: str, credentials: Credentials = ANONYMOUS) -> Offered: ...


def routes(transfers: Transfers, images: Images) -> list[Route]:
    """List the routes."""
    handlers = _Handlers(transfers, images)
    return [
        Route("POST", "/images/create", handlers.create, stream_body=True),
        Route("POST", "/images/load", handlers.load, stream_body=True),
        Route("GET", "/images/get", handlers.get),
        Route("GET", "/images/search", handlers.search, cancel=True),
        Route("GET", "/images/{name}/get", handlers.get),
        Route("POST", "/images/{name}/push", handlers.push),
        Route("GET", "/distribution/{name}/json", handlers.distribution, cancel=True),
    ]


class _Handlers:
    def __init__(self, transfers: Transfers, images: Images) -> None:
        self._transfers, self._images = transfers, images

    async def create(self, request: Request) -> Reply:
        query = request.query
        if query.text("fromSrc"):
            return self._import(request)
        name = query.text("fromImage").strip()
        if not name:
            raise InvalidRequest("invalid reference format")
        credentials = _tolerant(request)
        platform = query.text("platform") if request.version >= (1, 32) else ""
        return _messages(
            lambda tell: self._transfers.pull(
                name, tell, tag=query.text("tag"), platform=platform, credentials=credentials
            )
        )

    def _import(self, request: Request) -> Reply:
        query = request.query
        if query.text("fromSrc") != "-":
            raise Unsupported(
                "import from a URL is not supported by this engine",
                hint="Fetch it yourself: curl URL | docker import - NAME",
            )
        return _messages(
            lambda tell: self._transfers.import_(
                request.body(),
                tell,
                repo=query.text("repo"),
                tag=query.text("tag"),
                message=query.text("message"),
                platform=query.text("platform"),
                changes=query.all("changes"),
            )
        )

    async def push(self, request: Request) -> Reply:
        query = request.query
        try:
            credentials = parse_header(request.headers.get(_AUTH, ""))
        except InvalidRequest as error:
            raise InvalidRequest(
                f"bad parameters and missing X-Registry-Auth: {error.message}"
            ) from error
        name = request.params["name"]
        platform = platform_of(query) if request.version >= (1, 46) else None
        if platform is not None:
            tag = query.text("tag")
            self._images.find(f"{name}:{tag}" if tag else name, platform)
        return _messages(
            lambda tell: self._transfers.push(
                name, tell, tag=query.text("tag"), credentials=credentials
            )
        )

    async def load(self, request: Request) -> Reply:
        query = request.query
        if request.version >= (1, 48):
            platform_of(query)  # one platform is all we keep; a wrong one shows in the result
        return _messages(
            lambda tell: self._transfers.load(request.body(), tell, quiet=query.flag("quiet"))
        )

    async def get(self, request: Request) -> Reply:
        query = request.query
        wanted = [request.params["name"]] if "name" in request.params else query.all("names")
        platform = platform_of(query) if request.version >= (1, 48) else None
        if platform is not None:
            for name in wanted:
                self._images.find(name, platform)
        return Stream(_pieces(self._transfers.save(wanted)), _TAR, wait_first=True)

    async def search(self, request: Request) -> Reply:
        query = request.query
        term = query.text("term")
        if not term:
            raise InvalidRequest("search term is required", hint="Give it as ?term=")
        limit = query.integer("limit", 25) or 25
        if not 1 <= limit <= 100:
            raise InvalidRequest(f"limit {limit} is outside the range of [1, 100]")
        filters = query.filters()
        filters.check({"is-automated", "is-official", "stars"})
        stars = [_stars(text) for text in filters.get("stars")]
        found = await self._transfers.search(term, limit, _tolerant(request))
        return Json(
            [
                msgspec.to_builtins(one)
                for one in found
                if all(one.star_count >= least for least in stars)
                and one.is_official >= filters.flag("is-official")
            ]
        )

    async def distribution(self, request: Request) -> Reply:
        offered = await self._transfers.offered(request.params["name"], _tolerant(request))
        return Json(
            {
                "Descriptor": {
                    "mediaType": offered.document.media_type,
                    "digest": offered.document.digest,
                    "size": offered.size,
                },
                "Platforms": [msgspec.to_builtins(one) for one in offered.platforms],
            }
        )


def _tolerant(request: Request) -> Credentials:
    """Credentials for reading: what can't be read counts as none, as Docker has it."""
    try:
        return parse_header(request.headers.get(_AUTH, ""))
    except InvalidRequest:
        return ANONYMOUS


def _stars(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise InvalidRequest(f"invalid filter 'stars=[{text}]'")
    return int(text[:18])


def _messages(work: Callable[[Tell], Awaitable[None]]) -> Stream:
    """Stream what the work tells; it ends with the stream, whoever ends that."""
    return Stream(_told(work), wait_first=True)


async def _told(work: Callable[[Tell], Awaitable[None]]) -> AsyncIterator[bytes]:
    told: asyncio.Queue[bytes | None] = asyncio.Queue()
    task = asyncio.ensure_future(work(told.put_nowait))
    task.add_done_callback(lambda _: told.put_nowait(None))
    begun = False
    try:
        while (message := await told.get()) is not None:
            begun = True
            yield message
        try:
            await task
        except (DockerlabError, OSError) as error:
            refusal = error if isinstance(error, DockerlabError) else _full(error)
            # Nothing said yet: the error gets a status of its own.
            if not begun:
                raise refusal from error
            yield progress.error(refusal)
    finally:
        task.cancel()
        await asyncio.wait([task])


def _full(error: OSError) -> Failed:
    """What the disk said; a full one is nobody's mistake."""
    return Failed(
        (error.strerror or str(error)).lower(),
        hint="Make room: docker system prune, or remove something else from that disk.",
    )


async def _pieces(chunks: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Read blocking chunks without stopping the loop."""
    while (chunk := await asyncio.to_thread(next, chunks, None)) is not None:
        yield chunk
