"""Put the nouns together: store, services, routes. Everything heavy is imported through here.

Knows:   which service needs which, and in which order they come up.
Refuses: decisions; each service makes its own.
"""

from __future__ import annotations

from contextlib import AsyncExitStack

from dockerlab.engine.api import builds as builds_api
from dockerlab.engine.api import containers as containers_api
from dockerlab.engine.api import execs as execs_api
from dockerlab.engine.api import image_transfers
from dockerlab.engine.api import images as images_api
from dockerlab.engine.api import networks as networks_api
from dockerlab.engine.api import streams as streams_api
from dockerlab.engine.api import usage as usage_api
from dockerlab.engine.api import volumes as volumes_api
from dockerlab.engine.build.builder import Rooms as BuildRooms
from dockerlab.engine.build.cache_keys import BuildCache
from dockerlab.engine.config import Settings
from dockerlab.engine.daemon.furnished import Furnished
from dockerlab.engine.linux import cgroups
from dockerlab.engine.model.container import Container
from dockerlab.engine.runtime.launcher import Launcher
from dockerlab.engine.services.adoption import Adoption
from dockerlab.engine.services.build_steps import BuildSteps
from dockerlab.engine.services.builds import Builds
from dockerlab.engine.services.connections import REPLAY, Connections
from dockerlab.engine.services.containers import Containers
from dockerlab.engine.services.events import Events
from dockerlab.engine.services.images import Images
from dockerlab.engine.services.networks import Networks
from dockerlab.engine.services.rooms import Rooms
from dockerlab.engine.services.tasks import Tasks
from dockerlab.engine.services.transfers import Transfers
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
    transfers = Transfers(store, images)
    stack.push_async_callback(transfers.close)
    builds = Builds(
        BuildRooms(
            store=store,
            cache=BuildCache(store.db),
            runner=BuildSteps(rooms, containers.directory),
            images=transfers,
        ),
        events,
        containers.image_users,
    )
    adoption = Adoption(rooms, containers)
    await adoption.take_over()
    rooms.tasks.spawn(adoption.start_by_policy(), name="start by restart policy")

    async def clean() -> None:
        await containers.end_all()
        await rooms.networks.clean()

    runs, looks = containers.supervisor, containers.reading
    return Furnished(
        routes=[
            *containers_api.routes(containers, runs, looks),
            *streams_api.routes(runs, looks),
            *execs_api.routes(containers.execs),
            *image_transfers.routes(transfers, images),
            *images_api.routes(images),
            *builds_api.routes(builds),
            *networks_api.routes(rooms.networks, Connections(rooms, containers.directory)),
            *volumes_api.routes(rooms.volumes),
            *usage_api.routes(images, looks, rooms.volumes, builds),
        ],
        containers=containers.directory.all,
        clean=clean,
    )


async def _rooms(settings: Settings, store: Store, events: Events, stack: AsyncExitStack) -> Rooms:
    hierarchy = cgroups.detect(settings.run / "cgroups")
    launcher = Launcher(hierarchy, entry_points=_ENTRY_POINTS)
    await launcher.start()
    stack.push_async_callback(launcher.close)
    networks = Networks(
        store.db,
        events,
        bridge=settings.bridge,
        subnet=settings.bridge_subnet,
        table=settings.table,
    )
    await networks.start()
    stack.push_async_callback(networks.close)
    table = Table(store.db, "containers", Container)
    tasks = await stack.enter_async_context(Tasks())
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
