"""Packets between engine, zygote, shim and init: one JSON document and a few descriptors.

Knows:   SOCK_SEQPACKET with SCM_RIGHTS, sealed memory files for what is too large for a packet.
Refuses: to know what the documents mean; anything heavy: this file runs in the zygote.
Source:  man 7 unix; man 2 memfd_create.
"""

from __future__ import annotations

import array
import fcntl
import json
import os
import socket
from typing import Any

MAX_PACKET_BYTES = 65536
MAX_DESCRIPTORS = 8

_F_ADD_SEALS = 1033
_ALL_SEALS = 0x1 | 0x2 | 0x4 | 0x8  # seal, shrink, grow, write


def send(sock: socket.socket, document: Any, descriptors: tuple[int, ...] = ()) -> None:
    """Send one packet; raises BlockingIOError when the other side does not read."""
    data = json.dumps(document).encode()
    rights = (
        [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))]
        if descriptors
        else []
    )
    sock.sendmsg([data], rights, socket.MSG_NOSIGNAL)


def receive(sock: socket.socket) -> tuple[Any, list[int]]:
    """Receive one packet and its descriptors (close-on-exec); (None, []) at the end."""
    size = socket.CMSG_SPACE(MAX_DESCRIPTORS * 4)
    try:
        data, controls, _, _ = sock.recvmsg(MAX_PACKET_BYTES, size, socket.MSG_CMSG_CLOEXEC)
    except ConnectionResetError:
        # The other side ended without reading everything of ours. This is told once and first;
        # its last words are still in the queue.
        data, controls, _, _ = sock.recvmsg(MAX_PACKET_BYTES, size, socket.MSG_CMSG_CLOEXEC)
    received = array.array("i")
    for level, kind, content in controls:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            received.frombytes(content[: len(content) - len(content) % received.itemsize])
    return (json.loads(data) if data else None), received.tolist()


def seal(name: str, data: bytes) -> int:
    """Put bytes into a memory file that nobody can change any more."""
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
    fcntl.fcntl(descriptor, _F_ADD_SEALS, _ALL_SEALS)
    return descriptor


def unseal(descriptor: int) -> bytes:
    """Read such a file from its start, and close it."""
    with open(descriptor, "rb") as file:
        file.seek(0)
        return file.read()
