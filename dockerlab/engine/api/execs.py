"""The routes of exec: create, start, resize, inspect.

Knows:   that an attached exec hands the connection over, a detached one answers.
Refuses: to run anything.
Source:  API v1.50, "Exec"; moby daemon/server/router/container/exec.go.
"""

from __future__ import annotations

import base64
from typing import Any, Protocol

from dockerlab.engine.api.hijack import Hijacked
from dockerlab.engine.api.reply import MULTIPLEXED_STREAM, RAW_STREAM, Empty, Json, Reply, Upgrade
from dockerlab.engine.api.request import Request
from dockerlab.engine.api.routes import Route
from dockerlab.engine.runtime.client import Client, detach_keys
from dockerlab.errors import DockerlabError, InvalidRequest
from dockerlab.wire.documents import ExecConfig, ExecStart
from dockerlab.wire.frames import encode


class ExecView(Protocol):
    """One exec, as inspect shows it."""

    id: str
    container_id: str
    config: ExecConfig
    running: bool
    exit_code: int | None
    pid: int


class Execs(Protocol):
    """What these routes need."""

    def create(self, name: str, config: ExecConfig) -> str: ...
    def find(self, exec_id: str) -> ExecView: ...
    def check_startable(self, exec_id: str) -> object: ...
    async def start(self, exec_id: str, client: Client | None) -> None: ...
    async def resize(self, exec_id: str, height: int, width: int) -> None: ...


def routes(execs: Execs) -> list[Route]:
    """List the routes."""
    handlers = _Handlers(execs)
    return [
        Route("POST", "/containers/{name}/exec", handlers.create),
        Route("POST", "/exec/{name}/start", handlers.start, hijack=True),
        Route("POST", "/exec/{name}/resize", handlers.resize),
        Route("GET", "/exec/{name}/json", handlers.inspect),
    ]


class _Handlers:
    def __init__(self, execs: Execs) -> None:
        self._execs = execs

    async def create(self, request: Request) -> Reply:
        config = await request.json(ExecConfig, required=True)
        detach_keys(config.detach_keys)
        return Json({"Id": self._execs.create(request.params["name"], config)}, 201)

    async def start(self, request: Request) -> Reply:
        wishes = await request.json(ExecStart)
        exec_id = request.params["name"]
        self._execs.check_startable(exec_id)
        if wishes.detach:
            await self._execs.start(exec_id, None)
            return Empty(200)
        framed = not wishes.tty
        shown = MULTIPLEXED_STREAM if framed and request.version >= (1, 42) else RAW_STREAM

        async def run(hijacked: Hijacked) -> None:
            config = self._execs.find(exec_id).config
            client = Client(
                sock=hijacked.socket,
                pending=hijacked.pending,
                stdin=config.attach_stdin,
                stdout=config.attach_stdout,
                stderr=config.attach_stderr,
                framed=framed,
                # Other streams may hold any byte.
                detach_keys=detach_keys(config.detach_keys) if config.tty else b"",
            )
            try:
                await self._execs.start(exec_id, client)
            except DockerlabError as error:
                text = f"{error.message}\r\n".encode()
                await hijacked.send(encode(1, text) if framed else text)

        return Upgrade(run, shown)

    async def resize(self, request: Request) -> Reply:
        height, width = window_size(request)
        await self._execs.resize(request.params["name"], height, width)
        return Empty(200)

    async def inspect(self, request: Request) -> Reply:
        return Json(_document(self._execs.find(request.params["name"])))


def window_size(request: Request) -> tuple[int, int]:
    """Read `h` and `w`.

    Raises:
        InvalidRequest: one is no unsigned number.
    """
    found = []
    for name, word in (("h", "height"), ("w", "width")):
        text = request.query.text(name)
        if not text.isdigit() or int(text) > 0xFFFF:
            raise InvalidRequest(
                f'invalid resize {word} "{text}": strconv.ParseUint: parsing "{text}": '
                "invalid syntax"
            )
        found.append(int(text))
    return found[0], found[1]


def _document(one: ExecView) -> dict[str, Any]:
    config = one.config
    process: dict[str, Any] = {
        "tty": config.tty,
        "entrypoint": config.cmd[0],
        "arguments": list(config.cmd[1:]),
        "privileged": config.privileged,
    }
    if config.user:
        process["user"] = config.user
    keys = detach_keys(config.detach_keys) if config.detach_keys else b""
    return {
        "ID": one.id,
        "Running": one.running,
        "ExitCode": one.exit_code,
        "ProcessConfig": process,
        "OpenStdin": config.attach_stdin,
        "OpenStderr": config.attach_stderr,
        "OpenStdout": config.attach_stdout,
        "CanRemove": False,
        "ContainerID": one.container_id,
        "DetachKeys": base64.b64encode(keys).decode(),
        "Pid": one.pid,
    }
