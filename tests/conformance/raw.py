"""Requests byte by byte: no client stands between, and none leaves a socket open."""

from __future__ import annotations

import socket
from urllib.parse import urlparse

_PATIENCE_S = 20

_opened: list[Raw] = []


class Raw:
    """A connection on which a request has been sent."""

    def __init__(self, host: str, request: str, *headers: str, version: str = "1.1") -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(_PATIENCE_S)
        self.sock.connect(urlparse(host).path)
        lines = [f"{request} HTTP/{version}", "Host: docker", *headers]
        self.sock.sendall("\r\n".join([*lines, "", ""]).encode())
        self.head, self.rest = "", b""
        _opened.append(self)

    def answer(self) -> str:
        """The head of the answer."""
        data = b""
        while b"\r\n\r\n" not in data:
            more = self.sock.recv(4096)
            assert more, data
            data += more
        head, _, self.rest = data.partition(b"\r\n\r\n")
        self.head = head.decode()
        return self.head

    def until(self, end: bytes = b"") -> bytes:
        """Everything up to some bytes, or to the end of the connection."""
        while not end or end not in self.rest:
            more = self.sock.recv(65536)
            if not more:
                break
            self.rest += more
        return self.rest

    def close(self) -> None:
        self.sock.close()


def close_all() -> None:
    """Close every connection of this test."""
    while _opened:
        _opened.pop().close()


def wait_for_output(host: str, name: str) -> None:
    """Wait until a container has written its first line."""
    path = f"GET /v1.41/containers/{name}/logs?stdout=1&stderr=1&follow=1"
    raw = Raw(host, path, version="1.0")
    raw.answer()
    raw.until(b"\n")
    raw.close()
