"""Our own small real registry: the distribution protocol over HTTP, on loopback by default.

Knows:   paths, statuses, ranges and upload sessions; bodies stream both ways.
Refuses: to touch the disk itself (storage.py), and to start or stop processes (command.py).
Source:  OCI distribution-spec 1.1.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Awaitable
from contextlib import suppress
from http import HTTPStatus
from typing import Any, BinaryIO, Final
from urllib.parse import quote, urlencode

import msgspec
from tornado import web
from tornado.httpserver import HTTPServer
from tornado.ioloop import IOLoop
from tornado.iostream import IOStream, StreamClosedError

from dockerlab.engine.registry.manifest_check import check_manifest
from dockerlab.engine.registry.storage import MAX_MANIFEST_BYTES, Refused, Storage, Upload

CHUNK_BYTES: Final = 256 << 10
MAX_BLOB_BYTES: Final = 64 << 30
MAX_PAGE: Final = 1000
IDLE_S: Final = 300.0
_TLS_GREETING: Final = b"\x16"
_PLAIN_HTTP: Final = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n"
    b"This registry speaks plain HTTP.\n"
)

_STATUS: Final = {
    "BLOB_UNKNOWN": 404,
    "BLOB_UPLOAD_INVALID": 400,
    "BLOB_UPLOAD_UNKNOWN": 404,
    "DIGEST_INVALID": 400,
    "MANIFEST_BLOB_UNKNOWN": 404,
    "MANIFEST_INVALID": 400,
    "MANIFEST_UNKNOWN": 404,
    "NAME_INVALID": 400,
    "NAME_UNKNOWN": 404,
    "RANGE_INVALID": 416,
    "SIZE_INVALID": 400,
    "UNKNOWN": 500,
    "UNSUPPORTED": 405,
}
_NAME = r"(?P<name>.+?)"


class _Handler(web.RequestHandler):
    """What every route shares: the storage, the header old clients look for, error bodies."""

    def initialize(self, storage: Storage, *, read_only: bool) -> None:
        self.storage = storage
        self.read_only = read_only

    def set_default_headers(self) -> None:
        self.clear_header("Server")
        self.set_header("Docker-Distribution-Api-Version", "registry/2.0")

    def prepare(self) -> Awaitable[None] | None:
        if self.read_only and self.request.method not in {"GET", "HEAD"}:
            raise Refused("UNSUPPORTED", "this registry is read-only")
        return None

    def compute_etag(self) -> str | None:
        return None  # digests are the only identity here

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        if not isinstance(value, Refused):
            super().log_exception(typ, value, tb)

    def write_error(self, status_code: int, **context: Any) -> None:
        error = context.get("exc_info", (None, None, None))[1]
        code, message = "UNKNOWN", HTTPStatus(status_code).phrase
        if isinstance(error, Refused):
            code, message = error.code, error.message
            self.set_status(_STATUS[code])
        elif status_code == 405:
            code = "UNSUPPORTED"
        body = {"errors": [{"code": code, "message": message, "detail": None}]}
        # What was not read of the body would be taken for the next request.
        self.set_header("Connection", "close")
        self.finish_json(body)

    def finish_json(self, document: object) -> None:
        self.set_header("Content-Type", "application/json")
        self.finish(msgspec.json.encode(document))

    def page(self, names: list[str], path: str) -> list[str]:
        """The slice that `n` and `last` ask for, with the Link header to the next one."""
        last = self.get_query_argument("last", "")
        text = self.get_query_argument("n", "")
        if text and not text.isascii():
            raise Refused("UNSUPPORTED", "invalid page size")
        if text and not text.isdigit():
            raise Refused("UNSUPPORTED", f"invalid page size: {text[:40]}")
        size = min(int(text[:9]), MAX_PAGE) if text else MAX_PAGE
        rest = [name for name in names if name > last]
        shown = rest[:size]
        if shown and len(rest) > size:
            query = urlencode({"n": size, "last": shown[-1]})
            self.set_header("Link", f'<{path}?{query}>; rel="next"')
        return shown


class _Root(_Handler):
    def get(self) -> None:
        self.finish_json({})

    head = get


class _Catalog(_Handler):
    async def get(self) -> None:
        names = await asyncio.to_thread(self.storage.repositories)
        self.finish_json({"repositories": self.page(names, "/v2/_catalog")})


class _Tags(_Handler):
    def get(self, name: str) -> None:
        tags = self.storage.tags(name)
        self.finish_json({"name": name, "tags": self.page(tags, f"/v2/{name}/tags/list")})


@web.stream_request_body
class _Manifest(_Handler):
    def prepare(self) -> Awaitable[None] | None:
        self._body = bytearray()
        return super().prepare()

    def data_received(self, chunk: bytes) -> None:
        self._body += chunk  # the server's own limit on bodies bounds it

    def get(self, name: str, reference: str) -> None:
        digest, media_type, raw = self.storage.manifest(name, reference)
        self.set_header("Docker-Content-Digest", digest)
        self.set_header("ETag", f'"{digest}"')
        self.set_header("Content-Type", media_type)
        self.set_header("Content-Length", str(len(raw)))
        self.finish(b"" if self.request.method == "HEAD" else raw)

    head = get

    async def put(self, name: str, reference: str) -> None:
        raw = bytes(self._body)
        if len(raw) > MAX_MANIFEST_BYTES:
            raise Refused("MANIFEST_INVALID", "manifest is larger than 4 MiB")
        declared = self.request.headers.get("Content-Type", "")
        media_type = check_manifest(self.storage, name, raw, declared)
        digest = await asyncio.to_thread(
            self.storage.put_manifest, name, reference, media_type, raw
        )
        self.set_header("Docker-Content-Digest", digest)
        self.set_header("Location", f"/v2/{name}/manifests/{digest}")
        self.set_status(201)

    async def delete(self, name: str, reference: str) -> None:
        await asyncio.to_thread(self.storage.delete_manifest, name, reference)
        self.set_status(202)


class _Blob(_Handler):
    async def get(self, name: str, digest: str) -> None:
        size = self.storage.blob_size(name, digest)
        self.set_header("Docker-Content-Digest", digest)
        self.set_header("ETag", f'"{digest}"')
        self.set_header("Accept-Ranges", "bytes")
        self.set_header("Content-Type", "application/octet-stream")
        start, end = self._range(size)
        self.set_header("Content-Length", str(end - start))
        if self.request.method == "HEAD":
            return
        with self.storage.open_blob(name, digest) as file:
            await self._send(file, start, end)

    head = get

    def _range(self, size: int) -> tuple[int, int]:
        """Half-open interval of the bytes asked for; a range we don't read means everything."""
        text = self.request.headers.get("Range", "")
        found = re.fullmatch(r"bytes=(\d{0,15})-(\d{0,15})", text)
        if found is None or found[0] == "bytes=-":
            return 0, size
        first, last = found[1], found[2]
        if first:
            start, end = int(first), min(int(last) + 1, size) if last else size
        else:
            start, end = max(size - int(last), 0), size
        if start >= end:
            self.set_header("Content-Range", f"bytes */{size}")
            raise Refused("RANGE_INVALID", f"requested range is not satisfiable: {text}")
        self.set_header("Content-Range", f"bytes {start}-{end - 1}/{size}")
        self.set_status(206)
        return start, end

    async def _send(self, file: BinaryIO, start: int, end: int) -> None:
        file.seek(start)
        while start < end:
            data = await asyncio.to_thread(file.read, min(CHUNK_BYTES, end - start))
            start += len(data)
            self.write(data)
            try:
                await self.flush()  # the other side's pace is ours
            except StreamClosedError:
                return

    async def delete(self, name: str, digest: str) -> None:
        await asyncio.to_thread(self.storage.delete_blob, name, digest)
        self.set_status(202)


