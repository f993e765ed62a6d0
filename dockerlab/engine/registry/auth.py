"""Who we are to a registry: challenges, credentials, tokens and how long they are good.

Knows:   Basic, Bearer (anonymous, password, identity token), the cache of tokens, renewal.
Refuses: HTTP: `transport.py` passes a function that sends; and to send a secret in the clear.
Source:  distribution docs/spec/auth (token, oauth), RFC 9110 section 11.
"""

from __future__ import annotations

import base64
import binascii
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import msgspec

from dockerlab.errors import Failed, InvalidRequest, Unauthenticated

CLIENT_ID: Final = "docker"  # what token servers expect of this protocol's clients
MINIMUM_LIFE_S: Final = 60
_MAX_HEADER: Final = 64 << 10

_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_SCHEME = re.compile(rf"[\s,]*({_WORD})(?:\s+(?=\S)|\s*(?=,|$))")
_PARAMETER = re.compile(rf'[\s,]*({_WORD})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]*))')


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What a person gave for one registry; all empty means anonymous."""

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    registry_token: str = field(default="", repr=False)

    @property
    def basic(self) -> str:
        """The value of a Basic header, or "" without a user."""
        if not self.username:
            return ""
        pair = f"{self.username}:{self.password}".encode()
        return "Basic " + base64.b64encode(pair).decode()


ANONYMOUS: Final = Credentials()


def credentials_of(document: Mapping[str, Any]) -> Credentials:
    """Read an AuthConfig: user and password may hide in `auth`."""

    def text(key: str) -> str:
        value = document.get(key)
        return value if isinstance(value, str) else ""

    username, password = text("username"), text("password")
    if text("auth") and not username:
        try:
            pair = base64.b64decode(text("auth")).decode()
        except (binascii.Error, ValueError):
            raise InvalidRequest("invalid auth: it is no base64 of user:password") from None
        username, _, password = pair.rstrip("\0").partition(":")
    return Credentials(
        username=username,
        password=password,
        identity_token=text("identitytoken"),
        registry_token=text("registrytoken"),
    )


def parse_header(text: str) -> Credentials:
    """Read X-Registry-Auth: base64url of an AuthConfig, padded or not.

    Raises:
        InvalidRequest: it is no such thing.
    """
    if not text:
        return ANONYMOUS
    try:
        standard = text.replace("-", "+").replace("_", "/") + "=" * (-len(text) % 4)
        raw = base64.b64decode(standard, validate=True)
        document = msgspec.json.decode(raw or b"{}", type=dict[str, Any])
    except (binascii.Error, ValueError, msgspec.MsgspecError):
        raise InvalidRequest("invalid X-Registry-Auth header: invalid JSON") from None
    return credentials_of(document)


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way in that a registry offers; scheme and keys in lower case."""

    scheme: str
    parameters: Mapping[str, str]


def parse_challenges(headers: Iterable[str]) -> list[Challenge]:
    """Read WWW-Authenticate lines: several challenges each, quoted commas, any case."""
    return [challenge for text in headers for challenge in _challenges(text[:_MAX_HEADER])]


def _challenges(text: str) -> Iterator[Challenge]:
    at = 0
    while found := _SCHEME.match(text, at):
        at = found.end()
        parameters: dict[str, str] = {}
        while parameter := _PARAMETER.match(text, at):
            at = parameter.end()
            quoted, bare = parameter[2], parameter[3]
            value = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else bare
            parameters.setdefault(parameter[1].lower(), value)
        yield Challenge(found[1].lower(), parameters)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRequest:
    """One question to a token server: GET with a query, or POST when there is a form."""

    realm: str
    query: tuple[tuple[str, str], ...] = ()
    form: tuple[tuple[str, str], ...] = ()
    authorization: str = field(default="", repr=False)


class Send(Protocol):
    """Sends a token request; returns status and (bounded) body."""

    def __call__(self, request: TokenRequest) -> tuple[int, bytes]: ...


class _Answer(msgspec.Struct):
    token: str = ""
    access_token: str = ""
    expires_in: float | None = None


@dataclass(frozen=True, slots=True)
class _Token:
    value: str
    expires: float


