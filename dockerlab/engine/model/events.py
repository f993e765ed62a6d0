"""What happened in the engine, as one value.

Knows:   kind, action, actor and time of an event.
Refuses: who listens; `engine/services/events.py` spreads them, `engine/api/system.py` draws them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event.

    Attributes:
        kind: "container", "image", "network", "volume", "builder", "daemon".
        action: "start", "die", "exec_create: sh -c true", ...
        attributes: what clients filter by: all labels, name, image, and the action's own.
    """

    kind: str
    action: str
    actor_id: str
    time_ns: int
    attributes: Mapping[str, str] = field(default_factory=dict)
