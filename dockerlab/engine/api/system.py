"""The routes of the engine as a whole: _ping, version, info, events, auth.

Knows:   these documents, field by field, and what a request's version changes in them.
Refuses: to count or to look; the Protocols below say who does.
Source:  API v1.50, "System"; moby daemon/server/router/system, daemon/info.go.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterable, AsyncIterator
from typing import Any, Protocol

import msgspec

from dockerlab.engine.api.reply import (
    API_VERSION,
    MIN_API_VERSION,
    Bytes,
    Json,
    Reply,
    Stream,
)
from dockerlab.engine.api.request import Request
from dockerlab.engine.api.routes import Route
from dockerlab.engine.api.system_documents import info_document, version_document
from dockerlab.engine.model.events import Event
from dockerlab.engine.model.overview import About, Counts
from dockerlab.errors import NotFound, Unavailable, Unsupported
from dockerlab.wire.documents import AuthConfig
from dockerlab.wire.filters import Filters
from dockerlab.wire.times import parse_moment

_PING_HEADERS = {
    "Builder-Version": "1",
    "Cache-Control": "no-cache, no-store, must-revalidate",
    "Pragma": "no-cache",
    "Swarm": "inactive",
}
_SWARM_NOUNS = ("services", "tasks", "nodes", "secrets", "configs", "swarm")


class Overview(Protocol):
    """What these routes need of the services."""

    def about(self) -> About: ...
    def counts(self) -> Counts: ...
    async def login(self, credentials: AuthConfig) -> str: ...


class EventSource(Protocol):
    """Where events come from."""

    def subscribe(
        self, *, since_ns: int = 0, until_ns: int = 0, filters: Filters | None = None
    ) -> AsyncIterable[Event]: ...


def routes(overview: Overview, events: EventSource) -> list[Route]:
    """List the routes."""
    handlers = _Handlers(overview, events)
    swarm = [
        Route(method, f"/{noun}{rest}", handlers.swarm)
        for noun in _SWARM_NOUNS
        for rest in ("", "/{rest}")
        for method in ("GET", "POST", "DELETE")
    ]
    return [
        Route("GET", "/_ping", handlers.ping, any_version=True),
        Route("HEAD", "/_ping", handlers.ping, any_version=True),
        Route("GET", "/version", handlers.version),
        Route("GET", "/info", handlers.info),
        Route("GET", "/events", handlers.events, cancel=True),
        Route("POST", "/auth", handlers.auth, cancel=True),
        Route("GET", "/plugins", handlers.plugins),
        Route("GET", "/plugins/{name}/json", handlers.plugin),
        *swarm,
    ]


class _Handlers:
    def __init__(self, overview: Overview, events: EventSource) -> None:
        self._overview, self._events = overview, events

    async def ping(self, request: Request) -> Reply:
        body = b"" if request.method == "HEAD" else b"OK"
        return Bytes(body=body, headers=_PING_HEADERS)

    async def version(self, request: Request) -> Reply:
        del request
        return Json(version_document(self._overview.about(), API_VERSION, MIN_API_VERSION))

    async def info(self, request: Request) -> Reply:
        overview = self._overview
        return Json(info_document(overview.about(), overview.counts(), request.version))

    async def events(self, request: Request) -> Reply:
        now_ns = time.time_ns()
        since, until = request.query.text("since"), request.query.text("until")
        subscription = self._events.subscribe(
            since_ns=parse_moment(since, now_ns) if since else 0,
            # 0 would mean "never", and a client may well say "until 1970".
            until_ns=max(1, parse_moment(until, now_ns)) if until else 0,
            filters=request.query.filters(),
        )
        return Stream(_lines(subscription))

    async def auth(self, request: Request) -> Reply:
        credentials = await request.json(AuthConfig, required=True)
        token = await self._overview.login(credentials)
        return Json({"IdentityToken": token, "Status": "Login Succeeded"})

    async def plugins(self, request: Request) -> Reply:
        del request
        return Json([])

    async def plugin(self, request: Request) -> Reply:
        raise NotFound(f'plugin "{request.params["name"]}" not found')

    async def swarm(self, request: Request) -> Reply:
        if request.method == "POST" and request.path in {"/swarm/init", "/swarm/join"}:
            raise Unsupported("dockerlab has no Swarm: it is one engine on one machine")
        raise Unavailable(
            'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to '
            "connect this node to swarm and try again."
        )


async def _lines(subscription: AsyncIterable[Event]) -> AsyncIterator[bytes]:
    async for event in subscription:
        yield msgspec.json.encode(event_document(event)) + b"\n"


def event_document(event: Event) -> dict[str, Any]:
    """Draw one event; `status`, `id` and `from` are for scripts older than types of events."""
    legacy: dict[str, str] = {}
    if event.kind in {"container", "image"}:
        legacy = {"status": event.action, "id": event.actor_id}
        if event.kind == "container" and event.attributes.get("image"):
            legacy["from"] = event.attributes["image"]
    return {
        **legacy,
        "Type": event.kind,
        "Action": event.action,
        "Actor": {"ID": event.actor_id, "Attributes": dict(event.attributes)},
        "scope": "local",
        "time": event.time_ns // 10**9,
        "timeNano": event.time_ns,
    }
