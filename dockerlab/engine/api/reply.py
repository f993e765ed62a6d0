"""What a handler may answer with, and the headers every answer carries.

Knows:   the five kinds of reply, Docker's headers, how an error becomes a document.
Refuses: to write to a connection; `app.py` and `hijack.py` perform what is said here.
Source:  moby daemon/server/middleware/version.go, httputils/httputils.go.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from dockerlab.errors import AlreadyDone, DockerlabError
from dockerlab.wire.documents import render
from dockerlab.wire.status import status_of

if TYPE_CHECKING:
    from dockerlab.engine.api.hijack import Hijacked

API_VERSION = (1, 50)
MIN_API_VERSION = (1, 24)
ENGINE_VERSION = "28.2.2"
JSON_TYPE = "application/json"
RAW_STREAM = "application/vnd.docker.raw-stream"
MULTIPLEXED_STREAM = "application/vnd.docker.multiplexed-stream"

COMMON_HEADERS = {
    "Api-Version": ".".join(map(str, API_VERSION)),
    "Docker-Experimental": "false",
    "Ostype": "linux",
    "Server": f"Docker/{ENGINE_VERSION} (linux)",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Bytes:
    """A whole body at once, of any type."""

    body: bytes = b""
    content_type: str = "text/plain; charset=utf-8"
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Json:
    """A document, or plain values with documents in them."""

    document: Any
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Empty:
    """Only a status; 200 says Content-Length: 0, 204 and 304 say nothing."""

    status: int = 204
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Stream:
    """A body that comes in pieces, each flushed; ends early when the client is gone.

    Attributes:
        wait_first: hold the headers back until the first piece, so that an error before it has
            a status of its own. Otherwise headers go out at once.
    """

    pieces: AsyncIterator[bytes]
    content_type: str = JSON_TYPE
    headers: Mapping[str, str] = field(default_factory=dict)
    status: int = 200
    wait_first: bool = False


@dataclass(frozen=True, slots=True)
class Upgrade:
    """The connection itself is handed over; only from routes that say `hijack=True`.

    Attributes:
        run: owns the socket from here on and closes it; its end ends the request.
        head: what the client is told first, where that is not Docker's own answer.
    """

    run: Callable[[Hijacked], Awaitable[None]]
    content_type: str = RAW_STREAM
    head: bytes = b""


Reply = Json | Empty | Bytes | Stream | Upgrade


def encode(reply: Json | Empty | Bytes) -> Bytes:
    """Turn a document into the bytes of a body; the newline is Go's encoder's."""
    if isinstance(reply, Bytes):
        return reply
    if isinstance(reply, Empty):
        return Bytes(content_type="", status=reply.status, headers=reply.headers)
    body = msgspec.json.encode(render(reply.document)) + b"\n"
    return Bytes(body=body, content_type=JSON_TYPE, status=reply.status, headers=reply.headers)


def of_error(error: BaseException) -> Json | Empty:
    """Say an error as Docker says it; our hint stands beside it, in a field nobody else reads."""
    if isinstance(error, AlreadyDone):
        return Empty(304)
    document = {"message": str(error) or type(error).__name__}
    if isinstance(error, DockerlabError) and error.hint:
        document["hint"] = error.hint
    return Json(document, status_of(error))


def in_band(error: BaseException) -> bytes:
    """Say an error in a stream of messages that has already begun."""
    message = str(error) or type(error).__name__
    document = {"errorDetail": {"message": message}, "error": message}
    return msgspec.json.encode(document) + b"\r\n"
