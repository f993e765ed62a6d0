"""The HTTP front through a real socket: framing, limits, hijacking, hostile and gone clients."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest
from tornado.netutil import bind_unix_socket

from dockerlab.engine.api.app import (
    App,
    Bytes,
    Empty,
    Hijacked,
    Json,
    Reply,
    Request,
    Route,
    Stream,
    Upgrade,
)
from dockerlab.errors import AlreadyDone, Failed, NotFound
from dockerlab.wire.documents import NetworkDisconnect

CLOSE = b"Connection: close\r\n"


async def ping(request: Request) -> Reply:
    return Bytes(body=b"OK")


async def echo(request: Request) -> Reply:
    if request.params["name"] == "missing":
        raise NotFound("No such container: missing")

    async def run(taken: Hijacked) -> None:
        loop = asyncio.get_running_loop()
        await taken.send(b"pending:" + taken.pending + b";")
        while data := await loop.sock_recv(taken.socket, 1000):
            await taken.send(b"got:" + data + b";")
        await taken.send(b"after the end")
        taken.close()

    await request.read()
    return Upgrade(run)


async def upload(request: Request) -> Reply:
    return Json({"bytes": sum([len(piece) async for piece in request.body()])})


async def document(request: Request) -> Reply:
    found = await request.json(NetworkDisconnect, required=request.query.flag("required"))
    return Json({"container": found.container, "force": found.force})


async def failing(request: Request) -> Reply:
    match request.query.text("how"):
        case "done":
            raise AlreadyDone("is there already")
        case "bug":
            raise ZeroDivisionError("our own mistake")
        case _:
            raise Failed("it broke", hint="mend it")


async def numbers(request: Request) -> Reply:
    return Json({"t": request.query.integer("t", 10)})


async def stream(request: Request) -> Reply:
    async def pieces() -> AsyncIterator[bytes]:
        if request.query.flag("early"):
            raise NotFound("nothing there")
        yield b"one\n"
        yield b""
        yield b"two\n"
        if request.query.flag("late"):
            raise Failed("boom")

    return Stream(pieces(), wait_first=request.query.flag("wait"))


class Serving:
    """An App on a socket of its own, and what its endless stream saw."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.ended = asyncio.Event()
        self.began = asyncio.Event()
        self.app = App(
            [
                Route("GET", "/_ping", ping, any_version=True),
                Route("HEAD", "/_ping", ping, any_version=True),
                Route("POST", "/containers/{name}/attach", echo, hijack=True),
                Route("POST", "/images/load", upload, stream_body=True),
                Route("POST", "/document", document, limit_bytes=1000),
                Route("GET", "/failing", failing),
                Route("GET", "/numbers", numbers),
                Route("GET", "/stream", stream),
                Route("GET", "/endless", self.endless),
                Route("POST", "/slow", self.slow, cancel=True),
                Route("DELETE", "/empty", self.empty),
                Route("POST", "/unread", self.empty, stream_body=True),
            ]
        )

    async def empty(self, request: Request) -> Reply:
        return Empty()

    async def endless(self, request: Request) -> Reply:
        async def pieces() -> AsyncIterator[bytes]:
            self.began.set()
            try:
                await asyncio.Event().wait()
                yield b""
            finally:
                self.ended.set()

        return Stream(pieces())

    async def slow(self, request: Request) -> Reply:
        self.began.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.ended.set()
        return Empty()

    def connect(self) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(10)
        sock.connect(self.path)
        return sock

    async def ask(self, head: bytes, body: bytes = b"", *, half_close: bool = False) -> bytes:
        """Send a request, read until the end."""
        return await asyncio.to_thread(self._ask, head + b"\r\n" + body, half_close)

    def _ask(self, data: bytes, half_close: bool) -> bytes:
        with self.connect() as sock:
            # Refused before all was sent: the answer is still there to be read.
            with suppress(BrokenPipeError, ConnectionResetError):
                sock.sendall(data)
            if half_close:
                sock.shutdown(socket.SHUT_WR)
            answer = b""
            with suppress(ConnectionResetError):
                while piece := sock.recv(1 << 16):
                    answer += piece
            return answer


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def serve(tmp_path: Path, case: Callable[[Serving], Awaitable[None]]) -> None:
    """Run one case against a served App, and see that no descriptor stays behind."""

    async def main() -> None:
        # The loop's own helper thread and selector exist before we count.
        await asyncio.to_thread(int)
        before = open_descriptors()
        serving = Serving(tmp_path / "s")
        serving.app.server().add_socket(bind_unix_socket(serving.path, 0o600))
        try:
            await case(serving)
        finally:
            await serving.app.close()
        for _ in range(100):
            if open_descriptors() <= before:
                break
            await asyncio.sleep(0.01)
        assert open_descriptors() <= before

    asyncio.run(main())


