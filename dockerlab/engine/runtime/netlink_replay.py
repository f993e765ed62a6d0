"""Send prepared netlink messages in a container's own network namespace, and check the answers.

Knows:   netlink's header, its acknowledgements and errors.
Refuses: to know what the messages ask for (`net/links.py` wrote them); anything heavy.
Source:  man 7 netlink; Linux include/uapi/linux/netlink.h.
"""

from __future__ import annotations

import json
import os
import socket
import struct

_NETLINK_ROUTE = 0
_NLMSG_ERROR = 2
_NLM_F_ACK = 4
_HEADER = struct.Struct("=IHHII")


def encode(batches: list[bytes]) -> bytes:
    """Write batches down for `replay`."""
    return json.dumps([one.hex() for one in batches]).encode()


def replay(encoded: bytes) -> None:
    """Send each batch at once and wait for every answer it asked for.

    Raises:
        OSError: with the number that the kernel answered.
    """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_ROUTE) as sock:
        for text in json.loads(encoded):
            batch = bytes.fromhex(text)
            sock.send(batch)
            waiting = sum(1 for _, flags, _ in _messages(batch) if flags & _NLM_F_ACK)
            while waiting:
                for kind, _, body in _messages(sock.recv(65536)):
                    if kind != _NLMSG_ERROR:
                        continue
                    number = -struct.unpack_from("=i", body)[0]
                    if number:
                        raise OSError(number, f"network set-up: {os.strerror(number)}")
                    waiting -= 1


def _messages(data: bytes) -> list[tuple[int, int, bytes]]:
    result, offset = [], 0
    while offset + _HEADER.size <= len(data):
        length, kind, flags, _, _ = _HEADER.unpack_from(data, offset)
        if length < _HEADER.size:
            break
        result.append((kind, flags, data[offset + _HEADER.size : offset + length]))
        offset += (length + 3) & ~3
    return result
