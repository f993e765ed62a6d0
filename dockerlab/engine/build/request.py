"""What a client asks a build for, decoded and with defaults decided.

Knows:   every parameter of `POST /build` that changes the result.
Refuses: queries and headers; `api/builds.py` reads those.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dockerlab.engine.model.limits import Resources
from dockerlab.engine.runtime.spec import Rlimit


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildRequest:
    """One build.

    Attributes:
        dockerfile: its name in the context; "" for the default.
        tags: references for the result.
        build_args: None as a value means "take none".
        labels: added to the last stage.
        remove, force_remove: say that intermediate containers are removed; after a failure too.
    """

    dockerfile: str = ""
    tags: tuple[str, ...] = ()
    build_args: Mapping[str, str | None] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    target: str = ""
    platform: str = ""
    network_mode: str = "default"
    no_cache: bool = False
    pull: bool = False
    remove: bool = True
    force_remove: bool = False
    cache_from: tuple[str, ...] = ()
    extra_hosts: tuple[str, ...] = ()
    shm_size_bytes: int = 0
    resources: Resources = field(default_factory=Resources)
    rlimits: tuple[Rlimit, ...] = ()
