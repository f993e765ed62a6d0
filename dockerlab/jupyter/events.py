"""One stream of events from the host, shared by all browsers of this server.

Knows:   a thread that reads while anybody listens, and begins anew when the host comes back.
Refuses: to keep events for those who come later; the panel lists what is there by itself.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from dockerlab.commands.hosts import Host
from dockerlab.errors import DockerlabError

_RETRY_S = 2.0
_KEPT = 256
_CONNECTED = {"Type": "host", "Action": "connected"}
_LOST = {"Type": "host", "Action": "lost"}


class EventFeed:
    """Fans the host's events out to queues; lives on the server's loop."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._queues: set[asyncio.Queue[dict[str, Any]]] = set()
        self._stop: threading.Event | None = None

    @contextmanager
    def subscribed(self) -> Iterator[asyncio.Queue[dict[str, Any]]]:
        """Get a queue of events for as long as the block lasts; a full one drops the newest."""
        queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue(_KEPT)
        self._queues.add(queue)
        if self._stop is None:
            self._stop = threading.Event()
            loop = asyncio.get_running_loop()
            threading.Thread(
                target=self._read, args=(loop, self._stop), name="dockerlab events", daemon=True
            ).start()
        try:
            yield queue
        finally:
            self._queues.discard(queue)
            if not self._queues and self._stop is not None:
                self._stop.set()
                self._stop = None

    def _read(self, loop: asyncio.AbstractEventLoop, stop: threading.Event) -> None:
        def tell(event: dict[str, Any]) -> None:
            loop.call_soon_threadsafe(self._deliver, event)

        # Browsers list what is there when they subscribe; what happens until the host's stream is
        # open would be lost to them, so each change of the connection tells them to look again.
        while not stop.is_set():
            try:
                events = self._host.streams.documents("get", "/events")
                tell(_CONNECTED)
                for event in events:
                    if stop.is_set():
                        return
                    tell(event)
            except DockerlabError:
                self._host.forget()
            tell(_LOST)
            stop.wait(_RETRY_S)

    def _deliver(self, event: dict[str, Any]) -> None:
        for queue in self._queues:
            if not queue.full():
                queue.put_nowait(event)
