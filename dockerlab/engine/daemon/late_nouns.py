"""Put together what an engine can do without for its first half second: registries and builds.

Knows:   that these import the most: requests, the Dockerfile's language, the builder.
Refuses: everything a container needs to start; `nouns.py` has that.
"""

from __future__ import annotations

from contextlib import AsyncExitStack

from dockerlab.engine.api import archives as archives_api
from dockerlab.engine.api import builds as builds_api
from dockerlab.engine.api import commits as commits_api
from dockerlab.engine.api import image_transfers
from dockerlab.engine.api import usage as usage_api
from dockerlab.engine.api.routes import Route
from dockerlab.engine.build.builder import Rooms as BuildRooms
from dockerlab.engine.build.cache_keys import BuildCache
from dockerlab.engine.services.build_steps import BuildSteps
from dockerlab.engine.services.builds import Builds
from dockerlab.engine.services.commits import Commits
from dockerlab.engine.services.containers import Containers
from dockerlab.engine.services.copies import Copies
from dockerlab.engine.services.images import Images
from dockerlab.engine.services.rooms import Rooms
from dockerlab.engine.services.transfers import Transfers


def furnish(
    rooms: Rooms, containers: Containers, images: Images, stack: AsyncExitStack
) -> list[Route]:
    """Bring them up; `stack` brings them down again."""
    transfers = Transfers(rooms.store, images)
    stack.push_async_callback(transfers.close)
    builds = Builds(
        BuildRooms(
            store=rooms.store,
            cache=BuildCache(rooms.store.db),
            runner=BuildSteps(rooms, containers.directory),
            images=transfers,
        ),
        rooms.events,
        containers.image_users,
    )
    commits = Commits(rooms, containers.directory, containers.supervisor, images)
    return [
        *archives_api.routes(Copies(rooms, containers.directory)),
        *commits_api.routes(commits),
        *image_transfers.routes(transfers, images),
        *builds_api.routes(builds),
        *usage_api.routes(images, containers.reading, rooms.volumes, builds),
    ]
