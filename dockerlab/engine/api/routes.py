"""Which handler answers which path.

Knows:   Docker's path patterns: an optional version in front, names that may contain slashes.
Refuses: HTTP beyond method and path.
Source:  moby daemon/server/server.go createMux; gorilla/mux.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass

from dockerlab.engine.api.reply import API_VERSION, MIN_API_VERSION, Reply
from dockerlab.engine.api.request import Request
from dockerlab.errors import InvalidRequest, NotFound

Handler = Callable[[Request], Awaitable[Reply]]

JSON_LIMIT_BYTES = 16 << 20
_VERSIONED = re.compile(r"/v([0-9.]+)(/.*)")
_PARAMETER = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, slots=True)
class Route:
    """One route.

    Attributes:
        pattern: "/images/{name}/json"; a name takes as much as it can, slashes too.
        cancel: the handler is cancelled when the client goes away; streams always are.
        stream_body: the handler starts at once and reads `request.body()`, of any length, as it
            comes. Otherwise it starts once the body, of `limit_bytes` at most, is there.
        hijack: the handler may answer with an `Upgrade`.
        any_version: answered whatever version the path names.
    """

    method: str
    pattern: str
    handler: Handler
    cancel: bool = False
    stream_body: bool = False
    hijack: bool = False
    any_version: bool = False
    limit_bytes: int = JSON_LIMIT_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a request line means."""

    route: Route
    version: tuple[int, int]
    path: str
    params: Mapping[str, str]


class Table:
    """All routes; those without names are found by one look-up."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._exact: dict[tuple[str, str], Route] = {}
        self._patterns: dict[tuple[str, str], list[tuple[re.Pattern[str], Route]]] = {}
        for route in routes:
            self.add(route)

    def add(self, route: Route) -> None:
        """Add one route; the first of two that match wins."""
        if "{" not in route.pattern:
            self._exact.setdefault((route.method, route.pattern), route)
            return
        pieces = _PARAMETER.split(route.pattern)
        # Odd pieces are names: split() with a group gives text, name, text, name, text.
        expression = "".join(
            f"(?P<{piece}>.+)" if index % 2 else re.escape(piece)
            for index, piece in enumerate(pieces)
        )
        key = (route.method, route.pattern.split("/", 2)[1])
        self._patterns.setdefault(key, []).append((re.compile(expression, re.DOTALL), route))

    def find(self, method: str, path: str) -> tuple[Route, Mapping[str, str]]:
        """Find the route of a decoded path without its version.

        Raises:
            NotFound: `page not found`; also for a known path with another method.
        """
        route = self._exact.get((method, path))
        if route is not None:
            return route, {}
        for pattern, candidate in self._patterns.get((method, path.split("/", 2)[1]), ()):
            match = pattern.fullmatch(path)
            if match is not None:
                return candidate, match.groupdict()
        raise NotFound("page not found")


def split_version(path: str) -> tuple[str, str]:
    """Part "/v1.41/info" into "1.41" and "/info"; the version is "" where none is named."""
    match = _VERSIONED.fullmatch(path)
    return (match[1], match[2]) if match else ("", path)


def check_version(text: str) -> tuple[int, int]:
    """Read a version and hold it against ours; number by number, as 1.9 is older than 1.24.

    Raises:
        InvalidRequest: in Docker's words, which clients show.
    """
    if not text:
        return API_VERSION
    numbers = text.split(".")
    if len(numbers) > 2 or not all(number.isdigit() and len(number) < 6 for number in numbers):
        raise InvalidRequest(f"invalid API version: {text}", hint="Write /v1.50/...")
    version = (int(numbers[0]), int(numbers[1]) if len(numbers) == 2 else 0)
    if version < MIN_API_VERSION:
        raise InvalidRequest(
            f"client version {text} is too old. Minimum supported API version is "
            f"{MIN_API_VERSION[0]}.{MIN_API_VERSION[1]}, please upgrade your client to a newer "
            "version"
        )
    if version > API_VERSION:
        raise InvalidRequest(
            f"client version {text} is too new. Maximum supported API version is "
            f"{API_VERSION[0]}.{API_VERSION[1]}"
        )
    return version
