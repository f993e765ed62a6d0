"""Run more programs in a running container: exec create, start, resize, inspect.

Knows:   one record per exec, kept in memory until its container's run is over.
Refuses: HTTP; how a process joins namespaces (the shim's business).
Source:  moby daemon/exec.go; engine API 1.50, "Exec".
"""

from __future__ import annotations

import asyncio
import signal
from dataclasses import dataclass

from dockerlab.engine.linux import apparmor
from dockerlab.engine.model.container import Container
from dockerlab.engine.model.lifecycle import Status, not_running
from dockerlab.engine.runtime import translate
from dockerlab.engine.runtime.client import Client
from dockerlab.engine.runtime.launcher import Exit, Process, StartFailed
from dockerlab.engine.runtime.security import bounding_set, seccomp_program, security_options
from dockerlab.engine.runtime.spec import ProcessKind, Spec
from dockerlab.engine.services import partners
from dockerlab.engine.services.container_events import ContainerEvents
from dockerlab.engine.services.directory import Directory
from dockerlab.engine.services.names import new_id
from dockerlab.engine.services.rooms import Rooms
from dockerlab.errors import Conflict, DockerlabError, InvalidRequest, NotFound
from dockerlab.wire.documents import ExecConfig

_LOOKED_UP = ("unable to find ", "Unable to find ", "uids and gids must")
_NOT_RUN = 126
_REMEMBERED_S = 300
"""How long an exec that is over can be inspected."""


@dataclass(slots=True)
class Exec:
    """One exec: what was asked and how far it is. `exit_code` is None until it has ended."""

    id: str
    container_id: str
    config: ExecConfig
    process: Process | None = None
    started: bool = False
    running: bool = False
    exit_code: int | None = None
    pid: int = 0


