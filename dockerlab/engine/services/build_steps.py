"""Run the RUN steps of builds: a container in all but its row, gone with its last process.

Knows:   Docker's default isolation for a step, its network, how its output reaches the builder.
Refuses: caches, layers and streams; `engine/build` has those.
"""

from __future__ import annotations

import asyncio
import shutil
import socket
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from dockerlab.engine.build.run import RunStep
from dockerlab.engine.linux import apparmor, capabilities
from dockerlab.engine.model.container import Container
from dockerlab.engine.model.network import Endpoint
from dockerlab.engine.runtime import defaults
from dockerlab.engine.runtime.launcher import Process
from dockerlab.engine.runtime.security import seccomp_program
from dockerlab.engine.runtime.spec import Mount, Namespaces, ProcessKind, Spec
from dockerlab.engine.runtime.translate import with_entries
from dockerlab.engine.services.directory import Directory
from dockerlab.engine.services.rooms import Rooms
from dockerlab.errors import Conflict
from dockerlab.wire.documents import ContainerConfig, EndpointSettings, HostConfig

_UNWIRED = ("host", "none")
_READ_BYTES = 1 << 16
_SIGKILL = 9


class BuildSteps:
    """Implements `build.run.StepRunner`."""

    def __init__(self, rooms: Rooms, directory: Directory) -> None:
        self._rooms, self._directory = rooms, directory

    async def run(self, step: RunStep, output: Callable[[int, bytes], None]) -> int:
        """Run a step to its end; see `StepRunner.run`."""
        owner = _owner(step)
        folder = self._rooms.store.root / "tmp" / f"step-{step.id[:16]}"
        try:
            spec = await self._spec(step, owner, folder)
            process = await self._rooms.launcher.launch(spec)
            return await self._supervised(process, owner, output)
        finally:
            await asyncio.shield(self._undo(step, folder))

    async def _supervised(
        self, process: Process, owner: Container, output: Callable[[int, bytes], None]
    ) -> int:
        with ExitStack() as stack:
            reading = [
                asyncio.ensure_future(_relay(await _tap(process, number, stack), number, output))
                for number in (1, 2)
            ]
            try:
                await process.go(await self._wired(owner, process))
                code = (await process.wait()).code
                await asyncio.gather(*reading)
            except BaseException:
                await asyncio.shield(_ended(process))
                raise
            finally:
                for task in reading:
                    task.cancel()
        return code

    async def _wired(self, owner: Container, process: Process) -> Sequence[bytes]:
        networks = self._rooms.networks
        if owner.host.network_mode == "none":
            return [networks.loopback()]
        return await networks.wire_process(owner.id, process.pid)

    async def _undo(self, step: RunStep, folder: Path) -> None:
        await self._rooms.networks.release(step.id)
        await asyncio.to_thread(self._rooms.hierarchy.group(step.id).remove)
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    async def _spec(self, step: RunStep, owner: Container, folder: Path) -> Spec:
        endpoints = [
            await self._rooms.networks.allocate(owner, name, settings)
            for name, settings in owner.networks.items()
        ]
        files = await asyncio.to_thread(self._files, owner, endpoints, folder)
        bounding = capabilities.resolve((), (), privileged=step.privileged)
        entries = {
            "PATH": f"PATH={defaults.DEFAULT_PATH}",
            "HOSTNAME": f"HOSTNAME={owner.config.hostname}",
        }
        run_dir = self._rooms.settings.run / "c" / step.id[:16]
        run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        return Spec(
            id=step.id,
            kind=ProcessKind.BUILD,
            rootfs=step.rootfs,
            cgroup=step.id,
            args=step.args,
            env=with_entries(entries, step.env),
            cwd=step.cwd,
            user=step.user,
            hostname=owner.config.hostname,
            namespaces=Namespaces(net=self._net(step.network_mode)),
            capabilities=bounding,
            seccomp=seccomp_program("", bounding, privileged=step.privileged),
            apparmor_profile=apparmor.profile_for("", privileged=step.privileged),
            mounts=(
                defaults.PROC,
                defaults.DEV,
                defaults.PTS,
                defaults.SYS,
                defaults.MQUEUE,
                defaults.shm(step.shm_size_bytes or defaults.DEFAULT_SHM_BYTES),
                *files,
                *step.mounts,
            ),
            masked_paths=() if step.privileged else defaults.MASKED_PATHS,
            readonly_paths=() if step.privileged else defaults.READONLY_PATHS,
            privileged=step.privileged,
            resources=step.resources,
            rlimits=step.rlimits,
            run_dir=str(run_dir),
        )

    def _files(self, owner: Container, endpoints: Sequence[Endpoint], folder: Path) -> list[Mount]:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        mounts = []
        for name, text in self._rooms.networks.files(owner, endpoints).items():
            (folder / name).write_text(text)
            mounts.append(
                Mount(
                    kind="bind",
                    source=str(folder / name),
                    target=f"/etc/{name}",
                    options=("rbind", "rprivate"),
                )
            )
        return mounts

    def _net(self, mode: str) -> str:
        if mode in _UNWIRED:
            return mode
        if mode.startswith("container:"):
            partner = self._directory.find(mode.removeprefix("container:"))
            if not partner.state.pid:
                raise Conflict(
                    f"cannot join network of a non running container: {partner.id}",
                    hint=f"docker start {partner.name}",
                )
            return f"/proc/{partner.state.pid}/ns/net"
        return "private"


def _owner(step: RunStep) -> Container:
    """The container a step would be, for those who only know containers."""
    mode = "bridge" if step.network_mode in {"", "default"} else step.network_mode
    joins = mode not in _UNWIRED and not mode.startswith("container:")
    return Container(
        id=step.id,
        name=f"build-{step.id[:12]}",
        created_ns=0,
        image="",
        image_id="",
        path=step.args[0],
        args=step.args[1:],
        config=ContainerConfig(hostname=step.hostname or step.id[:12]),
        host=HostConfig(network_mode=mode, extra_hosts=step.extra_hosts),
        networks={mode: EndpointSettings()} if joins else {},
    )


async def _tap(process: Process, stream: int, stack: ExitStack) -> socket.socket:
    """Attach to one stream alone: what comes then needs no frames."""
    ours, theirs = socket.socketpair()
    stack.callback(ours.close)
    with theirs:
        await process.attach(
            theirs, stdin=False, stdout=stream == 1, stderr=stream == 2, framed=False
        )
    ours.setblocking(False)
    return ours


async def _relay(sock: socket.socket, stream: int, output: Callable[[int, bytes], None]) -> None:
    loop = asyncio.get_running_loop()
    while data := await loop.sock_recv(sock, _READ_BYTES):
        output(stream, data)


async def _ended(process: Process) -> None:
    if process.running:
        await process.signal(_SIGKILL)
        await process.wait()
    elif process.ended is None:
        await process.abort()
