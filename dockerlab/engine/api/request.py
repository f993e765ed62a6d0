"""A request as a handler sees it: route parameters, query, headers, body.

Knows:   Go's rules for booleans and numbers in a query, and who waits for whom over a body.
Refuses: sockets; `app.py` feeds the body in, `decode.py` reads documents.
Source:  moby daemon/server/httputils/form.go.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import TypeVar
from urllib.parse import parse_qsl

import msgspec

from dockerlab.engine.api import decode
from dockerlab.errors import Failed, InvalidRequest
from dockerlab.wire.filters import Filters, parse_filters

T = TypeVar("T", bound=msgspec.Struct)

_FALSE = frozenset({"", "0", "no", "false", "none"})
# How much of a streamed body may wait here before its sender has to.
_AHEAD_BYTES = 1 << 20
_INT64 = range(-(2**63), 2**63)


class Query:
    """The part after the question mark; unknown names are ignored, as Docker does."""

    def __init__(self, text: str) -> None:
        self._values: dict[str, list[str]] = {}
        try:
            pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=1000)
        except ValueError as error:
            raise InvalidRequest(f"invalid query: {error}") from error
        for name, value in pairs:
            self._values.setdefault(name, []).append(value)

    def __contains__(self, name: str) -> bool:
        """Whether the name was given at all, even empty."""
        return name in self._values

    def all(self, name: str) -> list[str]:
        """Every value given under a name, in order."""
        return list(self._values.get(name, ()))

    def text(self, name: str, default: str = "") -> str:
        """The first value, as it stands."""
        values = self._values.get(name)
        return values[0] if values else default

    def flag(self, name: str, default: bool = False) -> bool:
        """A boolean: false for "", 0, no, false, none in any case; true for all else."""
        values = self._values.get(name)
        return default if not values else values[0].strip().lower() not in _FALSE

    def integer(self, name: str, default: int = 0) -> int:
        """A number of int64; "" is the default.

        Raises:
            InvalidRequest: in the words of Go's strconv, which clients show.
        """
        text = self.text(name)
        if not text:
            return default
        sign = text[1:] if text[0] in "+-" else text
        if not (sign.isascii() and sign.isdigit()):
            raise InvalidRequest(f'strconv.Atoi: parsing "{text}": invalid syntax')
        if len(sign) > 19 or int(text) not in _INT64:
            raise InvalidRequest(f'strconv.Atoi: parsing "{text}": value out of range')
        return int(text)

    def filters(self) -> Filters:
        """The `filters` parameter, in either of its two shapes."""
        return parse_filters(self.text("filters"))


class Body:
    """A request's body on its way in; the sender waits when it is too far ahead."""

    def __init__(self, limit_bytes: int | None) -> None:
        self._limit = limit_bytes
        self._seen = 0
        self._pieces: list[bytes] = []
        self._held = 0
        self._ended = False
        self._broken = False
        self._arrived = asyncio.Event()
        self._taken = asyncio.Event()
        self._taken.set()

    @property
    def taken(self) -> asyncio.Event:
        """Set while there is room for more."""
        return self._taken

    def feed(self, piece: bytes) -> bool:
        """Add a piece; False when the body is longer than its route allows."""
        self._seen += len(piece)
        if self._limit is not None and self._seen > self._limit:
            return False
        self._pieces.append(piece)
        self._held += len(piece)
        if self._held > _AHEAD_BYTES:
            self._taken.clear()
        self._arrived.set()
        return True

    def end(self, *, broken: bool = False) -> None:
        """No more comes: the body is whole, or its sender is gone."""
        if not self._ended:
            self._ended, self._broken = True, broken
        self._arrived.set()
        self._taken.set()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Give pieces as they come.

        Raises:
            Failed: `unexpected EOF`, when the sender went away before the end.
        """
        while True:
            pieces, self._pieces, self._held = self._pieces, [], 0
            self._arrived.clear()
            for piece in pieces:
                yield piece
            self._taken.set()
            if self._pieces:
                continue
            if self._ended:
                break
            await self._arrived.wait()
        if self._broken:
            raise Failed("unexpected EOF")

    async def whole(self) -> bytes:
        """All of it, for bodies that are small by their route's limit."""
        return b"".join([piece async for piece in self])


class Request:
    """One request.

    Attributes:
        path: decoded, without the version.
        version: of the API as the client speaks it; the newest when the path named none.
        params: what stood in the route's braces.
        headers: by lower-case name.
        disconnected: set when the client is gone.
    """

    def __init__(
        self,
        *,
        method: str,
        path: str,
        version: tuple[int, int],
        params: Mapping[str, str],
        query: Query,
        headers: Mapping[str, str],
        body: Body,
    ) -> None:
        self.method = method
        self.path = path
        self.version = version
        self.params = params
        self.query = query
        self.headers = headers
        self.disconnected = asyncio.Event()
        self._body = body

    def body(self) -> AsyncIterator[bytes]:
        """The body's pieces as they come; only once."""
        return self._body.__aiter__()

    async def read(self) -> bytes:
        """The whole body."""
        return await self._body.whole()

    async def json(self, kind: type[T], *, required: bool = False) -> T:
        """The body as a document; an empty one gives the defaults, unless it is required.

        Raises:
            InvalidRequest: wrong content type, malformed JSON, wrong types; in Docker's words.
        """
        raw = await self._body.whole()
        decode.check_content_type(self.headers.get("content-type", ""), has_body=bool(raw))
        if not raw and not required:
            return decode.convert({}, kind)
        return decode.decode(raw, kind)
