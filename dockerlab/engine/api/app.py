"""The API's front: the HTTP server, the routes of every noun, the tasks that answer requests.

Knows:   how a request line becomes a route, and how all of it comes to an end.
Refuses: every noun of Docker; each lives in its own file beside this one.
Source:  moby daemon/server/server.go.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import struct
from collections.abc import Coroutine, Iterable
from contextlib import suppress
from typing import Any
from urllib.parse import unquote

from tornado import httputil
from tornado.http1connection import HTTP1Connection
from tornado.httpserver import HTTPServer
from tornado.iostream import IOStream, StreamClosedError

from dockerlab.engine.api.exchange import Exchange
from dockerlab.engine.api.hijack import Hijacked
from dockerlab.engine.api.reply import (
    API_VERSION,
    ENGINE_VERSION,
    JSON_TYPE,
    MIN_API_VERSION,
    MULTIPLEXED_STREAM,
    RAW_STREAM,
    Bytes,
    Empty,
    Json,
    Reply,
    Stream,
    Upgrade,
)
from dockerlab.engine.api.request import Query, Request
from dockerlab.engine.api.routes import Found, Handler, Route, Table, check_version, split_version
from dockerlab.errors import DockerlabError

__all__ = [
    "API_VERSION",
    "ENGINE_VERSION",
    "JSON_TYPE",
    "MIN_API_VERSION",
    "MULTIPLEXED_STREAM",
    "RAW_STREAM",
    "App",
    "Bytes",
    "Empty",
    "Handler",
    "Hijacked",
    "Json",
    "Query",
    "Reply",
    "Request",
    "Route",
    "Stream",
    "Upgrade",
]

_log = logging.getLogger(__name__)

_UCRED = struct.Struct("iII")
_MAX_HEAD_BYTES = 1 << 20
_CHUNK_BYTES = 1 << 17
# The limit of a route is counted by `Body`; tornado's own would answer without a message.
_NO_LIMIT = 1 << 62


class App(httputil.HTTPServerConnectionDelegate):
    """Owns the routes, the server and every task that answers a request."""

    def __init__(self, routes: Iterable[Route] = (), *, complete: bool = True) -> None:
        """Args: complete: all routes are there; otherwise requests wait, see `begin`."""
        self._table = Table(routes)
        self._begun, self._complete = asyncio.Event(), asyncio.Event()
        if complete:
            self.complete()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: HTTPServer | None = None

    def add(self, routes: Iterable[Route]) -> None:
        """Add the routes of one noun; the socket may be open already."""
        for route in routes:
            self._table.add(route)

    def begin(self) -> None:
        """Answer what there are routes for; anything else waits for `complete`."""
        self._begun.set()

    def complete(self) -> None:
        """All routes are there: answer those who wait."""
        self._begun.set()
        self._complete.set()

    def server(self) -> HTTPServer:
        """The HTTP server, to be given listening sockets."""
        if self._server is None:
            self._server = _OwnersServer(
                self,
                max_header_size=_MAX_HEAD_BYTES,
                max_body_size=_NO_LIMIT,
                chunk_size=_CHUNK_BYTES,
            )
        return self._server

    def start_request(
        self,
        server_conn: object,  # noqa: ARG002 - tornado's signature
        request_conn: httputil.HTTPConnection,
    ) -> httputil.HTTPMessageDelegate:
        """Begin one request; called by tornado."""
        assert isinstance(request_conn, HTTP1Connection)
        return Exchange(request_conn, self.find, self.spawn, self._missing)

    def _missing(self, method: str, target: str) -> asyncio.Event | None:
        """What a request has to wait for before it can be answered."""
        path = target.partition("?")[0]
        if self._complete.is_set() or path.endswith("/_ping"):
            return None
        if not self._begun.is_set():
            return self._begun
        try:
            self.find(method, path)
        except DockerlabError:
            return self._complete
        return None

    def find(self, method: str, target: str) -> Found:
        """Find what a request line's target (without its query) means.

        Raises:
            NotFound: no such page; InvalidRequest: a version that we do not speak.
        """
        version_text, path = split_version(unquote(_origin_form(target)))
        route, params = self._table.find(method, path)
        version = API_VERSION if route.any_version else check_version(version_text)
        return Found(route=route, version=version, path=path, params=params)

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Run one request's work; it is ended by `close` at the latest."""
        task = asyncio.create_task(_contained(work), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def close(self) -> None:
        """Stop listening, cancel what still runs, close every connection."""
        self.complete()
        if self._server is not None:
            self._server.stop()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._server is not None:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._server.close_all_connections(), 1)


class _OwnersServer(HTTPServer):
    """Serves this user and root; a socket's permissions may have been widened by mistake."""

    def handle_stream(self, stream: IOStream, address: tuple[Any, ...]) -> None:
        """Take a connection, or close it at once."""
        if _may_connect(stream.socket):
            super().handle_stream(stream, address)
        else:
            _log.warning("refused a connection of another user")
            stream.close()


def _may_connect(sock: socket.socket) -> bool:
    if sock.family != socket.AF_UNIX or not hasattr(socket, "SO_PEERCRED"):
        return True
    # struct ucred: pid, uid, gid. Source: man 7 unix.
    credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    _, user, _ = _UCRED.unpack(credentials)
    return user in {0, os.geteuid()}


async def _contained(work: Coroutine[Any, Any, None]) -> None:
    """Nothing a request does may end the engine; what it failed by is logged."""
    try:
        await work
    except (StreamClosedError, ConnectionError):
        _log.debug("client went away")
    except Exception:  # noqa: BLE001 - a request is no reason to end
        _log.exception("request failed outside its handler")


def _origin_form(path: str) -> str:
    """Clients behind proxies may send a whole URL as the target; only its path matters."""
    if path.startswith("/"):
        return path
    _, _, rest = path.partition("://")
    return "/" + rest.partition("/")[2]
