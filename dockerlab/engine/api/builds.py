"""The routes of the builder: build, prune, cancel.

Knows:   every query parameter of a build, and when an error still has a status of its own.
Refuses: to build (`services/builds.py`), and to word the stream (`build_stream.py`).
Source:  API v1.50, "ImageBuild", "BuildPrune"; moby daemon/server/router/build/build_routes.go.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any, Protocol

import msgspec

from dockerlab.engine.api.build_stream import Classic, Rendering, Structured
from dockerlab.engine.api.reply import Empty, Json, Reply, Stream
from dockerlab.engine.api.request import Query, Request
from dockerlab.engine.api.routes import Route
from dockerlab.engine.build import progress
from dockerlab.engine.build.request import BuildRequest
from dockerlab.engine.model.limits import Resources
from dockerlab.engine.runtime.spec import Rlimit
from dockerlab.errors import DockerlabError, InvalidRequest, Unsupported
from dockerlab.wire.times import parse_duration

PROGRESS_HEADER = "x-dockerlab-progress"


class Pruned(Protocol):
    """What pruning did."""

    @property
    def keys(self) -> tuple[str, ...]: ...
    @property
    def freed_bytes(self) -> int: ...


class Builds(Protocol):
    """What these routes need."""

    async def build(
        self,
        request: BuildRequest,
        body: AsyncIterator[bytes],
        tell: progress.Listener,
        *,
        build_id: str = "",
    ) -> None: ...
    def cancel(self, build_id: str) -> None: ...
    async def prune(self, *, until_ns: int = 0) -> Pruned: ...


def routes(builds: Builds) -> list[Route]:
    """List the routes."""
    handlers = _Handlers(builds)
    return [
        Route("POST", "/build", handlers.build, stream_body=True),
        Route("POST", "/build/prune", handlers.prune),
        Route("POST", "/build/cancel", handlers.cancel),
    ]


class _Handlers:
    def __init__(self, builds: Builds) -> None:
        self._builds = builds

    async def build(self, request: Request) -> Reply:
        query = request.query
        wanted = build_request(query)
        rendering: Rendering = Classic(quiet=query.flag("q"))
        if request.headers.get(PROGRESS_HEADER, "") == "structured":
            rendering = Structured(time.time_ns)
        pieces = self._pieces(wanted, request, rendering)
        return Stream(pieces, wait_first=True)

    async def _pieces(
        self, wanted: BuildRequest, request: Request, rendering: Rendering
    ) -> AsyncIterator[bytes]:
        """Build in a task of its own, which ends with this generator."""
        told: asyncio.Queue[progress.Progress | None] = asyncio.Queue()
        build = asyncio.create_task(
            self._builds.build(
                wanted, request.body(), told.put_nowait, build_id=request.query.text("buildid")
            ),
            name="build",
        )
        build.add_done_callback(lambda _: told.put_nowait(None))
        begun = False
        try:
            while (event := await told.get()) is not None:
                piece = rendering.render(event)
                if piece:
                    begun = True
                    yield piece
            try:
                await build
            except asyncio.CancelledError:
                yield rendering.failed(DockerlabError("Build cancelled"))
            except DockerlabError as error:
                # Nothing said yet: the error gets a status of its own.
                if not (begun or rendering.holds):
                    raise
                yield rendering.failed(error)
        finally:
            build.cancel()
            await asyncio.wait([build])

    async def prune(self, request: Request) -> Reply:
        filters = request.query.filters()
        until = filters.get("until") or filters.get("unused-for")
        until_ns = time.time_ns() - _age_ns(until[0]) if until else 0
        pruned = await self._builds.prune(until_ns=until_ns)
        return Json(
            {"CachesDeleted": list(pruned.keys) or None, "SpaceReclaimed": pruned.freed_bytes}
        )

    async def cancel(self, request: Request) -> Reply:
        build_id = request.query.text("id")
        if not build_id:
            raise InvalidRequest("build ID not provided", hint="Give it as ?id=")
        self._builds.cancel(build_id)
        return Empty(200)


def build_request(query: Query) -> BuildRequest:
    """Read the parameters of a build.

    Raises:
        InvalidRequest: one of them is not what it should be.
        Unsupported: one that this builder does not have.
    """
    if query.flag("squash"):
        raise InvalidRequest("squash is only supported with experimental mode")
    if query.text("version", "1") not in {"", "1"}:
        raise Unsupported(
            "BuildKit is not supported by this engine",
            hint="Set DOCKER_BUILDKIT=0 for the classic builder.",
        )
    if query.text("remote") and query.text("remote") != "client-session":
        raise Unsupported(
            "building from a URL is not supported yet", hint="Send the context as a tar archive."
        )
    return BuildRequest(
        dockerfile=query.text("dockerfile"),
        tags=tuple(tag for tag in query.all("t") if tag),
        build_args=_json(query, "buildargs", dict[str, str | None], "build args"),
        labels=_json(query, "labels", dict[str, str], "labels"),
        target=query.text("target"),
        platform=query.text("platform"),
        network_mode=query.text("networkmode") or "default",
        no_cache=query.flag("nocache"),
        pull=query.flag("pull"),
        remove=query.flag("rm", default=True),
        force_remove=query.flag("forcerm"),
        cache_from=tuple(_json(query, "cachefrom", list[str], "cache-from")),
        extra_hosts=tuple(host for host in query.text("extrahosts").split(",") if host),
        shm_size_bytes=query.integer("shmsize"),
        resources=Resources(
            memory=query.integer("memory"),
            memory_swap=query.integer("memswap"),
            cpu_shares=query.integer("cpushares"),
            cpu_period=query.integer("cpuperiod"),
            cpu_quota=query.integer("cpuquota"),
            cpuset_cpus=query.text("cpusetcpus"),
            cpuset_mems=query.text("cpusetmems"),
        ),
        rlimits=tuple(
            Rlimit(name=one.name, soft=one.soft, hard=one.hard)
            for one in _json(query, "ulimits", list[_Ulimit], "ulimits")
        ),
    )


class _Ulimit(msgspec.Struct, rename="pascal"):
    name: str
    soft: int = 0
    hard: int = 0


def _json(query: Query, name: str, kind: Any, shown: str) -> Any:
    text = query.text(name)
    if not text or text == "null":
        return msgspec.convert([] if name in {"cachefrom", "ulimits"} else {}, kind)
    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise InvalidRequest(f"error reading {shown}: {error}") from None


def _age_ns(text: str) -> int:
    """Read the age of `until`: a duration, or a time in seconds since the epoch."""
    try:
        return parse_duration(text)
    except InvalidRequest:
        if text.isdecimal():
            return time.time_ns() - int(text) * 1_000_000_000
        raise InvalidRequest(f"invalid filter 'until={text}'", hint="For example 24h") from None