@web.stream_request_body
class _Uploads(_Handler):
    """Start of an upload: a session, a mount, or (with `digest`) the whole blob at once."""

    _upload: Upload | None = None

    def prepare(self) -> Awaitable[None] | None:
        super().prepare()
        self.request.connection.set_max_body_size(MAX_BLOB_BYTES)  # type: ignore[union-attr]
        if self.get_query_argument("digest", ""):
            self._upload = self.storage.start_upload(self.path_kwargs["name"])
        return None

    async def data_received(self, chunk: bytes) -> None:
        if self._upload is not None:
            await _append(self._upload, chunk)

    def on_connection_close(self) -> None:
        if self._upload is not None:
            self.storage.cancel_upload(self._upload)

    async def post(self, name: str) -> None:
        if self._upload is not None:
            digest = self.get_query_argument("digest")
            await asyncio.to_thread(self.storage.finish_upload, self._upload, digest)
            return _created(self, name, digest)
        digest, source = self.get_query_argument("mount", ""), self.get_query_argument("from", "")
        if digest and source and self.storage.mount(name, digest, source):
            return _created(self, name, digest)
        return _session(self, self.storage.start_upload(name))


@web.stream_request_body
class _Upload(_Handler):
    """One session: PATCH adds, PUT finishes, GET tells, DELETE gives up."""

    _upload: Upload
    _held = False

    def prepare(self) -> Awaitable[None] | None:
        super().prepare()
        self.request.connection.set_max_body_size(MAX_BLOB_BYTES)  # type: ignore[union-attr]
        upload = self.storage.upload(self.path_kwargs["name"], self.path_kwargs["identity"])
        if upload.busy:
            raise Refused("BLOB_UPLOAD_INVALID", "another request is writing to this upload")
        text = self.request.headers.get("Content-Range", "")
        if text and self.request.method in {"PATCH", "PUT"}:
            found = re.fullmatch(r"(?:bytes[ =])?(\d{1,15})-(\d{1,15})(?:/.*)?", text)
            if found is None or int(found[1]) != upload.size:
                self.set_header("Range", f"0-{max(upload.size - 1, 0)}")
                raise Refused("RANGE_INVALID", f"chunk out of order: {text[:80]}")
        self._upload, self._held = upload, True
        upload.busy = True
        return None

    async def data_received(self, chunk: bytes) -> None:
        await _append(self._upload, chunk)

    def on_finish(self) -> None:
        self._release()

    def on_connection_close(self) -> None:
        self._release()  # what arrived stays; the client may ask and go on

    def _release(self) -> None:
        if self._held:
            self._held = self._upload.busy = False

    def get(self, name: str, identity: str) -> None:  # noqa: ARG002 - the route's names
        _session(self, self._upload, status=204)

    def patch(self, name: str, identity: str) -> None:  # noqa: ARG002 - the route's names
        self.storage.check_upload(self._upload)
        _session(self, self._upload)

    async def put(self, name: str, identity: str) -> None:  # noqa: ARG002 - the route's names
        digest = self.get_query_argument("digest", "")
        await asyncio.to_thread(self.storage.finish_upload, self._upload, digest)
        _created(self, name, digest)

    def delete(self, name: str, identity: str) -> None:  # noqa: ARG002 - the route's names
        self.storage.cancel_upload(self._upload)
        self.set_status(204)


