"""Error kinds and HTTP statuses, in both directions: the one table.

Knows:   which status each kind travels as, and which kind a status means to a client.
Refuses: to choose words; messages come from where the error was raised.
Source:  moby daemon/server/httpstatus/status.go.
"""

from __future__ import annotations

from dockerlab.errors import (
    AlreadyDone,
    Conflict,
    DockerlabError,
    Failed,
    Forbidden,
    InvalidRequest,
    NotFound,
    Unauthenticated,
    Unavailable,
    Unsupported,
)

_TABLE: tuple[tuple[type[DockerlabError], int], ...] = (
    (AlreadyDone, 304),
    (InvalidRequest, 400),
    (Unauthenticated, 401),
    (Forbidden, 403),
    (NotFound, 404),
    (Conflict, 409),
    (Failed, 500),
    (Unsupported, 501),
    (Unavailable, 503),
)


def status_of(error: BaseException) -> int:
    """The status an error travels as; whatever was not raised on purpose is a 500."""
    for candidate, status in _TABLE:
        if isinstance(error, candidate):
            return status
    return 500


def kind(status: int) -> type[DockerlabError]:
    """The kind of error a client meets; unknown statuses of 4xx are the caller's fault."""
    for candidate, known in _TABLE:
        if known == status:
            return candidate
    return InvalidRequest if 400 <= status < 500 else Failed
