"""Say what happened to a container, with the attributes that clients filter by.

Knows:   labels, image and name go with every event; exec ones carry their command.
Refuses: to decide when something is worth an event.
Source:  moby daemon/events.go (LogContainerEventWithAttributes).
"""

from __future__ import annotations

from dockerlab.engine.model.container import Container
from dockerlab.engine.services.events import Events

_SECOND_NS = 10**9


class ContainerEvents:
    """Events of containers, on the engine's stream."""

    def __init__(self, events: Events) -> None:
        self._events = events

    def emit(self, container: Container, action: str, **extra: str) -> None:
        """Announce `action`, for example "start" or "exec_create: sh -c true"."""
        attributes = {
            **container.labels,
            "image": container.image,
            "name": container.name,
            **extra,
        }
        self._events.emit("container", action, container.id, attributes)

    def died(self, container: Container, ran_ns: int) -> None:
        """Announce an end, with its code and how many whole seconds the run took."""
        self.emit(
            container,
            "die",
            exitCode=str(container.state.exit_code),
            execDuration=str(max(0, ran_ns) // _SECOND_NS),
        )
