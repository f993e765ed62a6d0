"""The routes that stream: attach, resize, logs, stats.

Knows:   when output is framed, which content type says so, how a log record is written out.
Refuses: to copy an attached program's bytes: the connection goes to its shim.
Source:  API v1.50, ContainerAttach, ContainerLogs, ContainerStats.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from typing import Any, Protocol

import msgspec

from dockerlab.engine.api.execs import window_size
from dockerlab.engine.api.records import written
from dockerlab.engine.api.reply import MULTIPLEXED_STREAM, RAW_STREAM, Empty, Reply, Stream
from dockerlab.engine.api.request import Request
from dockerlab.engine.api.routes import Route
from dockerlab.engine.model.container import Container
from dockerlab.engine.model.log_wish import LogWish
from dockerlab.engine.runtime.log_files import Record
from dockerlab.errors import InvalidRequest
from dockerlab.wire.times import parse_moment


class Runs(Protocol):
    """What these routes need of running containers."""

    async def resize(self, name: str, height: int, width: int) -> None: ...


class Looks(Protocol):
    """What these routes read."""

    def find(self, name: str) -> Container: ...
    def logs(self, name: str, wish: LogWish) -> AsyncIterator[list[Record]]: ...
    def log_details(self, container: Container) -> str: ...
    def stats(
        self, name: str, *, stream: bool, one_shot: bool
    ) -> AsyncIterator[Mapping[str, Any]]: ...


def routes(runs: Runs, looks: Looks) -> list[Route]:
    """List the routes."""
    handlers = _Handlers(runs, looks)
    return [
        Route("POST", "/containers/{name}/resize", handlers.resize),
        Route("GET", "/containers/{name}/logs", handlers.logs),
        Route("GET", "/containers/{name}/stats", handlers.stats),
    ]


class _Handlers:
    def __init__(self, runs: Runs, looks: Looks) -> None:
        self._runs, self._looks = runs, looks

    async def resize(self, request: Request) -> Reply:
        height, width = window_size(request)
        await self._runs.resize(request.params["name"], height, width)
        return Empty(200)

    async def logs(self, request: Request) -> Reply:
        query = request.query
        if not (query.flag("stdout") or query.flag("stderr")):
            raise InvalidRequest("Bad parameters: you must choose at least one stream")
        container = self._looks.find(request.params["name"])
        framed = not container.config.tty
        now_ns = time.time_ns()
        wish = LogWish(
            since_ns=_moment(query.text("since"), now_ns),
            until_ns=_moment(query.text("until"), now_ns),
            tail=_tail(query.text("tail")),
            follow=query.flag("follow"),
        )
        records = self._looks.logs(container.id, wish)
        shown = MULTIPLEXED_STREAM if framed and request.version >= (1, 42) else RAW_STREAM
        details = f"{self._looks.log_details(container)} " if query.flag("details") else ""
        wanted = {number for number, word in ((1, "stdout"), (2, "stderr")) if query.flag(word)}
        pieces = written(
            records, wanted, framed=framed, stamped=query.flag("timestamps"), details=details
        )
        return Stream(pieces, shown)

    async def stats(self, request: Request) -> Reply:
        query = request.query
        stream, one_shot = query.flag("stream", default=True), query.flag("one-shot")
        if stream and one_shot:
            raise InvalidRequest("cannot have stream=true and one-shot=true")
        documents = self._looks.stats(request.params["name"], stream=stream, one_shot=one_shot)
        return Stream(_lines(documents), wait_first=True)


def _moment(text: str, now_ns: int) -> int:
    return parse_moment(text, now_ns) if text else 0


def _tail(text: str) -> int | None:
    """Read `tail`: whatever is no number, or negative, means everything."""
    return int(text) if text.isdigit() else None


async def _lines(documents: AsyncIterator[Mapping[str, Any]]) -> AsyncIterator[bytes]:
    async for document in documents:
        yield msgspec.json.encode(document) + b"\n"
