"""The routes of `docker cp`: look at a path, take it out as a tar, put a tar in.

Knows:   the header that says what a path is, with Go's numbers for modes.
Refuses: to read or write a file.
Source:  API v1.50, ContainerArchive; moby daemon/server/router/container/copy.go.
"""

from __future__ import annotations

import base64
import json
import stat
from collections.abc import AsyncIterator
from typing import Protocol

from dockerlab.engine.api.reply import Empty, Reply, Stream
from dockerlab.engine.api.request import Request
from dockerlab.engine.api.routes import Route
from dockerlab.engine.model.path_stat import PathStat
from dockerlab.errors import InvalidRequest
from dockerlab.wire.times import rfc3339

_HEADER = "X-Docker-Container-Path-Stat"
# Go's os.FileMode: kinds and special bits above the nine of the permissions.
_KINDS = {
    stat.S_IFDIR: 1 << 31,
    stat.S_IFLNK: 1 << 27,
    stat.S_IFBLK: 1 << 26,
    stat.S_IFCHR: 1 << 26 | 1 << 21,
    stat.S_IFIFO: 1 << 25,
    stat.S_IFSOCK: 1 << 24,
}
_BITS = {stat.S_ISUID: 1 << 23, stat.S_ISGID: 1 << 22, stat.S_ISVTX: 1 << 20}


class Copies(Protocol):
    """What these routes need."""

    async def stat(self, name: str, path: str) -> PathStat: ...
    async def read(self, name: str, path: str) -> tuple[PathStat, AsyncIterator[bytes]]: ...
    async def write(
        self, name: str, path: str, body: AsyncIterator[bytes], *, keep_kinds: bool, as_user: bool
    ) -> None: ...


def routes(copies: Copies) -> list[Route]:
    """List the routes."""
    handlers = _Handlers(copies)
    pattern = "/containers/{name}/archive"
    return [
        Route("HEAD", pattern, handlers.look),
        Route("GET", pattern, handlers.take),
        Route("PUT", pattern, handlers.put, stream_body=True, cancel=True),
    ]


class _Handlers:
    def __init__(self, copies: Copies) -> None:
        self._copies = copies

    async def look(self, request: Request) -> Reply:
        found = await self._copies.stat(request.params["name"], _path(request))
        return Empty(200, headers={_HEADER: encoded(found)})

    async def take(self, request: Request) -> Reply:
        found, pieces = await self._copies.read(request.params["name"], _path(request))
        return Stream(pieces, "application/x-tar", headers={_HEADER: encoded(found)})

    async def put(self, request: Request) -> Reply:
        query = request.query
        await self._copies.write(
            request.params["name"],
            _path(request),
            request.body(),
            keep_kinds=query.flag("noOverwriteDirNonDir"),
            as_user=query.flag("copyUIDGID"),
        )
        return Empty(200)


def _path(request: Request) -> str:
    path = request.query.text("path")
    if not path:
        # The missing blank is Docker's.
        raise InvalidRequest("bad parameter: pathcannot be empty")
    if "\0" in path:
        raise InvalidRequest("invalid path: it holds a NUL")
    return path


def encoded(found: PathStat) -> str:
    """Write the header's value."""
    document = {
        "name": found.name,
        "size": found.size,
        "mode": go_mode(found.mode),
        # The epoch is a time like any other here, while `rfc3339` takes 0 for "never".
        "mtime": rfc3339(found.mtime_ns) if found.mtime_ns > 0 else "1970-01-01T00:00:00Z",
        "linkTarget": found.link_target,
    }
    text = json.dumps(document, separators=(",", ":"), ensure_ascii=False)
    return base64.b64encode(text.encode("utf-8", "replace")).decode()


def go_mode(mode: int) -> int:
    """Translate a mode of stat(2) into Go's os.FileMode."""
    bits = sum(go for bit, go in _BITS.items() if mode & bit)
    return mode & 0o777 | _KINDS.get(stat.S_IFMT(mode), 0) | bits
