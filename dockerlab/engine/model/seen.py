"""What is known of a container beside its row, at the moment somebody looks.

Knows:   where it is reachable, how it fares, where its files lie.
Refuses: to be kept; it is asked for anew each time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dockerlab.wire.documents import EndpointSettings, PortBinding


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """The surroundings of one container.

    Attributes:
        endpoints: network name -> its place there.
        ports: "80/tcp" -> the host addresses it is published at; None when only exposed.
        directory: the container's folder in the store.
        exec_ids: of the execs of the present run.
        health: the document of `State.Health`, None without a health check.
        graph: the directories of its overlay, by Docker's names.
        links: of the container, as inspect spells them.
        image_shown: how a list shows its image; "" as the user spelled it.
    """

    endpoints: Mapping[str, EndpointSettings] = field(default_factory=dict)
    ports: Mapping[str, Sequence[PortBinding] | None] = field(default_factory=dict)
    directory: str = ""
    exec_ids: Sequence[str] = ()
    health: Mapping[str, Any] | None = None
    graph: Mapping[str, str] = field(default_factory=dict)
    links: Sequence[str] = ()
    image_shown: str = ""
