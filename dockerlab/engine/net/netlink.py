"""Talk to the kernel by netlink: many messages in one send, their answers in one look.

Knows:   netlink's header, its errors and dumps.
Refuses: to know what the messages mean; `links.py` and `rules.py` write and read them.
Source:  man 7 netlink. rtnetlink and nfnetlink work while the sender waits in send(2): when it
         returns, every answer lies in the socket, and no answer means success.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections.abc import Iterator
from types import TracebackType
from typing import Self

ROUTE, NETFILTER = 0, 12

REQUEST, ACK, DUMP = 0x1, 0x4, 0x300
EXCLUSIVE, CREATE, APPEND = 0x200, 0x400, 0x800
NESTED = 0x8000

# RTM_NEWLINK for index 1 with IFF_UP, acknowledged: the one message written by hand, so that
# `--network none` works, at full speed, where nothing else about networks does.
LOOPBACK_UP = bytes.fromhex("2000000010000500000000000000000000000000010000000100000001000000")

_ERROR, _DONE = 2, 3
_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_SEND_BUFFER_BYTES = 4 << 20
_SO_SNDBUFFORCE = 32


class Channel:
    """A netlink socket in the namespace of the thread that makes it; for one thread at a time."""

    def __init__(self, protocol: int) -> None:
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol
        )
        self._socket.setblocking(False)
        # A whole table is one message; without the right to force it, large ones fail by EMSGSIZE.
        with contextlib.suppress(PermissionError):
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, _SEND_BUFFER_BYTES)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the socket back."""
        self._socket.close()

    def ask(self, subject: str, *messages: bytes) -> list[bytes]:
        """Send messages at once and return the bodies of what came back.

        Args:
            subject: what they are about, for the error.
            messages: whole messages, header included.

        Raises:
            OSError: the first refusal of the kernel, with `subject` as its file name.
        """
        self._socket.send(b"".join(messages))
        answers, refusal = [], 0
        for kind, body in self._pending():
            if kind != _ERROR:
                answers.append(body)
            elif not refusal:
                refusal = -int(struct.unpack_from("=i", body)[0])
        if refusal:
            raise OSError(refusal, os.strerror(refusal), subject)
        return answers

    def dump(self, subject: str, message: bytes) -> list[bytes]:
        """Ask for a whole table; return the bodies of its rows."""
        self._socket.send(message)
        rows: list[bytes] = []
        while True:
            # The kernel hands a dump out in pieces, each made when the one before has been read.
            for kind, body in split(self._socket.recv(1 << 18)):
                if kind == _DONE:
                    return rows
                if kind == _ERROR:
                    refusal = -int(struct.unpack_from("=i", body)[0])
                    raise OSError(refusal, os.strerror(refusal), subject)
                rows.append(body)

    def _pending(self) -> Iterator[tuple[int, bytes]]:
        while True:
            try:
                data = self._socket.recv(1 << 18)
            except BlockingIOError:
                return
            yield from split(data)


def split(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Cut a datagram into messages: type and what follows the header."""
    offset = 0
    while offset + _HEADER.size <= len(data):
        length, kind, *_ = _HEADER.unpack_from(data, offset)
        if length < _HEADER.size:
            return
        yield kind, data[offset + _HEADER.size : offset + length]
        offset += (length + 3) & ~3


def attributes(data: bytes) -> dict[int, bytes]:
    """Read a run of attributes by number."""
    found: dict[int, bytes] = {}
    offset = 0
    while offset + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if length < _ATTRIBUTE.size:
            break
        found[kind & ~NESTED] = data[offset + _ATTRIBUTE.size : offset + length]
        offset += (length + 3) & ~3
    return found