class Authorizer:
    """Gives the Authorization header for one registry and one set of credentials.

    Args:
        credentials: of this registry and no other.
        send: asks a token server.
        trusted: tells whether a secret may travel to a URL (https, or an insecure registry).
    """

    def __init__(
        self,
        credentials: Credentials,
        send: Send,
        trusted: Callable[[str], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._credentials, self._send, self._trusted = credentials, send, trusted
        self._clock = clock
        self._tokens: dict[tuple[str, str, tuple[str, ...]], _Token] = {}
        self._lock = threading.Lock()
        self._challenges: list[Challenge] = []

    def learn(self, challenges: list[Challenge]) -> None:
        """Remember what the registry asks for."""
        if challenges:
            self._challenges = challenges

    def header(self, scopes: tuple[str, ...], *, renew: bool = False) -> str:
        """The header's value, or "" when the registry has not asked for anything.

        Raises:
            Unauthenticated: it asks for something that we don't have.
        """
        if self._credentials.registry_token:
            return "Bearer " + self._credentials.registry_token
        by_scheme = {challenge.scheme: challenge for challenge in reversed(self._challenges)}
        if "bearer" in by_scheme:
            return "Bearer " + self._token(by_scheme["bearer"], scopes, renew=renew)
        if "basic" in by_scheme:
            if not self._credentials.basic:
                raise Unauthenticated(
                    "no basic auth credentials", hint="Log in first: docker login HOST"
                )
            return self._credentials.basic
        if by_scheme:
            raise Unauthenticated(f"unsupported authentication: {', '.join(by_scheme)}")
        return ""

    def _token(self, challenge: Challenge, scopes: tuple[str, ...], *, renew: bool) -> str:
        realm = challenge.parameters.get("realm", "")
        service = challenge.parameters.get("service", "")
        wanted = scopes or tuple(challenge.parameters.get("scope", "").split())
        key = (realm, service, wanted)
        # One question at a time: layers that start together share its answer.
        with self._lock:
            known = self._tokens.get(key)
            if known is None or renew or known.expires <= self._clock():
                known = self._ask(realm, service, wanted)
                self._tokens[key] = known
            return known.value

    def _ask(self, realm: str, service: str, scopes: tuple[str, ...]) -> _Token:
        if not realm.startswith(("https://", "http://")):
            raise Failed(f"invalid token realm: {realm[:200]}")
        credentials = self._credentials
        secret = bool(credentials.identity_token or credentials.basic)
        if secret and not self._trusted(realm):
            raise Failed(
                f"the registry sends us to {realm[:200]} for a token: refusing to send "
                "credentials there unencrypted",
                hint="Use a registry with https, or declare it insecure.",
            )
        status, body = self._exchange(realm, service, scopes)
        if status in {400, 401, 403}:
            raise Unauthenticated(
                _refusal(body) or "unauthorized: authentication required",
                hint="Log in first: docker login HOST",
            )
        if status != 200:
            raise Failed(f"unexpected status from the token server {realm[:200]}: {status}")
        try:
            answer = msgspec.json.decode(body, type=_Answer)
        except msgspec.MsgspecError:
            raise Failed(f"the token server {realm[:200]} does not answer with JSON") from None
        value = answer.token or answer.access_token
        if not value or not value.isprintable():
            raise Failed("authorization server did not include a token in the response")
        life = max(answer.expires_in or MINIMUM_LIFE_S, MINIMUM_LIFE_S)
        # Renewed a little early, as the registry's clock is not ours.
        return _Token(value, self._clock() + life * 0.9)

    def _exchange(self, realm: str, service: str, scopes: tuple[str, ...]) -> tuple[int, bytes]:
        credentials = self._credentials
        authorization = credentials.basic
        if credentials.identity_token:
            form = (
                ("grant_type", "refresh_token"),
                ("refresh_token", credentials.identity_token),
                ("service", service),
                ("client_id", CLIENT_ID),
                ("scope", " ".join(scopes)),
            )
            status, body = self._send(TokenRequest(realm=realm, form=form))
            if status not in {404, 405}:
                return status, body
            # A server without the OAuth form takes the token as a password.
            pair = f"<token>:{credentials.identity_token}".encode()
            authorization = "Basic " + base64.b64encode(pair).decode()
        query = [("service", service)] if service else []
        query += [("scope", scope) for scope in scopes]
        if credentials.username:
            query += [("account", credentials.username)]
        return self._send(
            TokenRequest(realm=realm, query=tuple(query), authorization=authorization)
        )


def _refusal(body: bytes) -> str:
    """The reason a token server gives, in either of its two forms; "" when it gives none."""
    try:
        document = msgspec.json.decode(body, type=dict[str, Any])
    except msgspec.MsgspecError:
        return ""
    for key in ("details", "error_description", "message"):
        if isinstance(document.get(key), str):
            return f"unauthorized: {document[key][:500]}"
    return ""
