"""Every error raised on purpose, by what the caller can do about it.

Knows:   the kinds, one message (in Docker's words where Docker has them) and one hint.
Refuses: to know who will show it; `wire/status.py` maps kinds to HTTP, `notebook/errors.py`
         and `console/` to people.
"""

from __future__ import annotations


class DockerlabError(Exception):
    """Base of every error raised on purpose: what happened, then what to try.

    Args:
        message: one line that says what failed; part of the protocol, as clients match on it.
        hint: one line that says what to do, in words a learner can type.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class InvalidRequest(DockerlabError):
    """The request itself is wrong; repeating it will not help. Travels as HTTP 400."""


class Unauthenticated(DockerlabError):
    """Credentials are missing or wrong. Travels as HTTP 401."""


class Forbidden(DockerlabError):
    """Understood, and refused whoever asks. Travels as HTTP 403."""


class NotFound(DockerlabError):
    """The thing named does not exist on this host. Travels as HTTP 404."""


class AlreadyDone(DockerlabError):
    """The thing is already in the state asked for. Travels as HTTP 304."""


class Conflict(DockerlabError):
    """Right in itself, but the present state forbids it. Travels as HTTP 409."""


class Unsupported(DockerlabError):
    """This engine, or this machine, does not do that. Travels as HTTP 501."""


class Unavailable(DockerlabError):
    """Something needed is not there right now: a registry, a node, a mode. Travels as HTTP 503."""


class Failed(DockerlabError):
    """It was tried and went wrong on the way. Travels as HTTP 500."""
