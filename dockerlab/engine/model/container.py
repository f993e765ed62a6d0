"""A container as the engine keeps it: what was asked, what was decided, what happened to it.

Knows:   the row of one container; frozen, so that a reader never sees half a change.
Refuses: the kernel and the API's answer documents; `api/container_documents.py` draws those.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dockerlab.engine.model.lifecycle import Status
from dockerlab.engine.model.volume import MountPoint
from dockerlab.wire.documents import ContainerConfig, EndpointSettings, HostConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What happened to a container so far; times in nanoseconds since the epoch, 0 = never.

    Attributes:
        pid: of the container's init on the host, 0 when it does not run.
        exit_code: of the last run; 128 + n when signal n ended it.
        error: why the last start failed, in Docker's words.
        stopped_by_user: a stop or kill was asked for; restart policies then stand back.
        restart_delay_ms: how long the restart policy waited last; grows with each restart.
        with_volumes: the removal under way takes anonymous volumes along.
        health: "starting", "healthy", "unhealthy" or "" without a health check.
    """

    status: Status = Status.CREATED
    pid: int = 0
    exit_code: int = 0
    error: str = ""
    oom_killed: bool = False
    started_ns: int = 0
    finished_ns: int = 0
    stopped_by_user: bool = False
    restart_count: int = 0
    restart_delay_ms: int = 0
    with_volumes: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """One container: its row in `state.db`.

    Attributes:
        image: the user's spelling; image_id: the id it meant at creation.
        path, args: the command as resolved from entrypoint and cmd.
        networks: what was asked of each network, by network name.
        boot_id: of the machine's boot in which it was last started; tells a reboot from a restart.
    """

    id: str
    name: str
    created_ns: int
    image: str
    image_id: str
    path: str
    args: tuple[str, ...]
    config: ContainerConfig
    host: HostConfig
    networks: Mapping[str, EndpointSettings] = field(default_factory=dict)
    mounts: tuple[MountPoint, ...] = ()
    state: State = State()
    boot_id: str = ""
    platform: str = "linux"

    @property
    def short_id(self) -> str:
        """The first twelve digits, as people see ids."""
        return self.id[:12]

    @property
    def labels(self) -> Mapping[str, str]:
        """The labels of image and request together."""
        return self.config.labels
