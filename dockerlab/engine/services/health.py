"""Ask running containers whether they are well, and remember what they said.

Knows:   the timing of probes, when "starting" becomes "healthy", the last five answers.
Refuses: to act on an answer; restart policies look at exits alone.
Source:  moby daemon/health.go; Dockerfile reference, HEALTHCHECK.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from dockerlab.engine.model.container import Container
from dockerlab.engine.model.lifecycle import Status
from dockerlab.engine.runtime.client import Client
from dockerlab.engine.services.container_events import ContainerEvents
from dockerlab.engine.services.directory import Directory
from dockerlab.engine.services.execs import Execs
from dockerlab.engine.services.rooms import Rooms
from dockerlab.errors import DockerlabError
from dockerlab.wire.documents import ExecConfig, Healthcheck
from dockerlab.wire.times import rfc3339

STARTING, HEALTHY, UNHEALTHY = "starting", "healthy", "unhealthy"
_SECOND_NS = 10**9
_DEFAULTS_NS = {"interval": 30, "timeout": 30, "start_period": 0, "start_interval": 5}
_DEFAULT_RETRIES = 3
_KEPT_ANSWERS = 5
_KEPT_OUTPUT_BYTES = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What one probe said; -1 is the exit code of one that took too long."""

    start_ns: int
    end_ns: int
    exit_code: int
    output: str


@dataclass(frozen=True, slots=True)
class Health:
    """How a container fares; a value with its own next step."""

    status: str = STARTING
    failing_streak: int = 0
    answers: tuple[Answer, ...] = ()

    def after(self, answer: Answer, retries: int, *, in_start_period: bool) -> Health:
        """What follows from one more answer."""
        answers = (*self.answers, answer)[-_KEPT_ANSWERS:]
        if answer.exit_code == 0:
            return Health(HEALTHY, 0, answers)
        if self.status == STARTING and in_start_period:
            return Health(STARTING, 0, answers)
        streak = self.failing_streak + 1
        return Health(UNHEALTHY if streak >= retries else self.status, streak, answers)

    def document(self) -> dict[str, Any]:
        """Draw `State.Health`."""
        return {
            "Status": self.status,
            "FailingStreak": self.failing_streak,
            "Log": [
                {
                    "Start": rfc3339(answer.start_ns),
                    "End": rfc3339(answer.end_ns),
                    "ExitCode": answer.exit_code,
                    "Output": answer.output,
                }
                for answer in self.answers
            ],
        }


class HealthChecks:
    """The probes of all running containers; one task for each."""

    def __init__(self, rooms: Rooms, directory: Directory, execs: Execs) -> None:
        self._rooms, self._directory, self._execs = rooms, directory, execs
        self._events = ContainerEvents(rooms.events)
        self._known: dict[str, Health] = {}
        self._probing: dict[str, asyncio.Task[None]] = {}

    def of(self, container: Container) -> Health | None:
        """Get what is known of a container; None when nobody asks it."""
        if probe_command(container) is None:
            return None
        return self._known.get(container.id, Health())

    def begin(self, container: Container) -> None:
        """Probe a container that has started, or goes on after a pause."""
        if probe_command(container) is None:
            return
        self.end(container.id)
        self._known[container.id] = Health()
        self._probing[container.id] = self._rooms.tasks.spawn(
            self._probe(container.id), name=f"health of {container.short_id}"
        )

    def end(self, container_id: str) -> None:
        """Stop probing: the container has ended or is paused."""
        task = self._probing.pop(container_id, None)
        if task is not None:
            task.cancel()
            self._known[container_id] = replace(self._known[container_id], status=UNHEALTHY)

    def forget(self, container_id: str) -> None:
        """Drop what is known of a removed container."""
        self.end(container_id)
        self._known.pop(container_id, None)

    async def _probe(self, container_id: str) -> None:
        container = self._directory.get(container_id)
        check = container.config.healthcheck or Healthcheck()
        command = probe_command(container) or ()
        start_period_ns = _or_default(check, "start_period")
        retries = check.retries or _DEFAULT_RETRIES
        while True:
            age_ns = time.time_ns() - container.state.started_ns
            health = self._known[container_id]
            young = health.status == STARTING and age_ns < start_period_ns
            pause_ns = _or_default(check, "start_interval" if young else "interval")
            await asyncio.sleep(pause_ns / _SECOND_NS)
            answer = await self._ask(container, command, _or_default(check, "timeout"))
            if self._directory.get(container_id).state.status is not Status.RUNNING:
                return
            age_ns = answer.end_ns - container.state.started_ns
            after = health.after(answer, retries, in_start_period=age_ns < start_period_ns)
            self._known[container_id] = after
            if after.status != health.status:
                self._events.emit(container, f"health_status: {after.status}")

    async def _ask(self, container: Container, command: Sequence[str], limit_ns: int) -> Answer:
        start_ns = time.time_ns()
        try:
            code, output = await self._run(container, command, limit_ns)
        except DockerlabError as error:
            code, output = -1, error.message.encode()
        return Answer(
            start_ns=start_ns,
            end_ns=time.time_ns(),
            exit_code=code,
            output=output[:_KEPT_OUTPUT_BYTES].decode(errors="replace"),
        )

    async def _run(
        self, container: Container, command: Sequence[str], limit_ns: int
    ) -> tuple[int, bytes]:
        config = ExecConfig(cmd=tuple(command), attach_stdout=True, attach_stderr=True)
        exec_id = self._execs.create(container.id, config)
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        client = Client(sock=theirs, stdout=True, stderr=True, framed=False)
        reading = asyncio.ensure_future(_read_all(ours))
        try:
            async with asyncio.timeout(limit_ns / _SECOND_NS):
                await self._execs.start(exec_id, client)
                theirs.close()
                output = await reading
        except TimeoutError:
            await self._execs.kill(exec_id)
            theirs.close()
            text = f"Health check exceeded timeout ({limit_ns // _SECOND_NS}s)"
            partial = await reading
            return -1, text.encode() + (b": " + partial if partial else b"")
        finally:
            theirs.close()
            reading.cancel()
            ours.close()
        return self._execs.find(exec_id).exit_code or 0, output


def probe_command(container: Container) -> tuple[str, ...] | None:
    """The argv of a container's probe; None when it has none or it is switched off."""
    check = container.config.healthcheck
    if check is None or not check.test or check.test[0] == "NONE":
        return None
    kind, *words = check.test
    if kind == "CMD-SHELL":
        return (*(container.config.shell or ("/bin/sh", "-c")), *words)
    return tuple(words)


def _or_default(check: Healthcheck, name: str) -> int:
    given: int = getattr(check, name)
    return given or _DEFAULTS_NS[name] * _SECOND_NS


async def _read_all(sock: socket.socket) -> bytes:
    """Read to the end, keeping only as much as is shown."""
    loop = asyncio.get_running_loop()
    kept = b""
    while data := await loop.sock_recv(sock, 65536):
        kept = (kept + data)[:_KEPT_OUTPUT_BYTES]
    return kept
