"""Requests to registries that redirect, stall, lie, or are not there."""

from __future__ import annotations

import base64
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from dockerlab.engine.registry.auth import ANONYMOUS, Credentials
from dockerlab.engine.registry.transport import Registry, Rules
from dockerlab.errors import Failed
from tests.engine.registry.conftest import Running
from tests.engine.registry.lying import Lying, Says, Seen, lying

FAST = Rules(delay_s=0.01, tries=3, connect_timeout_s=0.5, read_timeout_s=0.5, longest_delay_s=0.05)
LAB = Credentials(username="lab", password="secret")


def client(address: str, credentials: Credentials = ANONYMOUS) -> Registry:
    return Registry(address, credentials, FAST)


def test_our_own_registry(registry: Running) -> None:
    answer = client(registry.address).document("/v2/_catalog", scopes=())
    assert (answer.status, json.loads(answer.body)) == (200, {"repositories": []})
    by_name = client(registry.address.replace("127.0.0.1", "localhost"))
    assert by_name.base().startswith("http://localhost:")


def test_nobody_there() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
        with pytest.raises(Failed) as caught:
            client(f"127.0.0.1:{port}").base()
    assert caught.value.message == (
        f'Get "http://127.0.0.1:{port}/v2/": dial tcp 127.0.0.1:{port}: connect: connection refused'
    )


def test_unknown_host() -> None:
    with pytest.raises(Failed, match=r'Get "https://no\.invalid/v2/": dial tcp: lookup no'):
        client("no.invalid").base()


@pytest.fixture
def other() -> Iterator[Lying]:
    with lying(lambda seen: Says(body=b"from elsewhere")) as server:
        yield server


def test_a_redirect_to_another_host_carries_no_secret(other: Lying) -> None:
    def answer(seen: Seen) -> Says:
        if seen.path == "/v2/":
            return Says(401, headers={"WWW-Authenticate": 'Basic realm="x"'})
        if seen.path == "/v2/near":
            return Says(307, headers={"Location": "/v2/far"})
        return Says(302, headers={"Location": f"{other.url}/blob?sig=1"})

    with lying(answer) as server:
        registry = client(server.address, LAB)
        with registry.open("GET", "/v2/near", scopes=(), headers={"Range": "bytes=2-"}) as reply:
            assert reply.content == b"from elsewhere"
        basic = "Basic " + base64.b64encode(b"lab:secret").decode()
        assert [seen.headers.get("Authorization") for seen in server.seen] == [None, basic, basic]
    assert [seen.path for seen in other.seen] == ["/blob?sig=1"]
    assert "Authorization" not in other.seen[0].headers
    assert other.seen[0].headers["Range"] == "bytes=2-"
    assert other.seen[0].headers["Accept-Encoding"] == "identity"


def test_redirects_that_loop_or_leave_http_end() -> None:
    def answer(seen: Seen) -> Says:
        target = "file:///etc/passwd" if seen.path == "/v2/file" else "/v2/loop"
        return Says(200 if seen.path == "/v2/" else 302, headers={"Location": target})

    with lying(answer) as server:
        with pytest.raises(Failed, match="stopped after 10 redirects"):
            client(server.address).document("/v2/loop", scopes=())
        with pytest.raises(Failed, match="refusing the redirect"):
            client(server.address).document("/v2/file", scopes=())


def test_busy_servers_are_asked_again() -> None:
    replies = [
        Says(429, headers={"Retry-After": "0"}),
        Says(503, b"<html>later</html>"),
        Says(200, b"at last"),
    ]
    with lying(lambda seen: Says() if seen.path == "/v2/" else replies.pop(0)) as server:
        assert client(server.address).document("/v2/x", scopes=()).body == b"at last"
    with lying(lambda seen: Says(200 if seen.path == "/v2/" else 503)) as server:
        assert client(server.address).document("/v2/x", scopes=()).status == 503
        assert len(server.seen) == 1 + FAST.tries


def test_answers_are_bounded() -> None:
    with (
        lying(lambda seen: Says(body=b"x" * 100_000)) as server,
        pytest.raises(Failed, match="larger than 1000 bytes"),
    ):
        client(server.address).document("/v2/x", scopes=(), limit=1000)


def test_a_server_that_says_nothing_times_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(Failed, match="timeout awaiting response"):
            client(f"127.0.0.1:{port}").base()


def test_token_server_and_expiry() -> None:
    issued: list[str] = []

    def answer(seen: Seen) -> Says:
        if seen.path.startswith("/token"):
            issued.append(seen.path)
            return Says(body=json.dumps({"token": f"t{len(issued)}"}).encode())
        given = seen.headers.get("Authorization")
        # The first token is good for one request, as if it had expired early.
        good = {"/v2/a": "Bearer t1", "/v2/b": "Bearer t2"}.get(seen.path)
        if given is not None and given == good:
            return Says(body=b"yes")
        realm = f'Bearer realm="http://{seen.headers["Host"]}/token",service="s"'
        return Says(401, headers={"WWW-Authenticate": realm})

    with lying(answer) as server:
        registry = client(server.address)
        scopes = ("repository:a:pull", "repository:b:pull")
        assert registry.document("/v2/a", scopes=scopes).body == b"yes"
        assert registry.document("/v2/b", scopes=scopes).body == b"yes"
        assert registry.document("/v2/c", scopes=scopes).status == 401
        assert "scope=repository%3Aa%3Apull&scope=repository%3Ab%3Apull" in issued[0]


def test_netrc_and_cookies_are_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login a password b\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with lying(lambda seen: Says(headers={"Set-Cookie": "track=1"})) as server:
        registry = client(server.address)
        registry.document("/v2/x", scopes=())
        registry.document("/v2/x", scopes=())
        for seen in server.seen:
            assert "Authorization" not in seen.headers
            assert "Cookie" not in seen.headers
