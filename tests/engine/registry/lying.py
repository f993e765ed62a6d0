"""Servers that say what a test wants them to say, on free loopback ports."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Seen:
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes = b""


@dataclass
class Says:
    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None  # send only so many bytes, then hang up
    length: bool = True


@dataclass
class Lying:
    address: str
    seen: list[Seen]

    @property
    def url(self) -> str:
        return f"http://{self.address}"


@contextmanager
def lying(answer: Callable[[Seen], Says], host: str = "127.0.0.1") -> Iterator[Lying]:
    """`answer` is asked for every request but the probe of /v2/, unless it says something."""
    seen: list[Seen] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            request = Seen(self.command, self.path, dict(self.headers.items()), body)
            seen.append(request)
            says = answer(request)
            self.send_response(says.status)
            for key, value in says.headers.items():
                self.send_header(key, value)
            if says.length and "Content-Length" not in says.headers:
                self.send_header("Content-Length", str(len(says.body)))
            if not says.length:
                self.send_header("Connection", "close")
                self.close_connection = True
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(says.body[: says.cut])
            if says.cut is not None:
                self.close_connection = True

        def log_message(self, *arguments: object) -> None:
            pass

    for method in ("GET", "HEAD", "POST", "PUT", "PATCH"):
        setattr(Handler, f"do_{method}", Handler.answer_any)

    server = ThreadingHTTPServer((host, 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield Lying(f"{host}:{server.server_address[1]}", seen)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
