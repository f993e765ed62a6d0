"""Put together an engine that has images and nothing that runs.

Knows:   what works with no right at all: pull, push, load, save, inspect, history, layers.
Refuses: every import that needs namespaces; `nouns.py` puts the whole engine together.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack

from dockerlab.engine.api import image_transfers, no_containers
from dockerlab.engine.api import images as images_api
from dockerlab.engine.api.routes import Route
from dockerlab.engine.daemon.furnished import Furnished
from dockerlab.engine.services.events import Events
from dockerlab.engine.services.images import Images
from dockerlab.engine.services.transfers import Transfers
from dockerlab.engine.store.store import Store


async def furnish(store: Store, events: Events, stack: AsyncExitStack, why: str) -> Furnished:
    """Bring up what works; `stack` brings it down again."""
    users: Callable[[str], tuple[()]] = lambda image_id: ()  # noqa: ARG005, E731 - nobody uses any
    images = Images(store, events, users)
    transfers = Transfers(store, images)
    stack.push_async_callback(transfers.close)
    routes = [
        *image_transfers.routes(transfers, images),
        *images_api.routes(images),
        *no_containers.routes(why),
    ]
    return Furnished(routes=routes, containers=tuple, clean=_nothing, rest=_no_rest)


async def _nothing() -> None:
    """Nothing of ours is in the kernel."""


async def _no_rest() -> list[Route]:
    return []
