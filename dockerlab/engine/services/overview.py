"""The engine as a whole: who it is, how much it has, whether a registry knows its user.

Knows:   where to count.
Refuses: to draw documents; `engine/api/system_documents.py` does.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

from dockerlab.engine.model.container import Container
from dockerlab.engine.model.lifecycle import Status
from dockerlab.engine.model.overview import About, Counts
from dockerlab.engine.services.events import Events
from dockerlab.errors import InvalidRequest, Unauthenticated
from dockerlab.wire.documents import AuthConfig

_HUB_ADDRESSES = frozenset({"", "docker.io", "index.docker.io", "registry-1.docker.io"})


class Sized(Protocol):
    """What has a number of images."""

    def list(self) -> Iterable[object]: ...


class Overview:
    """What is true of the whole engine right now."""

    def __init__(self, about: About, images: Sized, events: Events) -> None:
        self._about, self._images, self._events = about, images, events
        self._containers: Callable[[], Iterable[Container]] = tuple

    def attach(self, containers: Callable[[], Iterable[Container]]) -> None:
        """Count these containers from now on."""
        self._containers = containers

    def about(self) -> About:
        """Who this engine is."""
        return self._about

    def counts(self) -> Counts:
        """How much there is."""
        states = Counter(container.state.status for container in self._containers())
        running = states[Status.RUNNING] + states[Status.RESTARTING]
        paused = states[Status.PAUSED]
        return Counts(
            running=running,
            paused=paused,
            stopped=states.total() - running - paused,
            images=sum(1 for _ in self._images.list()),
            listeners=self._events.listeners,
            descriptors=sum(1 for _ in Path("/proc/self/fd").iterdir()),
            tasks=len(asyncio.all_tasks()),
        )

    async def login(self, credentials: AuthConfig) -> str:
        """Show credentials to their registry; returns an identity token, "" if it gave none.

        Raises:
            Unauthenticated: the registry does not take them.
        """
        return await asyncio.to_thread(_login, credentials)


def _login(credentials: AuthConfig) -> str:
    # Heavy, and only needed for this.
    from dockerlab.engine.registry.auth import credentials_of  # noqa: PLC0415
    from dockerlab.engine.registry.transport import HUB, Registry  # noqa: PLC0415

    address = credentials.serveraddress.removeprefix("https://").removeprefix("http://")
    host = address.partition("/")[0]
    if any(character.isspace() for character in host):
        raise InvalidRequest(f"invalid registry address: {credentials.serveraddress}")
    domain = HUB if host in _HUB_ADDRESSES else host
    given = credentials_of(
        {name: getattr(credentials, name) for name in AuthConfig.__struct_fields__}
    )
    registry = Registry(domain, given)
    try:
        answer = registry.document("/v2/", scopes=())
    finally:
        registry.close()
    if answer.status in {401, 403}:
        raise Unauthenticated(
            f'Get "https://{domain}/v2/": unauthorized: incorrect username or password'
        )
    return ""