async def _append(upload: Upload, chunk: bytes) -> None:
    """Add to an upload; what goes wrong (a full disk) is told when the body is through."""
    if upload.failure is None:
        try:
            await asyncio.to_thread(upload.append, chunk)
        except OSError as error:
            upload.failure = error


class _Unknown(_Handler):
    def prepare(self) -> None:
        raise web.HTTPError(404)


def _session(handler: _Handler, upload: Upload, *, status: int = 202) -> None:
    handler.set_status(status)
    handler.set_header("Location", f"/v2/{upload.repository}/blobs/uploads/{upload.identity}")
    handler.set_header("Docker-Upload-UUID", upload.identity)
    handler.set_header("Range", f"0-{max(upload.size - 1, 0)}")
    if status == 202:
        handler.set_header("Content-Length", "0")


def _created(handler: _Handler, name: str, digest: str) -> None:
    handler.set_status(201)
    handler.set_header("Location", f"/v2/{name}/blobs/{quote(digest, safe=':')}")
    handler.set_header("Docker-Content-Digest", digest)
    handler.set_header("Content-Length", "0")


def application(storage: Storage, *, read_only: bool = False) -> web.Application:
    """The routes. Names are greedy from the right, as repositories may be called `blobs/x`."""
    context = {"storage": storage, "read_only": read_only}
    routes: list[tuple[str, type[_Handler]]] = [
        (r"/v2/?", _Root),
        (r"/v2/_catalog", _Catalog),
        (rf"/v2/{_NAME}/tags/list", _Tags),
        (rf"/v2/{_NAME}/blobs/uploads/", _Uploads),
        (rf"/v2/{_NAME}/blobs/uploads", _Uploads),
        (rf"/v2/{_NAME}/blobs/uploads/(?P<identity>[^/]+)", _Upload),
        (rf"/v2/{_NAME}/blobs/(?P<digest>[^/]+)", _Blob),
        (rf"/v2/{_NAME}/manifests/(?P<reference>[^/]+)", _Manifest),
    ]
    return web.Application(
        [(path, handler, context) for path, handler in routes],
        default_handler_class=_Unknown,
        default_handler_args=context,
        log_function=lambda _handler: None,
    )


class _Server(HTTPServer):
    """Tells clients that try TLS first (docker does) at once that this is plain HTTP.

    To a reader of lines a TLS greeting is the beginning of a line that never ends.
    """

    def handle_stream(self, stream: IOStream, address: tuple[Any, ...]) -> None:
        """Look at the first byte of a connection before anybody reads it."""
        loop = asyncio.get_running_loop()
        descriptor = stream.fileno()
        serve = super().handle_stream

        def look() -> None:
            try:
                first = stream.socket.recv(1, socket.MSG_PEEK)
            except BlockingIOError:
                return
            except OSError:
                first = b""
            waiting.cancel()
            loop.remove_reader(descriptor)
            if first == _TLS_GREETING:
                IOLoop.current().spawn_callback(_refuse, stream)
            else:
                serve(stream, address)

        def give_up() -> None:
            loop.remove_reader(descriptor)
            stream.close()

        waiting = loop.call_later(IDLE_S, give_up)
        loop.add_reader(descriptor, look)


async def _refuse(stream: IOStream) -> None:
    """Read what was said first: closing over unread bytes would drop our answer."""
    with suppress(StreamClosedError):
        await stream.read_bytes(CHUNK_BYTES, partial=True)
        await stream.write(_PLAIN_HTTP)
    stream.close()


def http_server(storage: Storage, *, read_only: bool = False) -> HTTPServer:
    """A server that only needs sockets; the caller listens, and stops it."""
    return _Server(
        application(storage, read_only=read_only),
        max_body_size=2 * MAX_MANIFEST_BYTES,
        chunk_size=CHUNK_BYTES,
        idle_connection_timeout=IDLE_S,
        body_timeout=None,
    )
