"""Attach, by bytes on the socket: history and live output, websockets, who leaves early."""

from __future__ import annotations

import base64
import json
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.raw import Raw, close_all, wait_for_output

docker = pytest.importorskip("docker")

_PATIENCE_S = 20


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    close_all()


@pytest.fixture(scope="module")
def api(host: str, starter: str) -> Iterator[Any]:
    client = docker.APIClient(base_url=host, timeout=60)
    if starter not in [tag for one in client.images() for tag in one["RepoTags"] or ()]:
        client.pull(starter)
    yield client
    client.close()


@pytest.fixture
def made(api: Any, starter: str, name: str) -> Iterator[Callable[..., str]]:
    """Create containers; they are removed in the end."""
    names: list[str] = []

    def create(script: str, **options: Any) -> str:
        names.append(f"{name}-{len(names)}")
        api.create_container(starter, ["sh", "-c", script], name=names[-1], **options)
        return names[-1]

    yield create
    for one in names:
        try:
            api.remove_container(one, force=True, v=True)
        except docker.errors.NotFound:
            continue


_UPGRADE = ("Upgrade: tcp", "Connection: Upgrade", "Content-Length: 0")


def _attach(host: str, name: str, query: str, *headers: str, version: str = "1.1") -> Raw:
    path = f"POST /v1.41/containers/{name}/attach?{query}"
    return Raw(host, path, *(headers or _UPGRADE), version=version)


def _text(framed: bytes) -> bytes:
    text = b""
    while framed:
        size = struct.unpack(">L", framed[4:8])[0]
        text += framed[8 : 8 + size]
        framed = framed[8 + size :]
    return text


def test_history_and_live_meet_without_a_seam(api, host, made):
    if os.environ.get("CONFORMANCE_HOST"):
        pytest.skip("dockerd loses what is printed between the two")
    script = "i=0; while [ $i -lt 6000 ]; do echo line $i; i=$((i+1)); done; sleep 1"
    name = made(script)
    api.start(name)
    seen: list[bytes] = []

    def look() -> None:
        raw = _attach(host, name, "logs=1&stream=1&stdout=1&stderr=1")
        raw.answer()
        seen.append(_text(raw.until()))

    lookers = [threading.Thread(target=look) for _ in range(6)]
    for one in lookers:
        one.start()
        time.sleep(0.02)  # spread over the program's life
    for one in lookers:
        one.join()
    expected = b"".join(b"line %d\n" % number for number in range(6000))
    # The program rests before it ends, so that every looker finds it: who comes later waits.
    assert [text == expected for text in seen] == [True] * len(seen)


def test_a_begun_line_is_in_the_history(api, host, made):
    if os.environ.get("CONFORMANCE_HOST"):
        pytest.skip("dockerd keeps a begun line from its log")
    name = made("echo whole; printf begun; read x; echo ' ended'", stdin_open=True)
    api.start(name)
    first = _attach(host, name, "logs=1&stream=1&stdout=1&stdin=1")
    first.answer()
    first.until(b"begun")
    second = _attach(host, name, "logs=1&stream=1&stdout=1")
    second.answer()
    assert _text(second.until(b"begun")) == b"whole\nbegun"
    first.sock.sendall(b"go\n")
    assert _text(second.until()) == b"whole\nbegun ended\n"


def test_logs_alone_end_at_once(api, host, made):
    name = made("echo out; sleep 60")
    api.start(name)
    wait_for_output(host, name)
    raw = _attach(host, name, "logs=1&stdout=1")
    raw.answer()
    assert _text(raw.until()) == b"out\n"


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_without_an_upgrade_it_is_a_raw_stream(api, host, made, version):
    name = made("cat", stdin_open=True)
    api.inspect_container(name)
    raw = _attach(host, name, "stream=1&stdin=1&stdout=1", "Content-Length: 0", version=version)
    head = raw.answer()
    assert head.startswith("HTTP/1.1 200 OK")
    assert "Content-Type: application/vnd.docker.raw-stream" in head
    api.start(name)
    raw.sock.sendall(b"hello\n")
    assert _text(raw.until(b"hello\n")) == b"hello\n"


def test_who_waits_for_a_start_is_told_of_the_removal(api, host, made):
    if os.environ.get("CONFORMANCE_HOST"):
        pytest.skip("dockerd lets such a client wait for ever")
    name = made("true")
    raw = _attach(host, name, "stream=1&stdout=1")
    raw.answer()
    api.remove_container(name)
    assert raw.until() == b""


def _descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def test_who_leaves_before_the_start_leaves_nothing(api, host, made, request):
    if os.environ.get("CONFORMANCE_HOST"):
        pytest.skip("looks into our own engine")
    pid = json.loads((request.getfixturevalue("engine").run / "engine.pid").read_text())["pid"]
    name = made("echo out")
    before = _descriptors(pid)
    waiting = [_attach(host, name, "stream=1&stdout=1") for _ in range(20)]
    for one in waiting:
        one.answer()
    assert _descriptors(pid) >= before + 20
    half = _attach(host, name, "stream=1&stdout=1&stdin=1")
    half.answer()
    half.sock.shutdown(socket.SHUT_WR)
    for one in waiting:
        one.close()
    deadline = time.monotonic() + _PATIENCE_S
    while _descriptors(pid) > before + 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert _descriptors(pid) <= before + 4
    api.start(name)
    assert _text(half.until()) == b"out\n"


