"""The routes of attach: by a hijacked connection, and by a websocket.

Knows:   what is sent before live output, and how a client that leaves before the start is noticed.
Refuses: to copy an attached program's bytes, but for a websocket's, which need frames.
Source:  API v1.50, ContainerAttach, ContainerAttachWebsocket; moby daemon/attach.go.
"""

from __future__ import annotations

import asyncio
import select
import socket
import time
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import aclosing, contextmanager, suppress
from typing import Any, Protocol

from dockerlab.engine.api import records
from dockerlab.engine.api.hijack import Hijacked
from dockerlab.engine.api.reply import MULTIPLEXED_STREAM, RAW_STREAM, Reply, Upgrade
from dockerlab.engine.api.request import Request
from dockerlab.engine.api.routes import Route
from dockerlab.engine.api.websocket import Bridge, switching
from dockerlab.engine.model.container import Container
from dockerlab.engine.model.log_wish import LogWish
from dockerlab.engine.runtime.client import Client, detach_keys
from dockerlab.engine.runtime.log_files import Record


class Runs(Protocol):
    """What these routes need of running containers."""

    def check_attachable(self, name: str) -> None: ...
    async def attach(self, name: str, client: Client | None) -> None: ...


class Looks(Protocol):
    """What these routes read."""

    def find(self, name: str) -> Container: ...
    def logs(self, name: str, wish: LogWish) -> AsyncIterator[list[Record]]: ...


def routes(runs: Runs, looks: Looks) -> list[Route]:
    """List the routes."""
    handlers = _Handlers(runs, looks)
    return [
        Route("POST", "/containers/{name}/attach", handlers.attach, hijack=True),
        Route("GET", "/containers/{name}/attach/ws", handlers.websocket, hijack=True),
    ]


class _Handlers:
    def __init__(self, runs: Runs, looks: Looks) -> None:
        self._runs, self._looks = runs, looks

    async def attach(self, request: Request) -> Reply:
        query = request.query
        container = self._checked(request)
        keys = detach_keys(query.text("detachKeys"))
        framed = not container.config.tty
        streams = {word for word in ("stdin", "stdout", "stderr") if query.flag(word)}

        async def run(hijacked: Hijacked) -> None:
            client = _client(container, hijacked.socket, streams, keys, framed=framed)
            client.pending = hijacked.pending
            await self._attach(request, container, client)

        shown = MULTIPLEXED_STREAM if framed and request.version >= (1, 42) else RAW_STREAM
        return Upgrade(run, shown)

    async def websocket(self, request: Request) -> Reply:
        query = request.query
        head = switching(request.headers)
        container = self._checked(request)
        keys = detach_keys(query.text("detachKeys"))
        streams = {"stdin", "stdout", "stderr"}
        if request.version >= (1, 42):
            streams = {word for word in streams if query.flag(word)}

        async def run(hijacked: Hijacked) -> None:
            with Bridge(hijacked) as bridge:
                client = _client(container, bridge.far, streams, keys, framed=False)
                await bridge.run(self._attach(request, container, client))

        return Upgrade(run, head=head)

    def _checked(self, request: Request) -> Container:
        name = request.params["name"]
        container = self._looks.find(name)
        self._runs.check_attachable(name)
        if request.query.flag("logs"):
            # A driver that keeps nothing is refused here, while there is a status to say it with.
            self._looks.logs(container.id, LogWish())
        return container

    async def _attach(self, request: Request, container: Container, client: Client) -> None:
        query = request.query
        wanted = {n for n, word in ((1, "stdout"), (2, "stderr")) if getattr(client, word)}

        async def history(since_ns: int, until_ns: int) -> None:
            batches = self._looks.logs(container.id, LogWish(since_ns=since_ns, until_ns=until_ns))
            async with aclosing(records.written(batches, wanted, framed=client.framed)) as pieces:
                async for piece in pieces:
                    await asyncio.get_running_loop().sock_sendall(client.sock, piece)

        if query.flag("logs"):
            client.history = history
        if query.flag("stream"):
            await _while_there(client, self._runs.attach(container.id, client))
        else:
            if client.history is not None:
                await history(0, time.time_ns())
            await self._runs.attach(container.id, None)


def _client(
    container: Container, sock: socket.socket, streams: set[str], keys: bytes, *, framed: bool
) -> Client:
    tty, stdin = container.config.tty, "stdin" in streams and container.config.open_stdin
    return Client(
        sock=sock,
        stdin=stdin,
        stdout="stdout" in streams,
        stderr="stderr" in streams,
        framed=framed,
        detach_keys=keys if tty and stdin else b"",
    )


async def _while_there(client: Client, attaching: Coroutine[Any, Any, None]) -> None:
    """Attach; but until there is a program, only for as long as the client is there."""
    task = asyncio.ensure_future(attaching)
    try:
        with _hang_up(client.sock) as gone:
            either: list[asyncio.Future[Any]] = [task, client.joined, gone]
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not task.done() and not client.joined.done():
            task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    finally:
        task.cancel()


@contextmanager
def _hang_up(sock: socket.socket) -> Iterator[asyncio.Future[None]]:
    """A future that is done once the other side has closed altogether.

    The end of what it sends would not say so: that is how stdin ends. Nobody reads the socket
    meanwhile, so its own events are of no use; an epoll that asks for nothing still tells this.
    """
    loop = asyncio.get_running_loop()
    gone: asyncio.Future[None] = loop.create_future()

    def happened() -> None:
        loop.remove_reader(epoll.fileno())
        gone.set_result(None)

    with select.epoll() as epoll:
        epoll.register(sock, 0)
        loop.add_reader(epoll.fileno(), happened)
        try:
            yield gone
        finally:
            loop.remove_reader(epoll.fileno())
            gone.cancel()
