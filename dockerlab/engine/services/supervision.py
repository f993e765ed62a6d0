"""Run containers: start, stop, kill, pause, and notice every end.

Knows:   the order of things around a run, and that the watcher alone writes an end into the row.
Refuses: HTTP; the kernel (the launcher's and the networks' business); creation and removal.
Source:  moby daemon/{start,stop,kill,monitor}.go.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

from dockerlab.engine.linux.birth import boot_id
from dockerlab.engine.linux.signals import signal_number
from dockerlab.engine.model.container import Container, State
from dockerlab.engine.model.lifecycle import Move, Status, after, not_running
from dockerlab.engine.runtime.launcher import Exit, Process, StartFailed
from dockerlab.engine.services import restarts
from dockerlab.engine.services.container_events import ContainerEvents
from dockerlab.engine.services.directory import Directory
from dockerlab.engine.services.health import HealthChecks
from dockerlab.engine.services.live import Live
from dockerlab.engine.services.preparation import Preparation
from dockerlab.engine.services.rooms import Rooms
from dockerlab.errors import AlreadyDone, Conflict, DockerlabError, InvalidRequest

_log = logging.getLogger(__name__)
DEFAULT_STOP_TIMEOUT_S = 10
# Docker answers these two with 400: the request names a program that can't be run.
_HINTS = {
    126: "The file is there but can't be executed: check its mode, and that it is no folder.",
    127: "There is no such program in the image: look for it with docker run IMAGE ls /bin",
}
_USERS_FAULT = frozenset(_HINTS)


class Supervisor:
    """Everything that happens to a container between its creation and its removal."""

    def __init__(
        self,
        rooms: Rooms,
        directory: Directory,
        health: HealthChecks,
        remove: Callable[[str], Coroutine[Any, Any, None]],
    ) -> None:
        self._rooms, self._directory = rooms, directory
        self._health, self._remove = health, remove
        self._preparation = Preparation(rooms, directory)
        self._events = ContainerEvents(rooms.events)
        self._boot_id = boot_id()

    async def start(self, name: str) -> None:
        """Start a container by hand; its restart policy counts from zero again.

        Raises:
            AlreadyDone: it runs. Conflict: it can't start now.
            InvalidRequest, Failed: it was tried; the text decides docker's exit code.
        """
        container = self._directory.find(name)
        live = self._directory.live(container.id)
        try:
            async with live.lock:
                self._cancel_restart(live)
                await self._run(container.id, live, by_policy=False)
        except DockerlabError:
            if live.removal is not None:
                # Docker answers last; who waits for the removal must not be told too late.
                await asyncio.wait({live.removal})
            raise

    async def stop(
        self, name: str, timeout_s: int | None, signal: str, *, for_restart: bool = False
    ) -> None:
        """Ask a container to end, and end it when it does not in time.

        Args:
            name: of the container.
            timeout_s: patience in seconds; -1 for ever, None for the container's own.
            signal: what to ask with; "" for the container's own.
            for_restart: the end is not the user's wish: `--rm` does not remove, policies stay.

        Raises:
            AlreadyDone: it does not run.
        """
        container = self._directory.find(name)
        live = self._directory.live(container.id)
        async with live.lock:
            await self._stop(container.id, live, timeout_s, signal, for_restart=for_restart)

    async def restart(self, name: str, timeout_s: int | None, signal: str) -> None:
        """Stop a container if it runs, then start it."""
        container = self._directory.find(name)
        live = self._directory.live(container.id)
        async with live.lock:
            try:
                await self._stop(container.id, live, timeout_s, signal, for_restart=True)
            except AlreadyDone:
                self._cancel_restart(live)
            await self._run(container.id, live, by_policy=False)
            self._events.emit(self._directory.get(container.id), "restart")

    async def kill(self, name: str, signal: str) -> None:
        """Send a signal to a container's init; SIGKILL waits for the end.

        Raises:
            Conflict: it does not run. InvalidRequest: there is no such signal.
        """
        container = self._directory.find(name)
        number = signal_number(signal or "SIGKILL")
        live = self._directory.live(container.id)
        process = live.process
        if process is None:
            refusal = not_running(container.id)
            raise Conflict(f"cannot kill container: {name}: {refusal}", hint=refusal.hint)
        ends = number == signal_number("SIGKILL")
        if ends or number == self._stop_signal(container):
            await self._mark_stopped(container.id)
        await self._signal(container.id, process, number, ends=ends)
        if ends:
            await live.ended.wait()

    async def pause(self, name: str) -> None:
        """Freeze every process of a container."""
        container = self._directory.find(name)
        async with self._directory.live(container.id).lock:
            await self._freeze(container.id, Move.PAUSE)

    async def unpause(self, name: str) -> None:
        """Let a frozen container go on."""
        container = self._directory.find(name)
        async with self._directory.live(container.id).lock:
            await self._freeze(container.id, Move.UNPAUSE)

    async def end(self, container_id: str) -> None:
        """End whatever run there is, for good: the container is about to be removed."""
        live = self._directory.live(container_id)
        live.keep_after_exit = True
        try:
            # It may end by itself, and be None, between any two of these steps.
            process = live.process
            if process is not None:
                await self._mark_stopped(container_id)
                await self._signal(container_id, process, signal_number("KILL"), ends=True)
                await live.ended.wait()
            container = self._directory.get(container_id)
            if container.state.status is Status.RESTARTING:
                self._cancel_restart(live)
                await self._write(container, status=Status.EXITED, stopped_by_user=True)
        finally:
            live.keep_after_exit = False

    def waiting(self, name: str, condition: str) -> asyncio.Future[int]:
        """Get a future of a container's exit code.

        Args:
            name: of the container.
            condition: "not-running" (the default), "next-exit" or "removed".

        Raises:
            InvalidRequest: another condition. NotFound: no such container.
        """
        container = self._directory.find(name)
        waiters = self._directory.live(container.id).waiters
        match condition:
            case "" | "not-running":
                if container.state.status.running:
                    return waiters.next_exit()
                present: asyncio.Future[int] = asyncio.get_running_loop().create_future()
                present.set_result(container.state.exit_code)
                return present
            case "next-exit":
                return waiters.next_exit()
            case "removed":
                return waiters.removal()
            case _:
                raise InvalidRequest(
                    f'invalid condition: "{condition}"', hint="not-running, next-exit or removed."
                )

    async def take_over(
        self, container_id: str, process: Process | None, last: Exit | None
    ) -> None:
        """Go on with a container of an earlier engine: watch it, or write its end into the row."""
        live = self._directory.live(container_id)
        container = self._directory.get(container_id)
        state = container.state
        known = state.status in {Status.RUNNING, Status.PAUSED}
        if process is not None:
            if not known:
                container = self._started(container, process.pid, process.started_ns)
            await self._write(container, pid=process.pid, error="")
            self._watched(container_id, live, process)
        elif known:
            await self._ended(container_id, live, last or self._unrecorded(container))
        elif last is not None and last.finished_ns != state.finished_ns:
            # It started and ended, and its engine could write down neither.
            await self._write(self._started(container, 0, last.started_ns))
            await self._ended(container_id, live, last)

    def _unrecorded(self, container: Container) -> Exit:
        """An end that no shim wrote down: the shim was killed, or the machine went down."""
        same_boot = container.boot_id == self._boot_id
        code, why = (137, "supervisor lost") if same_boot else (255, "")
        return Exit(code=code, finished_ns=time.time_ns(), error=why)

    def _started(self, container: Container, pid: int, started_ns: int) -> Container:
        """The row of a run that begins by hand."""
        state = State(
            status=Status.RUNNING,
            pid=pid,
            started_ns=started_ns or time.time_ns(),
            finished_ns=container.state.finished_ns,
        )
        return replace(container, state=state, boot_id=self._boot_id)

    async def start_by_policy(self, container_id: str) -> None:
        """Start a container because its restart policy says so."""
        live = self._directory.live(container_id)
        async with live.lock:
            await self._run(container_id, live, by_policy=True)

    async def _run(self, container_id: str, live: Live, *, by_policy: bool) -> None:
        container = self._directory.get(container_id)
        after(container.state.status, Move.START, name=container.name, container_id=container.id)
        try:
            process = await self._launch(container, live)
        except StartFailed as error:
            await self._start_failed(container, live, error)
            if error.exit_code in _USERS_FAULT:
                raise InvalidRequest(_told(error), hint=_HINTS[error.exit_code]) from error
            raise
        except DockerlabError as error:
            await self._start_failed(container, live, error)
            raise
        started = self._started(self._directory.get(container_id), process.pid, 0)
        if by_policy:
            count, delay_ms = container.state.restart_count + 1, container.state.restart_delay_ms
            started = await self._write(started, restart_count=count, restart_delay_ms=delay_ms)
        else:
            await self._write(started)
        self._rooms.volumes.announce(started, "mount")
        self._events.emit(started, "start")
        self._watched(container_id, live, process)
        # Who came while it was starting.
        await live.join(process)

    async def _launch(self, container: Container, live: Live) -> Process:
        spec = await self._preparation.spec(container)
        process = await self._rooms.launcher.launch(spec)
        try:
            await live.join(process)
            await process.go(await self._preparation.wired(container, process))
        except BaseException:
            await process.abort()
            raise
        return process

    async def _start_failed(self, container: Container, live: Live, error: DockerlabError) -> None:
        await self._preparation.undone(container)
        code = error.exit_code if isinstance(error, StartFailed) else 128
        status = container.state.status
        resting = Status.CREATED if container.state.started_ns == 0 else Status.EXITED
        await self._write(
            container,
            status=resting if status is Status.RESTARTING else status,
            exit_code=code,
            error=error.message,
        )
        live.dismiss()
        live.waiters.announce_exit(code)
        if container.host.auto_remove:
            live.removal = self._rooms.tasks.spawn(
                self._remove(container.id), name=f"remove {container.id[:12]}"
            )

    def _watched(self, container_id: str, live: Live, process: Process) -> None:
        live.process = process
        live.ended.clear()
        if self._directory.get(container_id).state.status is Status.RUNNING:
            self._health.begin(self._directory.get(container_id))
        self._rooms.tasks.spawn(
            self._watch(container_id, live, process), name=f"watch {container_id[:12]}"
        )

    async def _watch(self, container_id: str, live: Live, process: Process) -> None:
        await self._ended(container_id, live, await process.wait())

    async def _ended(self, container_id: str, live: Live, last: Exit) -> None:
        """Write an end into the row and tell everybody, in Docker's order."""
        self._health.end(container_id)
        try:
            await self._preparation.undone(self._directory.get(container_id))
        except DockerlabError as error:
            _log.warning("%s ended, and something of it stays: %s", container_id[:12], error)
        container = self._directory.get(container_id)
        # The shim knows the moment; a short run may be over before we have looked at the clock.
        started_ns = last.started_ns or container.state.started_ns
        ran_ns = last.finished_ns - started_ns
        again = restarts.wants_restart(container, last.code)
        delay_ms = restarts.next_delay_ms(container.state.restart_delay_ms, ran_ns) if again else 0
        container = await self._write(
            container,
            status=Status.RESTARTING if again else Status.EXITED,
            pid=0,
            exit_code=last.code,
            error=last.error,
            oom_killed=last.oom,
            started_ns=started_ns,
            finished_ns=last.finished_ns,
            restart_delay_ms=delay_ms,
        )
        live.process = None
        self._rooms.volumes.announce(container, "unmount")
        if last.oom:
            self._events.emit(container, "oom")
        self._events.died(container, ran_ns)
        live.ended.set()
        live.waiters.announce_exit(last.code)
        if again:
            live.restarting = self._rooms.tasks.spawn(
                self._restart_later(container_id, live, delay_ms),
                name=f"restart {container_id[:12]}",
            )
        elif container.host.auto_remove and not live.keep_after_exit:
            await self._remove(container_id)

    async def _restart_later(self, container_id: str, live: Live, delay_ms: int) -> None:
        await asyncio.sleep(delay_ms / 1000)
        async with live.lock:
            live.restarting = None
            await self._run(container_id, live, by_policy=True)

    def _cancel_restart(self, live: Live) -> None:
        if live.restarting is not None:
            live.restarting.cancel()
            live.restarting = None

    async def _stop(
        self,
        container_id: str,
        live: Live,
        timeout_s: int | None,
        signal: str,
        *,
        for_restart: bool,
    ) -> None:
        container = self._directory.get(container_id)
        process = live.process
        if container.state.status is Status.RESTARTING:
            self._cancel_restart(live)
            await self._write(container, status=Status.EXITED, stopped_by_user=True)
            return
        if process is None:
            raise AlreadyDone(f"container {container.name} is not running")
        number = signal_number(signal) if signal else self._stop_signal(container)
        patience_s = self._patience(container, timeout_s)
        live.keep_after_exit = for_restart
        await self._mark_stopped(container_id)
        try:
            await self._signal(container_id, process, number, ends=True)
            await self._await_end(container_id, live, process, patience_s)
        finally:
            live.keep_after_exit = False
        self._events.emit(self._directory.get(container_id), "stop")

    async def _await_end(
        self, container_id: str, live: Live, process: Process, patience_s: float | None
    ) -> None:
        try:
            await asyncio.wait_for(live.ended.wait(), patience_s)
        except TimeoutError:
            await self._signal(container_id, process, signal_number("SIGKILL"), ends=True)
            await live.ended.wait()

    async def _signal(
        self, container_id: str, process: Process, number: int, *, ends: bool
    ) -> None:
        container = self._directory.get(container_id)
        try:
            await process.signal(number)
        except Conflict:
            # It ended by itself meanwhile: who wants an end has it soon.
            if not ends:
                raise
            return
        self._events.emit(container, "kill", signal=str(number))
        if ends and container.state.status is Status.PAUSED:
            await asyncio.to_thread(self._rooms.hierarchy.group(container_id).thaw)

    async def _freeze(self, container_id: str, move: Move) -> None:
        container = self._directory.get(container_id)
        status = after(container.state.status, move, name=container.name, container_id=container_id)
        group = self._rooms.hierarchy.group(container_id)
        await asyncio.to_thread(group.freeze if move is Move.PAUSE else group.thaw)
        container = await self._write(self._directory.get(container_id), status=status)
        self._events.emit(container, move.value)
        if move is Move.PAUSE:
            self._health.end(container_id)
        else:
            self._health.begin(container)

    async def _mark_stopped(self, container_id: str) -> None:
        await self._write(self._directory.get(container_id), stopped_by_user=True)

    async def _write(self, container: Container, **changes: object) -> Container:
        changed = replace(container, state=replace(container.state, **changes))  # type: ignore[arg-type]
        # What happened has happened, also while the disk is full.
        await self._rooms.containers.insist(container.id, changed)
        return changed

    @staticmethod
    def _stop_signal(container: Container) -> int:
        return signal_number(container.config.stop_signal or "SIGTERM")

    @staticmethod
    def _patience(container: Container, timeout_s: int | None) -> float | None:
        if timeout_s is None:
            own = container.config.stop_timeout
            timeout_s = DEFAULT_STOP_TIMEOUT_S if own is None else own
        return None if timeout_s < 0 else timeout_s


def _told(error: StartFailed) -> str:
    # Older CLIs decide upon exit code 126 by these words alone, and Docker's engine adds them.
    folder = "is a directory" in error.message and "permission denied" not in error.message
    return f"{error.message}: permission denied" if folder else error.message