def test_detach_keys_leave_a_terminal(api, host, made):
    name = made("cat", stdin_open=True, tty=True)
    api.start(name)
    since = time.time()
    raw = _attach(host, name, "stream=1&stdin=1&stdout=1&detachKeys=ctrl-a,x")
    raw.answer()
    raw.sock.sendall(b"one\n\x01")
    raw.until(b"one\r\none\r\n")
    raw.sock.sendall(b"x")
    raw.until()
    raw.close()
    assert api.inspect_container(name)["State"]["Running"]
    events = api.events(
        since=since, until=time.time() + 1, decode=True, filters={"container": name}
    )
    assert [event["Action"] for event in events] == ["attach", "detach"]


def test_an_execs_bytes_are_no_keys_without_a_terminal(api, host, made):
    name = made("sleep 60")
    api.start(name)
    exec_id = api.exec_create(name, ["cat"], stdin=True)["Id"]
    body = json.dumps({"Detach": False, "Tty": False})
    raw = Raw(
        host,
        f"POST /v1.41/exec/{exec_id}/start",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        "Upgrade: tcp",
        "Connection: Upgrade",
    )
    raw.sock.sendall(body.encode())
    raw.answer()
    raw.sock.sendall(b"\x10\x11 and more\n")
    raw.sock.shutdown(socket.SHUT_WR)
    assert _text(raw.until()) == b"\x10\x11 and more\n"


def _masked(opcode: int, payload: bytes) -> bytes:
    mask = os.urandom(4)
    size = len(payload)
    length = bytes((0x80 | size,)) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
    mixed = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
    return bytes((0x80 | opcode,)) + length + mask + mixed


def _websocket(host: str, name: str, query: str, api_version: str = "v1.41") -> Raw:
    key = base64.b64encode(os.urandom(16)).decode()
    raw = Raw(
        host,
        f"GET /{api_version}/containers/{name}/attach/ws?{query}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {key}",
        "Sec-WebSocket-Version: 13",
        "Origin: http://docker",
    )
    assert raw.answer().startswith("HTTP/1.1 101 Switching Protocols")
    return raw


def _frames(data: bytes) -> list[tuple[int, bytes]]:
    found = []
    while data:
        size, start = data[1], 2
        if size == 126:
            size, start = int.from_bytes(data[2:4], "big"), 4
        elif size == 127:
            size, start = int.from_bytes(data[2:10], "big"), 10
        found.append((data[0] & 0x0F, data[start : start + size]))
        data = data[start + size :]
    return found


def test_a_websocket_carries_both_directions(api, host, made):
    name = made("read x; echo got $x; echo bad >&2", stdin_open=True)
    api.start(name)
    raw = _websocket(host, name, "stream=1&stdin=1&stdout=1&stderr=1")
    raw.sock.sendall(_masked(2, b"wo") + _masked(2, b"rd\n"))
    frames = _frames(raw.until())
    assert b"".join(data for code, data in frames if code == 2) == b"got word\nbad\n"
    assert {code for code, _ in frames} <= {2, 8}


def test_a_websocket_has_history_too(api, host, made):
    name = made("echo early; read x; echo late", stdin_open=True)
    api.start(name)
    wait_for_output(host, name)
    raw = _websocket(host, name, "logs=1&stream=1&stdin=1&stdout=1")
    raw.until(b"early\n")
    raw.sock.sendall(_masked(2, b"\n"))
    data = b"".join(data for code, data in _frames(raw.until()) if code == 2)
    assert data == b"early\nlate\n"


def test_who_closes_a_websocket_leaves_the_program(api, host, made):
    name = made("cat", stdin_open=True, tty=True)
    api.start(name)
    raw = _websocket(host, name, "stream=1&stdin=1&stdout=1")
    raw.sock.sendall(_masked(2, b"hi\n"))
    raw.until(b"hi\r\n")
    raw.sock.sendall(_masked(8, b"\x03\xe8"))
    raw.until()
    raw.close()
    assert api.inspect_container(name)["State"]["Running"]


def test_from_1_42_a_websocket_chooses_streams(api, host, made):
    if os.environ.get("CONFORMANCE_HOST"):
        pytest.skip("needs an API of 1.42")
    name = made("read x; echo out; echo err >&2", stdin_open=True)
    api.start(name)
    raw = _websocket(host, name, "stream=1&stdin=1&stderr=1", "v1.42")
    raw.sock.sendall(_masked(2, b"\n"))
    assert b"".join(data for code, data in _frames(raw.until()) if code == 2) == b"err\n"


def test_a_log_that_is_not_kept_is_refused_before_the_stream(api, host, made):
    if os.environ.get("CONFORMANCE_HOST"):
        pytest.skip("dockerd says it on the raw connection")
    options = api.create_host_config(log_config={"Type": "none"})
    name = made("sleep 60", host_config=options)
    raw = _attach(host, name, "logs=1&stream=1&stdout=1")
    assert raw.answer().startswith("HTTP/1.1 501")
    assert b"does not support reading" in raw.until()


def test_a_restart_shows_earlier_runs_once(api, host, made):
    name = made("echo run")
    for _ in range(2):
        api.start(name)
        api.wait(name)
    raw = _attach(host, name, "logs=1&stream=1&stdout=1")
    raw.answer()
    raw.until(b"run\n")
    api.start(name)
    said = _text(raw.until())
    if not os.environ.get("CONFORMANCE_HOST"):
        assert said == b"run\n" * 3
