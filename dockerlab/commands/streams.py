"""Streams of a Docker host: the only file that touches docker-py's private parts.

Knows:   how to read frames, JSON lines and hijacked connections so that they can be cut short.
Refuses: to interpret what comes; nothing here waits where an interrupt could not reach it.
Source:  docker-py api/client.py; the API's "Attach to a container" (8-byte headers).
"""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Generator, Iterator, Mapping
from typing import Any

from dockerlab.commands.failures import translated, unreachable
from dockerlab.errors import Failed
from dockerlab.wire.frames import HEADER_BYTES, parse_header

_CHUNK = 65536


class Connection:
    """A hijacked connection: frames (or raw bytes of a terminal) in, bytes out."""

    def __init__(self, response: Any, *, tty: bool) -> None:
        self._response = response
        self._tty = tty
        # The buffered reader, not the raw socket below it: bytes may have come with the head.
        self._reader = response.raw._fp.fp  # noqa: SLF001 - docker-py offers no other way
        raw = self._reader.raw
        self._socket: socket.socket = getattr(raw, "_sock", None) or raw.sock
        self._socket.settimeout(None)

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        if self._tty:
            while data := self._reader.read1(_CHUNK):
                yield 1, data
            return
        while len(header := self._reader.read(HEADER_BYTES)) == HEADER_BYTES:
            stream, length = parse_header(header)
            while length > 0:
                data = self._reader.read1(min(length, _CHUNK))
                if not data:
                    return
                length -= len(data)
                yield stream, data

    def fileno(self) -> int:
        return self._socket.fileno()

    def write(self, data: bytes) -> None:
        self._socket.sendall(data)

    def end_input(self) -> None:
        """Tell the program that its standard input has ended; its output goes on."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Cut the connection; also from another thread, whose iteration then ends."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        for each in (self._response, self._reader, self._socket):
            with contextlib.suppress(OSError, ValueError):
                each.close()


class Streams:
    """The long answers of one host, through a client without a time limit."""

    def __init__(self, api: Any, where: str) -> None:
        self._api = api
        self._where = where

    def close(self) -> None:
        """Let the host's connections go."""
        self._api.close()

    def attach(self, container: str, *, stdin: bool = False, tty: bool = False) -> Connection:
        params = {"stream": 1, "stdout": 1, "stderr": 1, "stdin": int(stdin)}
        with translated(self._where):
            response = self._api._post(  # noqa: SLF001 - see the file's first line
                self._api._url("/containers/{0}/attach", container),  # noqa: SLF001
                params=params,
                headers={"Connection": "Upgrade", "Upgrade": "tcp"},
                stream=True,
            )
            self._api._raise_for_status(response)  # noqa: SLF001
        return Connection(response, tty=tty)

    def start_exec(self, identifier: str, *, tty: bool = False) -> Connection:
        with translated(self._where):
            response = self._api._post_json(  # noqa: SLF001
                self._api._url("/exec/{0}/start", identifier),  # noqa: SLF001
                data={"Tty": tty, "Detach": False},
                headers={"Connection": "Upgrade", "Upgrade": "tcp"},
                stream=True,
            )
            self._api._raise_for_status(response)  # noqa: SLF001
        return Connection(response, tty=tty)

    def logs(
        self, container: str, params: Mapping[str, object], *, tty: bool
    ) -> Iterator[tuple[int, bytes]]:
        """Frames of a log, while they come when `follow` is among the params."""
        with translated(self._where):
            response = self._api._get(  # noqa: SLF001
                self._api._url("/containers/{0}/logs", container),  # noqa: SLF001
                params=dict(params),
                stream=True,
            )
            self._api._raise_for_status(response)  # noqa: SLF001
        return self._log_frames(response, tty=tty)

    def _log_frames(self, response: Any, *, tty: bool) -> Iterator[tuple[int, bytes]]:
        with contextlib.closing(response):
            if tty:
                for data in response.iter_content(None):
                    yield 1, data
                return
            read = response.raw.read
            while len(header := read(HEADER_BYTES)) == HEADER_BYTES:
                stream, length = parse_header(header)
                data = read(length)
                if data:
                    yield stream, data

    def documents(
        self, method: str, path: str, *names: str, **request: Any
    ) -> Generator[dict[str, Any], None, None]:
        """The JSON messages of `path`, as they come: pull, push, build, load, events, stats.

        The request is made now, and its head has been read when this returns.
        """
        with translated(self._where):
            response = getattr(self._api, f"_{method}")(
                self._api._url(path, *names),  # noqa: SLF001
                stream=True,
                **request,
            )
            self._api._raise_for_status(response)  # noqa: SLF001
        return self._messages(response)

    def _messages(self, response: Any) -> Generator[dict[str, Any], None, None]:
        decoder, text = json.JSONDecoder(), ""
        with contextlib.closing(response):
            for data in self._pieces(response):
                text += data.decode("utf-8", "replace")
                while text := text.lstrip():
                    try:
                        document, end = decoder.raw_decode(text)
                    except ValueError:
                        break  # the rest of this message is still on its way
                    text = text[end:]
                    if isinstance(document, dict):
                        yield document
        if text.strip():
            raise Failed(
                f"{self._where} ended its answer in the middle of a message",
                hint="The host may have stopped: %docker version",
            )

    def _pieces(self, response: Any) -> Iterator[bytes]:
        from urllib3.exceptions import HTTPError  # noqa: PLC0415 - comes with docker

        try:
            yield from response.raw.stream(_CHUNK, decode_content=True)
        except HTTPError as error:  # a host that was killed ends in the middle of a chunk
            raise unreachable(self._where) from error

    def content(self, path: str, *names: str, **request: Any) -> Iterator[bytes]:
        """The bytes of an archive, as they come."""
        with translated(self._where):
            response = self._api._get(  # noqa: SLF001
                self._api._url(path, *names),  # noqa: SLF001
                stream=True,
                **request,
            )
            self._api._raise_for_status(response)  # noqa: SLF001
        return self._chunks(response)

    def _chunks(self, response: Any) -> Iterator[bytes]:
        with contextlib.closing(response):
            yield from response.raw.stream(_CHUNK * 16, decode_content=True)

    def path_stat(self, container: str, path: str) -> dict[str, Any] | None:
        """What a path in a container is, links not followed; None where there is nothing."""
        from docker.utils import decode_json_header  # noqa: PLC0415 - 100 ms, at first use

        with translated(self._where):
            response = self._api.head(
                self._api._url("/containers/{0}/archive", container),  # noqa: SLF001
                params={"path": path},
            )
            header = response.headers.get("X-Docker-Container-Path-Stat")
            if header:
                found: dict[str, Any] = decode_json_header(header)
                return found
            if response.status_code != 404:
                self._api._raise_for_status(response)  # noqa: SLF001
            # A HEAD has no body: whether it is the container that is missing, only this tells.
            self._api.inspect_container(container)
        return None

    def document(self, path: str, *names: str) -> Any:
        """One JSON document from a path outside Docker's API; None where the host has no such."""
        with translated(self._where):
            response = self._api._get(  # noqa: SLF001
                self._api._url(path, *names, versioned_api=False)  # noqa: SLF001
            )
        return response.json() if response.ok else None

    def registry_headers(self, repository: str) -> dict[str, str]:
        """The X-Registry-Auth header for where `repository` lives, if credentials are known."""
        from docker import auth  # noqa: PLC0415 - 100 ms, at first use

        with translated(self._where):
            registry, _ = auth.resolve_repository_name(repository)
            header = auth.get_config_header(self._api, registry)
        return {"X-Registry-Auth": _text(header)} if header else {}

    def all_credentials(self) -> dict[str, str]:
        """The X-Registry-Config header: a build may pull from any registry."""
        headers: dict[str, Any] = {}
        with translated(self._where):
            self._api._set_auth_headers(headers)  # noqa: SLF001
        return {name: _text(value) for name, value in headers.items()}


def _text(value: str | bytes) -> str:
    return value.decode("ascii") if isinstance(value, bytes) else value
