"""Put the nouns together: store, services, routes. Everything heavy is imported through here.

Knows:   which service needs which, and in which order they come up.
Refuses: decisions; each service makes its own.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from importlib import import_module
from types import ModuleType

from dockerlab.engine.api import attach as attach_api
from dockerlab.engine.api import containers as containers_api
from dockerlab.engine.api import execs as execs_api
from dockerlab.engine.api import images as images_api
from dockerlab.engine.api import networks as networks_api
from dockerlab.engine.api import streams as streams_api
from dockerlab.engine.api import volumes as volumes_api
from dockerlab.engine.api.routes import Route
from dockerlab.engine.config import Settings
from dockerlab.engine.daemon.furnished import Furnished
from dockerlab.engine.linux import cgroups
from dockerlab.engine.model.container import Container
from dockerlab.engine.runtime.launcher import Launcher
from dockerlab.engine.services.adoption import Adoption
from dockerlab.engine.services.attachments import Attachments
from dockerlab.engine.services.connections import REPLAY, Connections
from dockerlab.engine.services.containers import Containers
from dockerlab.engine.services.events import Events
from dockerlab.engine.services.images import Images
from dockerlab.engine.services.networks import Networks
from dockerlab.engine.services.rooms import Rooms
from dockerlab.engine.services.tasks import Tasks
from dockerlab.engine.services.volumes import Volumes
from dockerlab.engine.store.records import Table
from dockerlab.engine.store.store import Store

_ENTRY_POINTS = {
    "ports": "dockerlab.engine.net.port_helper",
    REPLAY: "dockerlab.engine.net.replay_helper",
}


async def furnish(
    settings: Settings, store: Store, events: Events, stack: AsyncExitStack
) -> Furnished:
    """Bring everything up; `stack` brings it down again, in reverse order."""
    rooms = await _rooms(settings, store, events, stack)
    containers = Containers(rooms)
    images = Images(store, events, containers.image_users)
    adoption = Adoption(rooms, containers)
    await adoption.take_over()
    rooms.tasks.spawn(adoption.start_by_policy(), name="start by restart policy")

    async def clean() -> None:
        await containers.end_all()
        await rooms.networks.clean()

    async def rest() -> list[Route]:
        rooms.tasks.spawn(rooms.networks.heal(), name="heal networks")
        late_nouns = await asyncio.to_thread(_late_nouns)
        routes: list[Route] = late_nouns.furnish(rooms, containers, images, stack)
        return routes

    runs, looks = containers.supervisor, containers.reading
    attachments = Attachments(rooms, containers.directory)
    return Furnished(
        routes=[
            *containers_api.routes(containers, runs, looks),
            *streams_api.routes(attachments, looks),
            *attach_api.routes(attachments, looks),
            *execs_api.routes(containers.execs),
            *images_api.routes(images),
            *networks_api.routes(rooms.networks, Connections(rooms, containers.directory)),
            *volumes_api.routes(rooms.volumes),
        ],
        containers=containers.directory.all,
        clean=clean,
        rest=rest,
    )


def _late_nouns() -> ModuleType:
    """Import what nobody needs in the first moment: 0.3 s, for which no start shall wait."""
    # The first container needs this one; networks import pyroute2 meanwhile, in their thread.
    import_module("dockerlab.engine.runtime.plan")
    return import_module("dockerlab.engine.daemon.late_nouns")


async def _rooms(settings: Settings, store: Store, events: Events, stack: AsyncExitStack) -> Rooms:
    hierarchy = cgroups.detect(settings.run / "cgroups")
    launcher = Launcher(hierarchy, entry_points=_ENTRY_POINTS)
    # It gets ready while everything else does.
    launching = asyncio.create_task(launcher.start())
    stack.push_async_callback(launcher.close)
    networks = Networks(
        store.db,
        events,
        bridge=settings.bridge,
        subnet=settings.bridge_subnet,
        table=settings.table,
    )
    await networks.open()
    stack.push_async_callback(networks.close)
    table = Table(store.db, "containers", Container)
    tasks = await stack.enter_async_context(Tasks())
    await launching
    return Rooms(
        settings=settings,
        store=store,
        containers=table,
        launcher=launcher,
        hierarchy=hierarchy,
        networks=networks,
        volumes=Volumes(store, events, table.values),
        events=events,
        tasks=tasks,
    )
