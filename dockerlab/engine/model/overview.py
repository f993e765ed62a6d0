"""The engine seen from outside: who it is, how much it has.

Knows:   what `docker info` and `docker version` say beyond the machine.
Refuses: to count; `engine/services/overview.py` does.
"""

from __future__ import annotations

from dataclasses import dataclass

from dockerlab.engine.model.machine import Machine


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """An engine.

    Attributes:
        id: stays the same for one data root.
        version: of dockerlab.
        built: RFC 3339; of these files.
        storage: how layers become a file system: overlay, copies.
        warnings: sentences for people, each beginning with WARNING.
    """

    id: str
    version: str
    built: str
    root: str
    started_ns: int
    machine: Machine
    storage: str = "overlay2"
    log_driver: str = "json-file"
    debug: bool = False
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How many of everything."""

    running: int = 0
    paused: int = 0
    stopped: int = 0
    images: int = 0
    listeners: int = 0
    descriptors: int = 0
    tasks: int = 0