REQUESTS: list[tuple[str, bytes, bytes, bytes, bytes]] = [
    ("ping", b"GET /_ping HTTP/1.1\r\n" + CLOSE, b"", b"HTTP/1.1 200 OK", b"\r\n\r\nOK"),
    ("any version", b"GET /v1.99/_ping HTTP/1.1\r\n" + CLOSE, b"", b"HTTP/1.1 200", b"OK"),
    ("head", b"HEAD /_ping HTTP/1.1\r\n" + CLOSE, b"", b"HTTP/1.1 200", b"\r\n\r\n"),
    ("http 1.0", b"GET /_ping HTTP/1.0\r\n", b"", b"HTTP/1.1 200 OK", b"\r\n\r\nOK"),
    ("no page", b"GET /nope HTTP/1.1\r\n" + CLOSE, b"", b"HTTP/1.1 404 Not Found",
     b'{"message":"page not found"}\n'),
    ("other method", b"PUT /failing HTTP/1.1\r\n" + CLOSE, b"", b"HTTP/1.1 404",
     b'{"message":"page not found"}\n'),
    ("error", b"GET /v1.24/failing HTTP/1.1\r\n" + CLOSE, b"", b"HTTP/1.1 500",
     b'{"message":"it broke","hint":"mend it"}\n'),
    ("done", b"GET /failing?how=done HTTP/1.1\r\n" + CLOSE, b"", b"HTTP/1.1 304", b"\r\n\r\n"),
    ("bug", b"GET /failing?how=bug HTTP/1.1\r\n" + CLOSE, b"", b"HTTP/1.1 500",
     b'{"message":"our own mistake"}\n'),
    ("empty", b"DELETE /empty HTTP/1.1\r\n" + CLOSE, b"", b"HTTP/1.1 204", b"\r\n\r\n"),
    ("too old", b"GET /v1.9/failing HTTP/1.1\r\n" + CLOSE, b"", b"HTTP/1.1 400",
     (b'{"message":"client version 1.9 is too old. Minimum supported API version is 1.24, please '
     b'upgrade your client to a newer version"}\n')),
    ("too new", b"GET /v1.51/failing HTTP/1.1\r\n" + CLOSE, b"", b"HTTP/1.1 400",
     b'{"message":"client version 1.51 is too new. Maximum supported API version is 1.50"}\n'),
    ("number", b"GET /numbers?t=x HTTP/1.1\r\n" + CLOSE, b"", b"HTTP/1.1 400",
     b'{"message":"strconv.Atoi: parsing \\"x\\": invalid syntax"}\n'),
    ("big number", b"GET /numbers?t=99999999999999999999 HTTP/1.1\r\n" + CLOSE, b"",
     b"HTTP/1.1 400", b'value out of range"}\n'),
    ("in any case", b"POST /document HTTP/1.1\r\nContent-Type: application/json\r\n"
     b"Content-Length: 34\r\n" + CLOSE, b'{"CONTAINER":"a","x":1,"force":1}\n', b"HTTP/1.1 400",
     (b'{"message":"invalid JSON: json: cannot unmarshal number into Go struct field '
     b'NetworkDisconnect.Force of type bool"}\n')),
    ("no content", b"POST /document HTTP/1.1\r\n" + CLOSE, b"", b"HTTP/1.1 200",
     b'{"container":"","force":false}\n'),
    ("wanted content", b"POST /document?required=1 HTTP/1.1\r\n" + CLOSE, b"", b"HTTP/1.1 400",
     b'{"message":"invalid JSON: got EOF while reading request body"}\n'),
    ("no type", b"POST /document HTTP/1.1\r\nContent-Length: 2\r\n" + CLOSE, b"{}",
     b"HTTP/1.1 400", b'{"message":"malformed Content-Type header (): mime: no media type"}\n'),
    ("other type", b"POST /document HTTP/1.1\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n"
     + CLOSE, b"{}", b"HTTP/1.1 400",
     (b"unsupported Content-Type header (text/plain): must be 'application/json'\",\"hint\":"
     b'"Send Content-Type: application/json"}\n')),
    ("body too large", b"POST /document HTTP/1.1\r\nContent-Type: application/json\r\n"
     b"Content-Length: 300000\r\n" + CLOSE, b"x" * 300000, b"HTTP/1.1 400",
     b'{"message":"http: request body too large"}\n'),
    ("upload", b"POST /images/load HTTP/1.1\r\nContent-Length: 3000000\r\n" + CLOSE,
     b"x" * 3000000, b"HTTP/1.1 200", b'{"bytes":3000000}\n'),
    ("chunked", b"POST /images/load HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" + CLOSE,
     b"3\r\nabc\r\n0\r\n\r\n", b"HTTP/1.1 200", b'{"bytes":3}\n'),
    ("stream", b"GET /stream HTTP/1.1\r\n" + CLOSE, b"", b"HTTP/1.1 200",
     b"\r\n\r\n4\r\none\n\r\n4\r\ntwo\n\r\n0\r\n\r\n"),
    ("stream 1.0", b"GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n", b"", b"HTTP/1.1 200",
     b"\r\n\r\none\ntwo\n"),
    ("late error", b"GET /stream?late=1 HTTP/1.0\r\n", b"", b"HTTP/1.1 200",
     b'two\n{"errorDetail":{"message":"boom"},"error":"boom"}\r\n'),
    ("early error", b"GET /stream?early=1&wait=1 HTTP/1.1\r\n" + CLOSE, b"", b"HTTP/1.1 404",
     b'{"message":"nothing there"}\n'),
    ("garbage", b"garbage\r\n", b"", b"HTTP/1.1 400 Bad Request", b""),
    ("huge head", b"GET /_ping HTTP/1.1\r\nX: " + b"y" * (1 << 21) + b"\r\n", b"", b"", b""),
    ("bad length", b"POST /document HTTP/1.1\r\nContent-Length: -1\r\n", b"", b"HTTP/1.1 400", b""),
    ("bad header", b"GET /_ping HTTP/1.1\r\nno colon\r\n", b"", b"HTTP/1.1 400", b""),
    ("bad escape", b"GET /%ff%fe HTTP/1.1\r\n" + CLOSE, b"", b"HTTP/1.1 404", b'found"}\n'),
    ("version words", b"GET /v1.2.3/failing HTTP/1.1\r\n" + CLOSE, b"", b"HTTP/1.1 400", b"\n"),
    ("hijack refused", (b"POST /containers/missing/attach HTTP/1.1\r\nConnection: Upgrade\r\n"
     b"Upgrade: tcp\r\n"), b"", b"HTTP/1.1 404",
     b'\r\n\r\n{"message":"No such container: missing"}\n'),
    ("hijack with a bad length", (b"POST /containers/a/attach HTTP/1.1\r\n"
     b"Content-Length: 999999999999\r\n"), b"", b"HTTP/1.1 400",
     b'{"message":"http: request body too large"}\n'),
]  # fmt: skip


