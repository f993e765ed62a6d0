"""Challenges, credentials and tokens: no network here."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dockerlab.engine.registry.auth import (
    ANONYMOUS,
    Authorizer,
    Challenge,
    Credentials,
    TokenRequest,
    credentials_of,
    parse_challenges,
    parse_header,
)
from dockerlab.errors import Failed, InvalidRequest, Unauthenticated

BEARER = 'Bearer realm="https://auth.example/token",service="registry",scope="repository:a:pull"'


@pytest.mark.parametrize(
    ("lines", "wanted"),
    [
        ([BEARER], [("bearer", "https://auth.example/token", "repository:a:pull")]),
        (["Basic realm=x"], [("basic", "x", None)]),
        (['BASIC REALM="a, b"'], [("basic", "a, b", None)]),
        (['Basic realm="x", ' + BEARER], [("basic", "x", None), ("bearer",)]),
        (["Negotiate", 'Basic realm="q\\"uote"'], [("negotiate",), ("basic", 'q"uote')]),
        (['bearer  realm = "r" , scope="repository:a:pull,push"'], [("bearer", "r")]),
        ([""], []),
        ([",,"], []),
    ],
)
def test_challenges(lines: list[str], wanted: list[tuple[str, ...]]) -> None:
    found = parse_challenges(lines)
    assert [challenge.scheme for challenge in found] == [want[0] for want in wanted]
    for challenge, want in zip(found, wanted, strict=True):
        if len(want) > 1:
            assert challenge.parameters["realm"] == want[1]
        if len(want) > 2:
            assert challenge.parameters.get("scope") == want[2]


@given(st.text(max_size=200))
def test_any_text_is_read(text: str) -> None:
    parse_challenges([text])


def encode(document: object, *, padded: bool = True) -> str:
    text = base64.urlsafe_b64encode(json.dumps(document).encode()).decode()
    return text if padded else text.rstrip("=")


def test_registry_auth_header() -> None:
    document = {"username": "u", "password": "p?>~", "serveraddress": "x"}
    wanted = Credentials(username="u", password="p?>~")
    assert parse_header(encode(document)) == wanted
    assert parse_header(encode(document, padded=False)) == wanted
    assert parse_header(base64.b64encode(json.dumps(document).encode()).decode()) == wanted
    assert parse_header("") == parse_header("e30=") == ANONYMOUS
    for bad in ("%%%", encode([1]), "YWJj"):
        with pytest.raises(InvalidRequest):
            parse_header(bad)


def test_auth_field_and_secrets_are_not_shown() -> None:
    text = base64.b64encode(b"user:pa:ss\0\0").decode()
    credentials = credentials_of({"auth": text, "identitytoken": "idtoken"})
    assert (credentials.username, credentials.password) == ("user", "pa:ss")
    assert "pa:ss" not in repr(credentials)
    assert "idtoken" not in repr(credentials)


class Server:
    def __init__(self, *answers: tuple[int, object]) -> None:
        self.answers = list(answers)
        self.asked: list[TokenRequest] = []

    def __call__(self, request: TokenRequest) -> tuple[int, bytes]:
        self.asked.append(request)
        status, document = self.answers.pop(0)
        return status, document if isinstance(document, bytes) else json.dumps(document).encode()


def authorizer(
    server: Server, credentials: Credentials = ANONYMOUS, clock: list[float] | None = None
) -> Authorizer:
    moment = clock or [0.0]
    made = Authorizer(
        credentials, server, lambda url: url.startswith("https"), clock=lambda: moment[0]
    )
    made.learn(parse_challenges([BEARER]))
    return made


def test_anonymous_token_is_cached_by_scope_and_renewed_when_old() -> None:
    clock = [0.0]
    server = Server(
        (200, {"token": "one", "expires_in": 300}),
        (200, {"access_token": "two"}),
        (200, {"token": "three"}),
        (200, {"token": "four"}),
    )
    made = authorizer(server, clock=clock)
    pull, push = ("repository:a:pull",), ("repository:a:pull,push",)
    assert [made.header(pull) for _ in range(3)] == ["Bearer one"] * 3
    assert made.header(push) == "Bearer two"
    clock[0] = 301.0
    assert made.header(pull) == "Bearer three"
    assert made.header(pull, renew=True) == "Bearer four"
    assert server.asked[0].query == (("service", "registry"), ("scope", "repository:a:pull"))
    assert server.asked[0].authorization == ""


def test_password_and_identity_token() -> None:
    server = Server((200, {"token": "t"}))
    made = authorizer(server, Credentials(username="u", password="p"))
    assert made.header(("s",)) == "Bearer t"
    assert server.asked[0].authorization == "Basic " + base64.b64encode(b"u:p").decode()
    assert ("account", "u") in server.asked[0].query

    server = Server((404, b""), (200, {"token": "t"}))
    made = authorizer(server, Credentials(identity_token="id"))
    assert made.header(("a", "b")) == "Bearer t"
    assert ("scope", "a b") in server.asked[0].form
    assert ("refresh_token", "id") in server.asked[0].form
    assert server.asked[1].authorization.startswith("Basic ")


def test_what_is_refused() -> None:
    made = authorizer(Server((401, {"details": "incorrect username or password"})))
    with pytest.raises(Unauthenticated, match="incorrect username or password"):
        made.header(())
    for answer in ((200, b"<html>"), (200, {}), (500, b""), (200, {"token": "a\nb"})):
        with pytest.raises(Failed):
            authorizer(Server(answer)).header(())
    made = authorizer(Server(), Credentials(username="u", password="p"))
    made.learn([Challenge("bearer", {"realm": "http://elsewhere/token"})])
    with pytest.raises(Failed, match="unencrypted"):
        made.header(())
    made = authorizer(Server())
    made.learn([Challenge("basic", {"realm": "x"})])
    with pytest.raises(Unauthenticated, match="no basic auth credentials"):
        made.header(())
