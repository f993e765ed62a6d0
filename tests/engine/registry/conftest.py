"""A registry of our own on a free loopback port, in a thread with its own loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from tornado.netutil import bind_sockets

from dockerlab.engine.registry.server import http_server
from dockerlab.engine.registry.storage import Storage


@dataclass(frozen=True)
class Running:
    address: str
    storage: Storage

    @property
    def url(self) -> str:
        return f"http://{self.address}/v2"


@contextmanager
def serving(root: Path, *, read_only: bool = False) -> Iterator[Running]:
    storage = Storage(root)
    sockets = bind_sockets(0, "127.0.0.1")
    started, loop = threading.Event(), asyncio.new_event_loop()
    told = asyncio.Event()

    async def serve() -> None:
        server = http_server(storage, read_only=read_only)
        server.add_sockets(sockets)
        started.set()
        await told.wait()
        server.stop()
        await server.close_all_connections()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), name="registry")
    thread.start()
    started.wait()
    try:
        yield Running(f"127.0.0.1:{sockets[0].getsockname()[1]}", storage)
    finally:
        loop.call_soon_threadsafe(told.set)
        thread.join()
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
        storage.close()


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Running]:
    with serving(tmp_path / "registry") as running:
        yield running
