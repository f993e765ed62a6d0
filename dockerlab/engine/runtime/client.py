"""A client's raw connection that wants to be joined to a program's streams.

Knows:   which streams it wants, whether they are framed, which keys let go.
Refuses: to copy a byte: the connection itself goes to the shim.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from dockerlab.engine.runtime.launcher import Attached, Process
from dockerlab.errors import InvalidRequest

_CONTROL_KEYS = "abcdefghijklmnopqrstuvwxyz@[\\]^_"


@dataclass(slots=True, kw_only=True)
class Client:
    """A hijacked connection.

    Attributes:
        sock: non-blocking; the client's answer head is already on it.
        pending: what the client sent before the hand-over; it comes first on stdin.
        joined: becomes the attachment once the process exists, None when there will be none.
        history: sends what was logged after one time and up to another (0: no bound), in
            nanoseconds; live output waits for it.
    """

    sock: socket.socket
    pending: bytes = b""
    stdin: bool = False
    stdout: bool = False
    stderr: bool = False
    framed: bool = True
    detach_keys: bytes = b""
    history: Callable[[int, int], Awaitable[None]] | None = None
    process: Process | None = None
    joined: asyncio.Future[Attached | None] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )

    def give_up(self) -> None:
        """There will be no process: whoever waits for the attachment is let go."""
        if not self.joined.done():
            self.joined.set_result(None)

    async def join(self, process: Process) -> None:
        """Hand the connection to the shim of `process`, unless its client left already."""
        if self.joined.done():
            return
        self.process = process
        attached = await process.attach(
            self.sock,
            stdin=self.stdin,
            stdout=self.stdout,
            stderr=self.stderr,
            framed=self.framed,
            detach_keys=self.detach_keys,
            pending=self.pending,
            paused=self.history is not None,
        )
        if not self.joined.done():
            self.joined.set_result(attached)


def detach_keys(text: str) -> bytes:
    """Read `--detach-keys`: a comma list of characters and `ctrl-X`; "" is Docker's default.

    Raises:
        InvalidRequest: a word that is no key.
    """
    keys = bytearray()
    for word in (text or "ctrl-p,ctrl-q").split(","):
        control = word.removeprefix("ctrl-")
        if len(word) == 1 and word.isascii():
            keys += word.encode()
        elif control != word and len(control) == 1 and control in _CONTROL_KEYS:
            keys.append(ord(control.upper()) & 0x1F)
        else:
            raise InvalidRequest(f"Invalid detach keys ({text}) provided")
    return bytes(keys)
