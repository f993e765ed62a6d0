"""Which part of a container's log somebody wants.

Knows:   bounds of time and number, and whether to go on.
Refuses: to read.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class LogWish:
    """Times in nanoseconds since the epoch; 0 and None are no bound.

    Attributes:
        tail: only the last so many records of the past.
        follow: go on until the container ends.
    """

    since_ns: int = 0
    until_ns: int = 0
    tail: int | None = None
    follow: bool = False
