"""The rooms below, as the container services get them from `daemon.py`.

Knows:   one name for each thing a container needs.
Refuses: to make them.
"""

from __future__ import annotations

from dataclasses import dataclass

from dockerlab.engine.config import Settings
from dockerlab.engine.linux.cgroups import Hierarchy
from dockerlab.engine.model.container import Container
from dockerlab.engine.runtime.launcher import Launcher
from dockerlab.engine.services.events import Events
from dockerlab.engine.services.networks import Networks
from dockerlab.engine.services.tasks import Tasks
from dockerlab.engine.services.volumes import Volumes
from dockerlab.engine.store.records import Table
from dockerlab.engine.store.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Rooms:
    """Everything below the container services."""

    settings: Settings
    store: Store
    containers: Table[Container]
    launcher: Launcher
    hierarchy: Hierarchy
    networks: Networks
    volumes: Volumes
    events: Events
    tasks: Tasks