@pytest.mark.parametrize(
    ("head", "body", "starts", "ends"),
    [case[1:] for case in REQUESTS],
    ids=[case[0] for case in REQUESTS],
)
def test_answers(tmp_path: Path, head: bytes, body: bytes, starts: bytes, ends: bytes) -> None:
    async def case(serving: Serving) -> None:
        answer = await serving.ask(head, body)
        assert answer.startswith(starts)
        assert answer.endswith(ends)
        # Whatever was sent, the next client is served.
        assert (await serving.ask(b"GET /_ping HTTP/1.1\r\n" + CLOSE)).endswith(b"OK")

    serve(tmp_path, case)


def test_headers_of_every_answer(tmp_path: Path) -> None:
    async def case(serving: Serving) -> None:
        for target in (b"/_ping", b"/nope", b"/stream", b"/failing"):
            answer = await serving.ask(b"GET " + target + b" HTTP/1.1\r\n" + CLOSE)
            for header in (
                b"Api-Version: 1.50",
                b"Ostype: linux",
                b"Server: Docker/28.2.2 (linux)",
                b"Docker-Experimental: false",
            ):
                assert b"\r\n" + header + b"\r\n" in answer

    serve(tmp_path, case)


def test_upgraded_connection_keeps_early_bytes_and_half_close(tmp_path: Path) -> None:
    async def case(serving: Serving) -> None:
        head = (
            b"POST /v1.41/containers/a/attach HTTP/1.1\r\nConnection: Upgrade\r\n"
            b"Upgrade: tcp\r\nContent-Length: 2\r\n"
        )
        answer = await serving.ask(head, b"{}early", half_close=True)
        assert answer == (
            b"HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\r\n"
            b"Connection: Upgrade\r\nUpgrade: tcp\r\n\r\npending:early;after the end"
        )

    serve(tmp_path, case)


def test_hijack_without_upgrade(tmp_path: Path) -> None:
    async def case(serving: Serving) -> None:
        head = b"POST /containers/a/attach HTTP/1.1\r\nTransfer-Encoding: chunked\r\n"
        answer = await serving.ask(head, b"2\r\n{}\r\n0\r\n\r\nx", half_close=True)
        assert answer == (
            b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\n"
            b"pending:x;after the end"
        )

    serve(tmp_path, case)


