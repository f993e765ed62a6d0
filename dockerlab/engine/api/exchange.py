"""One request and its answer: on a connection of tornado's, or on one that left it.

Knows:   when a handler starts, who waits for whom over a body, what a vanished client cancels.
Refuses: routes and versions; `app.py` finds them. Nothing raised here may end the engine.
Source:  tornado httputil.HTTPMessageDelegate, http1connection.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from http import HTTPStatus
from typing import Any

from tornado import httputil
from tornado.http1connection import HTTP1Connection
from tornado.iostream import IOStream, StreamClosedError

from dockerlab.engine.api import hijack
from dockerlab.engine.api.hijack import Hijacked
from dockerlab.engine.api.reply import (
    COMMON_HEADERS,
    JSON_TYPE,
    RAW_STREAM,
    Bytes,
    Empty,
    Json,
    Reply,
    Stream,
    Upgrade,
    encode,
    in_band,
    of_error,
)
from dockerlab.engine.api.request import Body, Query, Request
from dockerlab.engine.api.routes import Found, Route
from dockerlab.errors import AlreadyDone, DockerlabError, InvalidRequest, Unavailable

_log = logging.getLogger(__name__)

_REFUSED_BODY_BYTES = 1 << 16

Find = Callable[[str, str], Found]
Spawn = Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]]
# What a method and target must wait for, as their route is not there yet.
Missing = Callable[[str, str], asyncio.Event | None]


async def answer(route: Route, request: Request) -> Reply:
    """Run a handler; every error becomes a reply."""
    try:
        return await route.handler(request)
    except DockerlabError as error:
        if not isinstance(error, AlreadyDone):
            _log.info("%s %s: %s", request.method, request.path, error)
        return of_error(error)
    except asyncio.CancelledError:
        raise
    except Exception as error:  # noqa: BLE001 - every error becomes an answer
        _log.exception("%s %s", request.method, request.path)
        return of_error(error)


class Exchange(httputil.HTTPMessageDelegate):
    """One request and its answer on one connection."""

    def __init__(self, conn: HTTP1Connection, find: Find, spawn: Spawn, missing: Missing) -> None:
        self._conn = conn
        self._missing = missing
        self._find = find
        self._spawn = spawn
        self._http_10 = False
        self._method = ""
        self._route: Route | None = None
        self._request: Request | None = None
        self._body = Body(None)
        self._task: asyncio.Task[None] | None = None
        self._cancel = False
        self._started = False
        self._refused: DockerlabError | None = None

    def headers_received(
        self,
        start_line: httputil.RequestStartLine | httputil.ResponseStartLine,
        headers: httputil.HTTPHeaders,
    ) -> Awaitable[None] | None:
        assert isinstance(start_line, httputil.RequestStartLine)
        if self._missing(start_line.method, start_line.path) is None:
            self._headers(start_line, headers)
            return None
        return asyncio.ensure_future(self._when_there(start_line, headers))

    async def _when_there(
        self, start_line: httputil.RequestStartLine, headers: httputil.HTTPHeaders
    ) -> None:
        # The socket is open before every room is: a ping is answered, the rest waits its turn.
        while (missing := self._missing(start_line.method, start_line.path)) is not None:
            await missing.wait()
        self._headers(start_line, headers)

    def _headers(
        self, start_line: httputil.RequestStartLine, headers: httputil.HTTPHeaders
    ) -> None:
        self._http_10 = start_line.version == "HTTP/1.0"
        self._method = start_line.method
        raw_path, _, query = start_line.path.partition("?")
        try:
            found = self._find(self._method, raw_path)
            route = found.route
            self._body = Body(None if route.stream_body else route.limit_bytes)
            request = Request(
                method=self._method,
                path=found.path,
                version=found.version,
                params=found.params,
                query=Query(query),
                headers={name.lower(): value for name, value in headers.items()},
                body=self._body,
            )
        except DockerlabError as error:
            self._refused = error
            self._body = Body(_REFUSED_BODY_BYTES)
            return
        self._route, self._request, self._cancel = route, request, route.cancel
        if route.hijack:
            stream = self._conn.detach()
            work = _Raw(stream, headers, route, request, self._body).run()
            self._spawn(work, f"{self._method} {found.path}")
        elif route.stream_body:
            self._begin()

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        if not self._body.feed(chunk):
            self._refused = InvalidRequest("http: request body too large")
            self._begin()
            return None
        if self._route is not None and self._route.stream_body and not self._body.taken.is_set():
            return asyncio.ensure_future(self._room())
        return None

    async def _room(self) -> None:
        await self._body.taken.wait()

    def finish(self) -> None:
        self._body.end()
        self._begin()

    def on_connection_close(self) -> None:
        # The client left in the middle of its request.
        self._body.end(broken=True)
        self._gone()

    def _begin(self) -> None:
        if not self._started:
            self._started = True
            self._conn.set_close_callback(self._gone)
            name = f"{self._method} {self._request.path if self._request else '?'}"
            self._task = self._spawn(self._serve(), name)

    def _gone(self) -> None:
        if self._request is not None:
            self._request.disconnected.set()
        self._body.end(broken=True)
        if self._cancel and self._task is not None:
            self._task.cancel()

    async def _serve(self) -> None:
        try:
            await self._answered()
        finally:
            # What was not read of the body is waited for by nobody any more.
            self._body.end(broken=True)

    async def _answered(self) -> None:
        reply = await self._reply()
        if isinstance(reply, Stream):
            await self._stream(reply)
        elif isinstance(reply, Upgrade):
            # A route that forgot to say hijack=True: our own mistake, said aloud.
            self._whole(encode(of_error(RuntimeError("this route cannot be upgraded"))))
        else:
            self._whole(encode(reply))

    async def _reply(self) -> Reply:
        if self._refused is not None or self._route is None or self._request is None:
            return of_error(self._refused or Unavailable("no route"))
        return await answer(self._route, self._request)

    def _head(self, status: int, headers: Mapping[str, str]) -> None:
        start_line = httputil.ResponseStartLine("HTTP/1.1", status, HTTPStatus(status).phrase)
        self._conn.write_headers(start_line, httputil.HTTPHeaders({**COMMON_HEADERS, **headers}))

    def _whole(self, body: Bytes) -> None:
        headers = dict(body.headers)
        if body.content_type:
            headers["Content-Type"] = body.content_type
        if body.status not in {204, 304}:
            headers.setdefault("Content-Length", str(len(body.body)))
        if self._conn.stream is None or self._conn.stream.closed():
            return
        start_line = httputil.ResponseStartLine(
            "HTTP/1.1", body.status, HTTPStatus(body.status).phrase
        )
        chunk = body.body if self._method != "HEAD" and body.status not in {204, 304} else None
        self._conn.write_headers(
            start_line, httputil.HTTPHeaders({**COMMON_HEADERS, **headers}), chunk
        )
        self._conn.finish()

    async def _stream(self, reply: Stream) -> None:
        self._cancel = True
        pieces = reply.pieces
        first: bytes | None = None
        try:
            if self._request is not None and self._request.disconnected.is_set():
                return
            if reply.wait_first:
                try:
                    first = await anext(pieces, None)
                except Exception as error:  # noqa: BLE001 - every error becomes an answer
                    self._whole(encode(self._told(error)))
                    return
            self._head(reply.status, {**reply.headers, "Content-Type": reply.content_type})
            if first:
                await self._conn.write(first)
            await self._pieces(reply)
        finally:
            close = getattr(pieces, "aclose", None)
            if close is not None:
                await close()

    async def _pieces(self, reply: Stream) -> None:
        try:
            async for piece in reply.pieces:
                if piece:
                    await self._conn.write(piece)
        except (StreamClosedError, ConnectionError, asyncio.CancelledError):
            raise
        except Exception as error:  # noqa: BLE001 - too late for a status: said in band, or cut off
            told = self._told(error)
            if reply.content_type != JSON_TYPE or isinstance(told, Empty):
                self._conn.close()
                return
            await self._conn.write(in_band(error))
        self._conn.finish()
        if self._http_10:
            # Without chunks only the end of the connection says where the body ends.
            self._conn.close()

    def _told(self, error: BaseException) -> Json | Empty:
        where = self._request.path if self._request else "?"
        if isinstance(error, DockerlabError):
            _log.info("%s %s: %s", self._method, where, error)
        else:
            _log.error("%s %s", self._method, where, exc_info=error)
        return of_error(error)


class _Raw:
    """A request on a route that may be upgraded: its connection has left tornado."""

    def __init__(
        self,
        stream: IOStream,
        headers: httputil.HTTPHeaders,
        route: Route,
        request: Request,
        body: Body,
    ) -> None:
        self._stream = stream
        self._headers = headers
        self._route = route
        self._request = request
        self._body = body

    async def run(self) -> None:
        """Read the body, leave tornado, answer."""
        try:
            refused = await self._read()
        except BaseException:
            self._stream.close()
            raise
        sock, pending = hijack.take_socket(self._stream)
        connection = Hijacked(sock, pending, upgraded=self._wants_upgrade())
        handed_over = False
        try:
            reply = of_error(refused) if refused else await answer(self._route, self._request)
            if isinstance(reply, Upgrade):
                await connection.send(reply.head or self._upgrade_head(reply, connection))
                handed_over = True
                await reply.run(connection)
            elif isinstance(reply, Stream):
                await self._stream_out(connection, reply)
            else:
                await connection.send(hijack.whole_reply(reply))
        finally:
            # The runner closes what it was given; closing twice does no harm.
            if not handed_over or connection.socket.fileno() >= 0:
                connection.close()

    def _upgrade_head(self, reply: Upgrade, connection: Hijacked) -> bytes:
        # Only who asked for an upgrade is told of frames; Docker's clients rely on either.
        shown = reply.content_type if connection.upgraded else RAW_STREAM
        extra = {} if self._request.path.endswith("/attach") else COMMON_HEADERS
        return hijack.upgrade_head(shown, upgraded=connection.upgraded, extra=extra)

    async def _read(self) -> DockerlabError | None:
        try:
            raw = await hijack.read_body(self._stream, self._headers, self._route.limit_bytes)
        except InvalidRequest as error:
            return error
        if raw:
            self._body.feed(raw)
        self._body.end()
        return None

    def _wants_upgrade(self) -> bool:
        return "upgrade" in self._headers.get("Connection", "").lower() and bool(
            self._headers.get("Upgrade")
        )

    async def _stream_out(self, connection: Hijacked, reply: Stream) -> None:
        head = hijack.upgrade_head(reply.content_type, upgraded=False, extra=COMMON_HEADERS)
        try:
            await connection.send(head)
            async for piece in reply.pieces:
                await connection.send(piece)
        finally:
            close = getattr(reply.pieces, "aclose", None)
            if close is not None:
                await close()
