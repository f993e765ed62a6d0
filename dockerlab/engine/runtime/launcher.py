"""Start processes: plan them, have the zygote fork their shims, and find them again.

Knows:   the zygote's life (it is restarted when it dies), cgroup plans, adoption.
Refuses: order between network, state and events (`services/`); the steps themselves (`plan.py`).
Source:  docs/architecture.md, "The processes".
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dockerlab.engine.linux.cgroup_values import CgroupPlan, Hierarchy
from dockerlab.engine.model.limits import Resources
from dockerlab.engine.runtime import adopt, packets
from dockerlab.engine.runtime.process import (
    Attached,
    Exit,
    Process,
    ShimLost,
    StartFailed,
    exit_code_of,
    read_exit,
)
from dockerlab.engine.runtime.spec import ProcessKind, Spec
from dockerlab.engine.runtime.zygote_host import ZygoteHost
from dockerlab.errors import Failed

if TYPE_CHECKING:
    from dockerlab.engine.runtime.steps import Plan

__all__ = [
    "Attached", "Exit", "Launcher", "PortHelper", "Process", "StartFailed", "exit_code_of",
    "read_exit",
]  # fmt: skip


@dataclass(slots=True)
class PortHelper:
    """A process that serves published ports until its lifeline's other end is closed.

    Attributes:
        answer: what it said about its listeners.
        lifeline: the end that keeps it alive, or -1 when a shim holds that.
    """

    answer: dict[str, Any]
    lifeline: int = -1

    def close(self) -> None:
        """Let the helper go, if it is ours to keep."""
        if self.lifeline >= 0:
            os.close(self.lifeline)
            self.lifeline = -1


class Launcher:
    """Owns the zygote; knows the processes it launched or adopted."""

    def __init__(
        self,
        hierarchy: Hierarchy,
        *,
        entry_points: Mapping[str, str] | None = None,
        docker_init: str | None = None,
    ) -> None:
        self._hierarchy = hierarchy
        self._zygote = ZygoteHost(entry_points or {})
        self._docker_init = find_docker_init() if docker_init is None else docker_init
        self._processes: set[Process] = set()

    async def start(self) -> None:
        """Start the zygote."""
        await self._zygote.start()

    async def close(self) -> None:
        """Let go of every shim (they go on) and end the zygote."""
        for process in tuple(self._processes):
            process.disconnect()
        await self._zygote.close()

    def plan(self, spec: Spec) -> Plan:
        """Decide what `launch` would do; `Plan.describe` prints it."""
        # The steps are thirty classes, which an engine's start shall not wait for.
        from dockerlab.engine.runtime.plan import plan as make_plan  # noqa: PLC0415

        return make_plan(spec, self._cgroup_plan(spec), docker_init=self._docker_init)

    async def launch(self, spec: Spec) -> Process:
        """Fork a shim, which clones init into its namespaces. The program does not run yet.

        Raises:
            StartFailed: control group, namespaces or clone were refused; nothing is left.
        """
        encoded = json.dumps(self.plan(spec).encode()).encode()
        joined = self._pidfd_of(spec.join_pid) if spec.join_pid else -1
        memory = packets.seal("plan", encoded)
        descriptors = (memory, joined) if joined >= 0 else (memory,)
        try:
            try:
                return await self._fork_shim(spec, descriptors)
            except ShimLost:
                # The zygote died with our request in its hands; nothing was done yet.
                return await self._fork_shim(spec, descriptors)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    async def _fork_shim(self, spec: Spec, descriptors: tuple[int, ...]) -> Process:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        process = self._process(ours, spec.exit_path, spec.cgroup)
        process.kind = spec.kind
        try:
            with theirs:
                await self._zygote.fork({"be": "shim"}, (theirs.fileno(), *descriptors))
            await process.ready()
        except BaseException:
            process.disconnect()
            raise
        return process

    async def adopt(self, run_dir: str, *, cgroup: str = "", exit_path: str = "") -> Process | None:
        """Connect to the shim of an earlier engine.

        Args:
            run_dir: as it was in the Spec.
            cgroup: as in the Spec; killed when the shim is gone without an exit record.
            exit_path: as in the Spec.

        Returns:
            None when there is no shim: then `read_exit` tells how it ended, or, without a record,
            it counts as ended by 137, "supervisor lost". Nothing of it is left either way.
        """
        connection = adopt.connect(run_dir)
        if connection is None:
            adopt.clear_run_dir(run_dir)
            if cgroup and read_exit(exit_path) is None:
                await self._clear_cgroup(cgroup)
            return None
        process = self._process(connection, exit_path, cgroup)
        try:
            await process.ready()
        except Failed:
            process.disconnect()
            return None
        return process

    async def fork_ports(
        self, request: Mapping[str, Any], owner: Process | None = None, *, name: str = "ports"
    ) -> PortHelper:
        """Fork a helper of the entry point `name` and wait for its one line of answer.

        Args:
            request: what its `run(request, control, lifeline)` gets.
            owner: its shim keeps the helper alive, beyond this engine; without one we do.
            name: which of the entry points.
        """
        control, theirs = socket.socketpair()
        control.setblocking(False)
        watched, lifeline = os.pipe2(os.O_CLOEXEC)
        memory = packets.seal("request", json.dumps(dict(request)).encode())
        try:
            await self._zygote.fork({"be": name}, (theirs.fileno(), memory, watched))
            theirs.close()
            answer = await _read_line(control)
            helper = PortHelper(answer, lifeline)
            lifeline = -1
            if owner is not None:
                await owner.hold(helper.lifeline)
                helper.close()
            return helper
        finally:
            control.close()
            theirs.close()
            for descriptor in (memory, watched, lifeline):
                if descriptor >= 0:
                    os.close(descriptor)

    def _cgroup_plan(self, spec: Spec) -> CgroupPlan:
        if spec.join_pid:
            group = self._hierarchy.plan(spec.cgroup, Resources())
            return CgroupPlan(tasks=group.tasks, clone_into=group.clone_into)
        return self._hierarchy.plan(
            spec.cgroup,
            spec.resources,
            private=spec.namespaces.cgroup == "private",
            writable=spec.privileged,
        )

    def _pidfd_of(self, pid: int) -> int:
        for process in self._processes:
            if process.pid == pid and process.pidfd >= 0:
                return os.dup(process.pidfd)
        try:
            return os.pidfd_open(pid)
        except OSError as error:
            raise StartFailed(f"container process {pid} is gone: {error.strerror}", 128) from None

    def _process(self, connection: socket.socket, exit_path: str, cgroup: str) -> Process:
        async def bury(process: Process) -> None:
            if process.kind is not ProcessKind.EXEC and cgroup:
                await self._clear_cgroup(cgroup)

        process = Process(
            connection, exit_path=exit_path, bury=bury, forget=self._processes.discard
        )
        self._processes.add(process)
        return process

    async def _clear_cgroup(self, name: str) -> None:
        group = self._hierarchy.group(name)
        await asyncio.to_thread(group.kill)
        await asyncio.to_thread(group.remove)


async def _read_line(control: socket.socket) -> dict[str, Any]:
    loop = asyncio.get_running_loop()
    data = b""
    while not data.endswith(b"\n"):
        more = await loop.sock_recv(control, 65536)
        if not more:
            break
        data += more
    with suppress(ValueError):
        answer = json.loads(data)
        if isinstance(answer, dict):
            return answer
    raise Failed("the port helper ended without an answer")


def find_docker_init() -> str:
    """Find a static init program on this machine; "" when there is none to trust in any image."""
    for name in ("docker-init", "tini-static"):
        path = shutil.which(name)
        # A dynamic one would look for its libraries inside the container.
        if path and b"ld-linux" not in Path(path).read_bytes()[:4096]:
            return str(Path(path).resolve())
    return ""
