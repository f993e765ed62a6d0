"""The routes of the engine as a whole, as a client without any library sees them."""

from __future__ import annotations

import http.client
import json
import socket
from typing import Any

import pytest


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Any) -> None:
        super().__init__("localhost", timeout=20)
        self.path = str(path)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def ask(engine: Any, method: str, target: str, body: Any = None) -> tuple[int, Any]:
    connection = UnixConnection(engine.socket)
    headers = {"Content-Type": "application/json"} if body is not None else {}
    try:
        connection.request(method, target, json.dumps(body) if body is not None else None, headers)
        answer = connection.getresponse()
        text = answer.read()
    finally:
        connection.close()
    return answer.status, json.loads(text) if text[:1] in {b"{", b"["} else text


def test_ping(engine: Any) -> None:
    connection = UnixConnection(engine.socket)
    for method, body in (("HEAD", b""), ("GET", b"OK")):
        connection.request(method, "/_ping")
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (200, body)
        assert answer.headers["Api-Version"] == "1.50"
        assert answer.headers["Builder-Version"] == "1"
        assert answer.headers["Swarm"] == "inactive"
        assert answer.headers["Cache-Control"] == "no-cache, no-store, must-revalidate"
        assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    connection.close()


def test_version(engine: Any) -> None:
    status, document = ask(engine, "GET", "/v1.24/version")
    assert status == 200
    assert (document["ApiVersion"], document["MinAPIVersion"]) == ("1.50", "1.24")
    assert document["Components"][0]["Details"]["ApiVersion"] == "1.50"
    assert document["Os"] == "linux"


@pytest.mark.parametrize(
    ("version", "there", "absent"),
    [
        ("1.40", "BridgeNfIptables", "DefaultAddressPools"),
        ("1.44", "CDISpecDirs", "FirewallBackend"),
        ("1.50", "DiscoveredDevices", "BridgeNfIptables"),
    ],
)
def test_info_by_version(engine: Any, version: str, there: str, absent: str) -> None:
    status, document = ask(engine, "GET", f"/v{version}/info")
    assert status == 200
    assert there in document
    assert absent not in document
    for name in ("Plugins", "Swarm", "ContainerdCommit", "RuncCommit", "InitCommit"):
        assert isinstance(document[name], dict)
    assert document["DockerRootDir"] == str(engine.root)


def test_swarm_is_elsewhere(engine: Any) -> None:
    for target in ("/services", "/v1.41/nodes/abc", "/secrets", "/swarm"):
        status, document = ask(engine, "GET", target)
        assert status == 503
        assert document["message"].startswith("This node is not a swarm manager.")
    assert ask(engine, "POST", "/swarm/init", {})[0] == 501


def test_plugins(engine: Any) -> None:
    assert ask(engine, "GET", "/plugins") == (200, [])
    assert ask(engine, "GET", "/plugins/x/json")[0] == 404


def test_auth_refuses_what_no_registry_could_mean(engine: Any) -> None:
    assert ask(engine, "POST", "/auth")[0] == 400
    status, document = ask(engine, "POST", "/auth", {"serveraddress": "a b"})
    assert status == 400
    assert "invalid registry address" in document["message"]


def test_events_that_are_over(engine: Any) -> None:
    # Long before this engine: other tests share it, and it remembers.
    assert ask(engine, "GET", "/events?since=1&until=2") == (200, b"")
    assert ask(engine, "GET", "/events?until=0") == (200, b"")
    status, document = ask(engine, "GET", "/events?since=yesterday")
    assert status == 400
    assert document["message"] == 'failed to parse value as time or duration: "yesterday"'
    status, document = ask(engine, "GET", "/events?filters=nonsense")
    assert (status, document["message"]) == (400, "invalid filter")


def test_layers_of_a_missing_image(engine: Any) -> None:
    status, document = ask(engine, "GET", "/dockerlab/v1/images/no/such/layers")
    assert (status, document["message"]) == (404, "No such image: no/such:latest")


def test_usage(engine: Any) -> None:
    status, document = ask(engine, "GET", "/v1.41/system/df?type=ignored")
    assert status == 200
    assert {"LayersSize", "Images", "Containers", "Volumes", "BuildCache"} <= set(document)
    status, document = ask(engine, "GET", "/system/df?type=volume")
    assert (document["Images"], type(document["Volumes"])) == (None, list)
    status, document = ask(engine, "GET", "/system/df?type=foo")
    assert (status, document["message"]) == (400, "unknown object type: foo")
