"""What `docker cp` learns about a path in a container before it copies.

Knows:   the facts, as the kernel says them.
Refuses: Go's numbers for modes; `api/archives.py` draws those.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class PathStat:
    """One path.

    Attributes:
        name: last part of the path asked for; "." where it ended in one.
        mode: as stat(2) has it.
        link_target: where a symlink leads in the end, absolute inside the container; else "".
    """

    name: str
    size: int
    mode: int
    mtime_ns: int
    link_target: str = ""
