"""Whatever a client asks, the engine answers in words, and goes on."""

from __future__ import annotations

import http.client
import json
import socket
from typing import Any

import pytest

TARGETS = [
    ("GET", "/containers/json?limit=x"),
    ("GET", "/containers/json?limit=-5"),
    ("GET", "/containers/json?filters=%7B%22name%22:%5B%22(%22%5D%7D"),
    ("GET", "/containers/%00/json"),
    ("GET", "/containers/%ff/json"),
    ("GET", "/containers//json"),
    ("GET", "/containers/x/top?ps_args=%00"),
    ("POST", "/containers/x/wait?condition=foo"),
    ("POST", "/containers/x/resize?h=-1&w=99999999999999999999"),
    ("POST", "/containers/x/kill?signal=FOO"),
    ("POST", "/containers/x/attach"),
    ("POST", "/containers/prune?filters=x"),
    ("POST", "/exec/x/start"),
    ("GET", "/images/%00/json"),
    ("GET", "/images/../json"),
    ("GET", "/images/get?names=%00"),
    ("POST", "/images/load"),
    ("POST", "/images/create"),
    ("POST", "/images/create?fromImage=%00"),
    ("POST", "/images/create?fromImage=a:b&platform=x/y/z/w"),
    ("DELETE", "/images/%00"),
    ("GET", "/networks/%00"),
    ("DELETE", "/volumes/..%2f.."),
    ("GET", "/volumes/..%2f..%2fetc"),
    ("POST", "/build?dockerfile=../../x"),
    ("GET", "/dockerlab/v1/images/%00/layers"),
    ("POST", "/session"),
    ("GET", "//"),
    ("OPTIONS", "/_ping"),
]
BODIES: list[Any] = [
    [],
    "text",
    17,
    {"Image": 5, "Name": 5},
    {"Image": "x\0", "Name": "x\0y/../z", "Driver": "../../x"},
    {"Image": "a" * 100_000, "Name": "a" * 100_000, "Driver": "x" * 100_000},
    {"Image": "x", "HostConfig": {"Memory": 2**70}, "Labels": {"a": 1}},
]


def ask(engine: Any, method: str, target: str, body: Any = None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("localhost", timeout=30)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(30)
    connection.sock.connect(str(engine.socket))
    try:
        headers = {"Content-Type": "application/json"} if body is not None else {}
        text = json.dumps(body) if body is not None else None
        connection.request(method, target, text, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def check(engine: Any, status: int, answer: bytes) -> None:
    if status >= 400:
        assert json.loads(answer)["message"]
    assert status < 500, answer
    assert ask(engine, "GET", "/_ping") == (200, b"OK")


@pytest.mark.parametrize(("method", "target"), TARGETS)
def test_targets(engine: Any, method: str, target: str) -> None:
    check(engine, *ask(engine, method, target))


@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
@pytest.mark.parametrize("target", ["/containers/create", "/networks/create", "/exec/x/start"])
def test_bodies(engine: Any, target: str, body: Any) -> None:
    status, answer = ask(engine, "POST", target, body)
    check(engine, status, answer)
    if status == 201:
        ask(engine, "DELETE", f"/networks/{json.loads(answer)['Id']}")


def test_nothing_was_our_own_mistake(engine: Any) -> None:
    for method, target in TARGETS:
        ask(engine, method, target)
    for body in BODIES:
        ask(engine, "POST", "/containers/create", body)
    assert '"traceback"' not in engine.log()
