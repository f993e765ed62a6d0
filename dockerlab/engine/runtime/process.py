"""A running shim as the engine sees it: one connection, commands and what it reports.

Knows:   the shim's packets, Docker's words and codes for a failed start, the exit record.
Refuses: to start anything (`launcher.py`) or to decide what an exit means (`services/`).
Source:  shim.py, whose PROTOCOL this speaks.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dockerlab.engine.runtime import netlink_replay, packets
from dockerlab.engine.runtime.spec import ProcessKind
from dockerlab.errors import Conflict, Failed

_CREATE = (
    "failed to create task for container: failed to create shim task: OCI runtime create failed: "
    "runc create failed: unable to start container process: error during container init: "
)
_EXEC = "OCI runtime exec failed: exec failed: unable to start container process: "
_SUPERVISOR_LOST = "supervisor lost"
# What the shim says to a signal while the last output is read; its twin is in shim.py.
_HAS_ENDED = "the process has ended"
SPOKEN = frozenset({1})
"""Versions of the shim's protocol that this engine understands."""


class ShimLost(Failed):
    """A shim ended before it said a word; its zygote may have died before it forked."""


class StartFailed(Failed):
    """The program could not be started; nothing of it is left.

    Attributes:
        exit_code: 126, 127 or 128, what Docker records for it.
    """

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """How a process ended; 128 + n for signal n."""

    code: int
    finished_ns: int
    oom: bool = False
    error: str = ""
    started_ns: int = 0


@dataclass(frozen=True, slots=True)
class Attached:
    """A connection that the shim serves; `done` tells "eof" or "detached".

    The shim only lets go of its copy: the client sees the end when the caller closes its own.

    Attributes:
        since_ns: of a paused one: output from then on is held for it; older output is in the log.
    """

    done: asyncio.Future[str]
    number: int = 0
    since_ns: int = 0


async def send(
    connection: socket.socket, document: dict[str, Any], descriptors: tuple[int, ...]
) -> None:
    """Send a packet, and wait while the other side's queue is full; one sender at a time."""
    loop = asyncio.get_running_loop()
    while True:
        try:
            packets.send(connection, document, descriptors)
        except BlockingIOError:
            ready: asyncio.Future[None] = loop.create_future()
            loop.add_writer(connection, ready.set_result, None)
            try:
                await ready
            finally:
                loop.remove_writer(connection)
        else:
            return


def read_exit(path: str | Path) -> Exit | None:
    """Read the record that a shim left; None when there is none (yet)."""
    try:
        document = json.loads(Path(path).read_bytes())
        return _exit_of(document)
    except (OSError, ValueError, KeyError):
        return None


def exit_code_of(text: str) -> int:
    """Tell Docker's exit code of a failed start from its text, as Docker does."""
    if "permission denied" in text or "is a directory" in text:
        return 126
    words = ("executable file not found", "no such file or directory", "Are you trying to mount")
    return 127 if any(one in text for one in words) else 128


