"""The one step that needs a container: RUN.

Knows:   what a RUN asks for: command, environment, user, directory, network, limits.
Refuses: to start anything; `services/build_steps.py` implements `StepRunner`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from dockerlab.engine.model.limits import Resources
from dockerlab.engine.model.mount import Mount
from dockerlab.engine.model.rootfs import Rootfs
from dockerlab.engine.runtime.spec import Rlimit


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStep:
    """A command to run in a snapshot, to its end.

    Attributes:
        id: 64 hex digits; the first twelve are shown as the container's id.
        args: argv; args[0] is looked up in PATH inside the root.
        env: "K=V", build arguments included.
        cwd: absolute; made where it is missing.
        network_mode: "default", "bridge", "none", "host", "container:ID" or a network's name.
        extra_hosts: "name:address" for /etc/hosts.
        shm_size_bytes: of /dev/shm; 0 for the default.
        privileged: RUN --security=insecure.
    """

    id: str
    rootfs: Rootfs
    args: tuple[str, ...]
    env: tuple[str, ...] = ()
    user: str = ""
    cwd: str = "/"
    hostname: str = ""
    network_mode: str = "default"
    mounts: tuple[Mount, ...] = ()
    resources: Resources = field(default_factory=Resources)
    rlimits: tuple[Rlimit, ...] = ()
    extra_hosts: tuple[str, ...] = ()
    shm_size_bytes: int = 0
    privileged: bool = False


class StepRunner(Protocol):
    """Runs a step in a container that leaves nothing but its changes to the root."""

    async def run(self, step: RunStep, output: Callable[[int, bytes], None]) -> int:
        """Run to the end.

        Args:
            step: what to run.
            output: told of every piece the command writes, with the stream, 1 or 2.

        Returns:
            The exit code.

        Raises:
            DockerlabError: it could not be started; in Docker's words.
            asyncio.CancelledError: every process of the step is gone by then.
        """
        ...