def test_bytes_after_the_upgrade(tmp_path: Path) -> None:
    async def case(serving: Serving) -> None:
        def talk() -> bytes:
            with serving.connect() as sock:
                sock.sendall(b"POST /containers/a/attach HTTP/1.1\r\nUpgrade: tcp\r\n\r\n")
                answer = sock.recv(1000)
                while b"pending:;" not in answer:
                    answer += sock.recv(1000)
                sock.sendall(b"hello")
                answer = sock.recv(1000)
                sock.shutdown(socket.SHUT_WR)
                while piece := sock.recv(1000):
                    answer += piece
                return answer

        assert await asyncio.to_thread(talk) == b"got:hello;after the end"

    serve(tmp_path, case)


def test_a_body_that_nobody_reads(tmp_path: Path) -> None:
    async def case(serving: Serving) -> None:
        head = b"POST /unread HTTP/1.1\r\nContent-Length: 5000000\r\n"
        assert (await serving.ask(head, b"x" * 5_000_000)).startswith(b"HTTP/1.1 204")
        waiting = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        if waiting:
            _, left = await asyncio.wait(waiting, timeout=5)
            assert not left

    serve(tmp_path, case)


def test_keep_alive(tmp_path: Path) -> None:
    async def case(serving: Serving) -> None:
        def talk() -> None:
            with serving.connect() as sock:
                for _ in range(3):
                    sock.sendall(b"HEAD /_ping HTTP/1.1\r\n\r\n")
                    assert sock.recv(1000).endswith(b"\r\n\r\n")
                    sock.sendall(b"DELETE /empty HTTP/1.1\r\n\r\n")
                    answer = sock.recv(1000)
                    assert answer.startswith(b"HTTP/1.1 204")
                    assert b"Content-Length" not in answer

        await asyncio.to_thread(talk)

    serve(tmp_path, case)


@pytest.mark.parametrize("head", [b"GET /endless HTTP/1.1\r\n\r\n", b"POST /slow HTTP/1.1\r\n\r\n"])
def test_vanished_client_ends_what_waits_for_it(tmp_path: Path, head: bytes) -> None:
    async def case(serving: Serving) -> None:
        with serving.connect() as sock:
            sock.sendall(head)
            await asyncio.wait_for(serving.began.wait(), 5)
        await asyncio.wait_for(serving.ended.wait(), 5)

    serve(tmp_path, case)


def test_headers_of_a_stream_come_before_its_first_piece(tmp_path: Path) -> None:
    async def case(serving: Serving) -> None:
        def talk() -> bytes:
            with serving.connect() as sock:
                sock.sendall(b"GET /endless HTTP/1.1\r\n\r\n")
                return sock.recv(1000)

        assert (await asyncio.to_thread(talk)).startswith(b"HTTP/1.1 200 OK\r\n")

    serve(tmp_path, case)


@pytest.mark.parametrize(
    "data",
    [
        b"POST /images/load HTTP/1.1\r\nContent-Length: 100\r\n\r\nabc",
        b"POST /document HTTP/1.1\r\nContent-Length: 100\r\n\r\nabc",
        b"POST /containers/a/attach HTTP/1.1\r\nContent-Length: 100\r\n\r\nabc",
        b"POST /images/load HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nabc",
        b"POST /images/load HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc",
        b"GET /_ping HT",
        b"",
    ],
)
def test_cut_off_requests_leave_nothing(tmp_path: Path, data: bytes) -> None:
    async def case(serving: Serving) -> None:
        with serving.connect() as sock:
            sock.sendall(data)
        assert (await serving.ask(b"GET /_ping HTTP/1.1\r\n" + CLOSE)).endswith(b"OK")

    serve(tmp_path, case)


def test_other_users_are_refused() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can be somebody else for a moment")
    place = Path(tempfile.mkdtemp(prefix=f"dl{os.getpid()}-"))
    program = (
        "import os, socket, sys; os.setgid(65534); os.setuid(65534);"
        "s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); print('connected', flush=True);"
        "s.sendall(b'GET /_ping HTTP/1.0\\r\\n\\r\\n'); print(s.recv(100))"
    )

    def widen() -> None:
        # Somebody opened it to everybody, by mistake.
        place.chmod(0o755)
        (place / "s").chmod(0o666)

    async def case(serving: Serving) -> None:
        await asyncio.to_thread(widen)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-c", program, serving.path),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        output, _ = await process.communicate()
        # Closed before or after the request was sent: no answer either way.
        assert output in {b"connected\nb''\n", b"connected\n"}

    try:
        serve(place, case)
    finally:
        shutil.rmtree(place)