class Process:
    """One container, exec or build step. Made by `Launcher.launch` and `Launcher.adopt`."""

    def __init__(
        self,
        connection: socket.socket,
        *,
        exit_path: str,
        bury: Callable[[Process], Awaitable[None]],
        forget: Callable[[Process], object],
    ) -> None:
        connection.setblocking(False)
        self._connection = connection
        self._exit_path = exit_path
        self._bury, self._forget = bury, forget
        self._loop = asyncio.get_running_loop()
        self._hello: asyncio.Future[None] = self._loop.create_future()
        self._exit: asyncio.Future[Exit] = self._loop.create_future()
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._attached: dict[int, asyncio.Future[str]] = {}
        self._sending = asyncio.Lock()
        self._number = 0
        self._burial: asyncio.Task[None] | None = None
        self._failure: StartFailed | None = None
        self.id = ""
        self.kind = ProcessKind.CONTAINER
        self.pid = 0
        self.pidfd = -1
        self.running = False
        self.started_ns = 0
        self.warnings: list[str] = []
        self._loop.add_reader(connection, self._readable)

    async def ready(self) -> None:
        """Wait until the shim has introduced itself.

        Raises:
            StartFailed: it could not clone init; nothing is left.
        """
        await self._hello

    async def go(self, network: Sequence[bytes] = ()) -> None:
        """Let init set up its network by these messages, finish, and become the program.

        Raises:
            StartFailed: in Docker's words, with the exit code to record; nothing is left.
        """
        if self._failure is not None:
            raise self._failure
        descriptors: tuple[int, ...] = ()
        if network:
            descriptors = (packets.seal("network", netlink_replay.encode(list(network))),)
        try:
            answer = await self._ask("go", descriptors=descriptors)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        if "error" in answer:
            raise self._start_failure(answer)
        self.running = True
        self.warnings += answer.get("warnings", [])

    async def attach(
        self,
        sock: socket.socket,
        *,
        stdin: bool,
        stdout: bool,
        stderr: bool,
        framed: bool,
        detach_keys: bytes = b"",
        stream: bool = True,
        pending: bytes = b"",
        paused: bool = False,
    ) -> Attached:
        """Hand a client's connection to the shim; works before `go`, too.

        Args:
            sock: stays the caller's to close; the client sees its end only then.
            stdin: whether what the client sends is for the program.
            stdout: whether it gets that.
            stderr: whether it gets that; with a terminal everything is stdout.
            framed: each chunk of output gets Docker's 8-byte head.
            detach_keys: looked for in what the client sends; empty for none.
            stream: without it, nothing is sent and it is done at once.
            pending: what was read from the client already; it comes first on stdin.
            paused: nothing is sent before `resume`: time to send the log up to `since_ns`.
        """
        done: asyncio.Future[str] = self._loop.create_future()
        attached = Attached(done)
        if not stream or self._exit.done():
            done.set_result("eof")
            return attached
        if self._connection.fileno() < 0:
            done.set_result("eof")
            return attached
        number = self._next()
        self._attached[number] = done
        early = packets.seal("pending", pending) if pending else -1
        document: dict[str, Any] = {
            "attach": number,
            "stdin": stdin,
            "stdout": stdout,
            "stderr": stderr,
            "framed": framed,
            "detach_keys": detach_keys.hex(),
            "paused": paused,
        }
        descriptors = (sock.fileno(), *((early,) if pending else ()))
        try:
            if paused:
                answer = await self._ask("attach", descriptors=descriptors, **document)
                return Attached(done, number, answer.get("since_ns", 0))
            # No answer is waited for: what comes after it finds the client attached.
            await self._send({"op": "attach", **document}, descriptors)
        finally:
            if early >= 0:
                os.close(early)
        return attached

    async def resume(self, attached: Attached) -> None:
        """Let a paused client have what was held for it, and everything that comes."""
        if not attached.done.done():
            await self._command("resume", attach=attached.number)

    async def close_stdin(self) -> None:
        """Close the program's stdin once it has everything."""
        await self._command("close_stdin")

    async def resize(self, height: int, width: int) -> None:
        """Change the size of the terminal."""
        await self._command("resize", height=height, width=width)

    async def signal(self, number: int) -> None:
        """Signal the process; the shim does, by pidfd."""
        await self._command("signal", number=number)

    async def hold(self, descriptor: int) -> None:
        """Have the shim keep a descriptor open until the process has ended."""
        await self._command("hold", descriptors=(descriptor,))

    async def wait(self) -> Exit:
        """Wait for the end; the record is on disk by then."""
        return await asyncio.shield(self._exit)

    @property
    def ended(self) -> Exit | None:
        """How it ended, if it has."""
        return self._exit.result() if self._exit.done() else None

    async def abort(self) -> None:
        """Before `go`: end init and wait until nothing is left."""
        with suppress(Conflict):
            await self._ask("abort")
        await self.wait()

    def disconnect(self) -> None:
        """Let go of the shim, which goes on. Before `go` that undoes the start."""
        self._hang_up()
        futures: list[asyncio.Future[Any]] = [self._exit, self._hello]
        for future in (*futures, *self._answers.values(), *self._attached.values()):
            if not future.done():
                future.cancel()
        if self._burial is not None:
            self._burial.cancel()

    # -- packets ------------------------------------------------------------------------------

    def _next(self) -> int:
        self._number += 1
        return self._number

    async def _command(
        self, op: str, *, descriptors: tuple[int, ...] = (), **facts: object
    ) -> None:
        answer = await self._ask(op, descriptors=descriptors, **facts)
        if "error" in answer:
            if answer["error"] in {_SUPERVISOR_LOST, _HAS_ENDED}:
                raise Conflict(f"container {self.id} is not running")
            raise Failed(answer["error"])

    async def _ask(
        self, op: str, *, descriptors: tuple[int, ...] = (), **facts: object
    ) -> dict[str, Any]:
        # A paused client outlives the program.
        if self._connection.fileno() < 0 or (self._exit.done() and op != "resume"):
            raise Conflict(f"container {self.id} is not running")
        number = self._next()
        answer: asyncio.Future[dict[str, Any]] = self._loop.create_future()
        self._answers[number] = answer
        try:
            await self._send({"op": op, "id": number, **facts}, descriptors)
            return await answer
        finally:
            del self._answers[number]

    async def _send(self, document: dict[str, Any], descriptors: tuple[int, ...]) -> None:
        # Lost? The reader sees the end and answers everybody who waits.
        async with self._sending:
            with suppress(OSError):
                await send(self._connection, document, descriptors)

    def _readable(self) -> None:
        while True:
            try:
                document, descriptors = packets.receive(self._connection)
            except BlockingIOError:
                return
            except OSError:
                document, descriptors = None, []
            if document is None:
                self._lost()
                return
            self._heard(document, descriptors)

    def _heard(self, document: dict[str, Any], descriptors: list[int]) -> None:
        if "v" in document:
            self._introduced(document, descriptors)
        elif document.get("event") == "exit":
            self._ended(_exit_of(document))
        elif document.get("event") == "failed":
            failure = self._start_failure(document)
            self._failure = failure
            self._answer_all(document)
            if not self._hello.done():
                self._hello.set_exception(failure)
            self._ended(
                Exit(code=failure.exit_code, finished_ns=time.time_ns(), error=str(failure))
            )
        elif document.get("event") == "done":
            done = self._attached.pop(document["attach"], None)
            if done is not None and not done.done():
                done.set_result(document["why"])
        else:
            answer = self._answers.get(document["id"])
            if answer is not None and not answer.done():
                answer.set_result(document)

    def _introduced(self, document: dict[str, Any], descriptors: list[int]) -> None:
        if document["v"] not in SPOKEN:
            self._hello.set_exception(
                Failed(f"a shim speaks version {document['v']}, which this engine does not know")
            )
            return
        self.id, self.kind = document["id"], ProcessKind(document["kind"])
        self.pid, self.pidfd = document["pid"], descriptors[0]
        self.running = document["state"] in {"starting", "running"}
        self.started_ns = document.get("started_ns", 0)
        if not self._hello.done():
            self._hello.set_result(None)
        if document["exit"]:
            self._ended(_exit_of(document["exit"]))

    def _ended(self, end: Exit) -> None:
        self.running = False
        if not self._exit.done():
            self._exit.set_result(end)

    def _answer_all(self, answer: dict[str, Any]) -> None:
        for future in self._answers.values():
            if not future.done():
                future.set_result(answer)

    def _hang_up(self) -> None:
        if self._connection.fileno() < 0:
            return
        self._loop.remove_reader(self._connection)
        self._connection.close()
        if self.pidfd >= 0 and self._burial is None:
            os.close(self.pidfd)
            self.pidfd = -1
        self._forget(self)

    def _lost(self) -> None:
        self._answer_all({"error": _SUPERVISOR_LOST, "bare": True})
        for done in self._attached.values():
            if not done.done():
                done.set_result("eof")
        self._attached.clear()
        if not self._hello.done():
            self._hello.set_exception(ShimLost(_SUPERVISOR_LOST))
        if not self._exit.done() and self.running:
            self._burial = self._loop.create_task(self._mourn(), name=f"bury {self.id[:12]}")
        else:
            self._ended(Exit(code=128, finished_ns=time.time_ns()))
        self._hang_up()

    async def _mourn(self) -> None:
        """The shim died: take its record, or end what it left and say so."""
        end = read_exit(self._exit_path) if self._exit_path else None
        if end is None:
            with suppress(OSError):
                signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
            await self._bury(self)
            end = Exit(code=137, finished_ns=time.time_ns(), error=_SUPERVISOR_LOST)
        os.close(self.pidfd)
        self.pidfd = -1
        self._ended(end)

    def _start_failure(self, answer: dict[str, Any]) -> StartFailed:
        text = answer["error"]
        code = exit_code_of(text)
        if answer.get("bare"):
            return StartFailed(text, code)
        prefix = _EXEC if self.kind is ProcessKind.EXEC else _CREATE
        return StartFailed(f"{prefix}{text}: unknown", code)


def _exit_of(document: dict[str, Any]) -> Exit:
    return Exit(
        code=int(document["code"]),
        finished_ns=int(document["finished_ns"]),
        oom=bool(document.get("oom")),
        started_ns=int(document.get("started_ns", 0)),
    )