class Execs:
    """All execs of this engine's containers."""

    def __init__(self, rooms: Rooms, directory: Directory) -> None:
        self._rooms, self._directory = rooms, directory
        self._events = ContainerEvents(rooms.events)
        self._execs: dict[str, Exec] = {}

    def create(self, name: str, config: ExecConfig) -> str:
        """Note an exec; nothing runs yet.

        Raises:
            Conflict: the container does not run. InvalidRequest: there is no command.
        """
        container = self._directory.find(name)
        self._check_running(container)
        if not config.cmd:
            raise InvalidRequest("No exec command specified")
        made = Exec(id=new_id(), container_id=container.id, config=config)
        self._execs[made.id] = made
        self._directory.live(container.id).execs.append(made.id)
        self._emit(made, container, "exec_create")
        return made.id

    def find(self, exec_id: str) -> Exec:
        """Get an exec.

        Raises:
            NotFound: it is unknown, or its container's run is over.
        """
        found = self._execs.get(exec_id)
        if found is None:
            raise NotFound(f"No such exec instance: {exec_id}")
        return found

    def check_startable(self, exec_id: str) -> Exec:
        """Get an exec that has not been started.

        Raises:
            Conflict: it has been.
        """
        found = self.find(exec_id)
        if found.started:
            state = "is already running" if found.running else "has already run"
            raise Conflict(f"exec command {exec_id} {state}")
        return found

    async def start(self, exec_id: str, client: Client | None) -> None:
        """Start an exec; with a client, stay until its program has ended.

        Raises:
            Conflict: it has run before, or its container no longer runs.
            InvalidRequest, Failed: the program can't be run.
        """
        found = self.check_startable(exec_id)
        container = self._directory.get(found.container_id)
        self._check_running(container)
        found.started = True
        self._emit(found, container, "exec_start")
        try:
            process = await self._launch(found, container, client)
        except DockerlabError as error:
            found.exit_code = _failed_code(error)
            self._ended(found)
            raise
        ended = self._rooms.tasks.spawn(
            self._watch(found, process), name=f"watch exec {exec_id[:12]}"
        )
        if client is not None:
            attached = await client.joined
            if attached is not None and await attached.done == "detached":
                self._events.emit(container, "exec_detach", execID=exec_id)
            else:
                await asyncio.shield(ended)

    async def kill(self, exec_id: str) -> None:
        """End an exec's program at once and wait for its end; one that has ended is no error."""
        found = self.find(exec_id)
        if found.process is not None and found.running:
            await found.process.signal(signal.SIGKILL)
            await found.process.wait()

    async def resize(self, exec_id: str, height: int, width: int) -> None:
        """Tell an exec's terminal its size.

        Raises:
            InvalidRequest: it has not been started.
        """
        found = self.find(exec_id)
        if found.process is None:
            raise InvalidRequest("exec process is not started")
        await found.process.resize(height, width)

    def forget(self, container_id: str) -> None:
        """Drop the execs of a run that is over."""
        self._directory.live(container_id).execs.clear()
        ours = [one.id for one in self._execs.values() if one.container_id == container_id]
        for exec_id in ours:
            del self._execs[exec_id]

    async def _launch(self, found: Exec, container: Container, client: Client | None) -> Process:
        folder = found.config.working_dir
        if folder and not folder.startswith("/"):
            raise StartFailed(
                "OCI runtime exec failed: exec failed: Cwd must be an absolute path: unknown",
                exit_code=_NOT_RUN,
            )
        process = await self._rooms.launcher.launch(self._spec(found, container))
        try:
            if client is not None:
                await client.join(process)
            await process.go()
        except BaseException:
            await process.abort()
            raise
        found.process, found.running, found.pid = process, True, process.pid
        return process

    async def _watch(self, found: Exec, process: Process) -> Exit:
        last = await process.wait()
        found.running, found.exit_code = False, last.code
        self._ended(found)
        container = self._rooms.containers.get(found.container_id)
        if container is not None:
            self._events.emit(container, "exec_die", execID=found.id, exitCode=str(last.code))
        return last

    def _ended(self, found: Exec) -> None:
        """Take it off its container's list; whoever knows its id can still ask for a while."""
        if found.container_id not in self._rooms.containers:
            return
        listed = self._directory.live(found.container_id).execs
        if found.id in listed:
            listed.remove(found.id)
        asyncio.get_running_loop().call_later(_REMEMBERED_S, self._execs.pop, found.id, None)

    def _spec(self, found: Exec, container: Container) -> Spec:
        config, host = found.config, container.host
        tty = config.tty
        privileged = host.privileged or config.privileged
        limited = "devices" in self._rooms.hierarchy.supports
        bounding = bounding_set(host, devices_limited=limited, privileged=privileged)
        options = security_options(host.security_opt)
        inherited = translate.environment(container, tty=tty, links=self._links(container))
        entries = {entry.partition("=")[0]: entry for entry in inherited}
        run_dir = self._rooms.settings.run / "c" / found.id[:16]
        return Spec(
            id=found.id,
            kind=ProcessKind.EXEC,
            cgroup=container.id,
            args=tuple(config.cmd),
            env=translate.with_entries(entries, config.env),
            cwd=config.working_dir or container.config.working_dir or "/",
            user=config.user or container.config.user,
            groups_add=tuple(host.group_add),
            tty=tty,
            console_size=translate.console_size(config.console_size),
            stdin_open=config.attach_stdin,
            stdin_once=True,
            capabilities=bounding,
            no_new_privileges=options.no_new_privileges,
            seccomp=seccomp_program(options.seccomp, bounding, privileged=host.privileged),
            apparmor_profile=apparmor.profile_for(options.apparmor, privileged=privileged),
            oom_score_adj=host.oom_score_adj,
            join_pid=container.state.pid,
            run_dir=str(run_dir),
        )

    def _links(self, container: Container) -> tuple[str, ...]:
        def address(partner: Container) -> str:
            return partners.bridge_address(self._rooms.networks.places_of(partner))

        try:
            links = partners.linked(container, self._directory.find, address)
        except DockerlabError:
            return ()  # a partner that has ended meanwhile
        return partners.variables(container, links)

    def _emit(self, found: Exec, container: Container, action: str) -> None:
        # The program, a blank, then its arguments: without any the blank stays, as Docker has it.
        program, *arguments = found.config.cmd
        text = f"{action}: {program} {' '.join(arguments)}"
        self._events.emit(container, text, execID=found.id)

    @staticmethod
    def _check_running(container: Container) -> None:
        match container.state.status:
            case Status.PAUSED:
                raise Conflict(
                    f"Container {container.id} is paused, unpause the container before exec",
                    hint=f"docker unpause {container.name}",
                )
            case Status.RESTARTING:
                raise Conflict(
                    f"Container {container.id} is restarting, wait until the container is running"
                )
            case Status.RUNNING:
                return
            case _:
                raise not_running(container.id)


def _failed_code(error: DockerlabError) -> int:
    """The exit code of what could not be started; users are looked up before Docker's runtime."""
    if isinstance(error, StartFailed) and not error.message.startswith(_LOOKED_UP):
        return error.exit_code
    return _NOT_RUN
