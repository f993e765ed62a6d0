"""What a registry answered, and how Docker says that it went wrong.

Knows:   the error documents of registries, and Go's words for connections that fail.
Refuses: to decide on retries (transport.py, download.py).
Source:  moby distribution/errors.go; distribution registry/api/errcode.
"""

from __future__ import annotations

import errno
import re
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
import requests
import urllib3

from dockerlab.errors import DockerlabError, Failed, NotFound, Unauthenticated
from dockerlab.oci.names import Reference

DENIED: Final = "requested access to the resource is denied"


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryAnswer:
    """A whole, small answer."""

    status: int
    url: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def retry_after_s(self) -> float:
        """What a busy registry asks us to wait; 0 when it says nothing that we can read."""
        text = self.headers.get("Retry-After", "").strip()
        if re.fullmatch(r"\d{1,6}", text):
            return float(text)
        try:
            moment = parsedate_to_datetime(text)
        except (ValueError, TypeError):
            return 0.0
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return max((moment - datetime.now(UTC)).total_seconds(), 0.0)

    @property
    def code(self) -> str:
        """The registry's own word, for example MANIFEST_UNKNOWN; made up where it says none."""
        for code, _ in self._errors():
            return code
        return {401: "UNAUTHORIZED", 403: "DENIED", 404: "NOT_FOUND", 429: "TOOMANYREQUESTS"}.get(
            self.status, ""
        )

    @property
    def text(self) -> str:
        """One line, as Docker shows errors: `manifest unknown: manifest unknown`."""
        told = [f"{code.lower().replace('_', ' ')}: {message}" for code, message in self._errors()]
        if told:
            return ", ".join(told)[:1000]
        if self.status in {401, 403}:
            return f"{self.code.lower()}: {DENIED}"
        if self.status == 429:
            return "toomanyrequests: the registry asks to slow down"
        kind = self.headers.get("Content-Type", "").partition(";")[0]
        return f"received unexpected HTTP status: {self.status} ({kind or 'no content type'})"

    def _errors(self) -> Iterator[tuple[str, str]]:
        try:
            document = msgspec.json.decode(self.body, type=dict[str, Any])
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return
        errors = document.get("errors")
        for error in errors[:5] if isinstance(errors, list) else []:
            if isinstance(error, dict):
                code = str(error.get("code") or "UNKNOWN")[:100]
                message = str(error.get("message") or code.lower().replace("_", " "))
                yield code, " ".join(message.split())[:500]


def answer_of(response: requests.Response, body: bytes) -> RegistryAnswer:
    """Keep what is worth keeping of a response."""
    return RegistryAnswer(
        status=response.status_code, url=response.url, headers=response.headers, body=body
    )


def pull_refusal(answer: RegistryAnswer, reference: Reference) -> DockerlabError:
    """Turn a refusal to hand out a manifest into Docker's error for `docker pull`."""
    if answer.status in {401, 403} or answer.code in {"DENIED", "UNAUTHORIZED"}:
        return denied("pull", reference, answer.text)
    if answer.status == 404 and answer.code == "NAME_UNKNOWN":
        return NotFound(
            f"repository {reference.familiar_name} not found: {answer.text}",
            hint="Check the name, and that the registry has it.",
        )
    if answer.status == 404:
        text = answer.text if answer.code != "NOT_FOUND" else "manifest unknown: manifest unknown"
        return NotFound(
            f"manifest for {reference.familiar} not found: {text}",
            hint="The repository is there perhaps, this tag is not.",
        )
    return Failed(f"{answer.text}", hint=f"That is what {urlsplit(answer.url).netloc} answered.")


def denied(verb: str, reference: Reference, cause: str) -> DockerlabError:
    """Docker can not tell a private repository from an absent one, and says so."""
    if verb == "push":
        return Unauthenticated(cause, hint=f"Log in first: docker login {reference.domain}")
    return NotFound(
        f"pull access denied for {reference.familiar_name}, repository does not exist or may "
        f"require 'docker login': {cause}",
        hint=f"Check the name, or log in: docker login {reference.domain}",
    )


def describe(method: str, url: str, error: Exception) -> str:
    """Say like Go's client why a request got no answer."""
    clean = url.partition("?")[0]
    return f'{method.title()} "{clean}": {_reason(url, error)}'


def _reason(url: str, error: BaseException) -> str:
    causes = list(_chain(error))
    for kind, text in _REASONS:
        for cause in causes:
            if isinstance(cause, kind):
                return text(url, cause)
    if "BadStatusLine" in repr(error):
        return "malformed HTTP response"
    return "unexpected EOF" if "IncompleteRead" in repr(error) else str(error)[:300]


def _tls(_: str, cause: Any) -> str:
    if cause.reason in {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"}:
        return "http: server gave HTTP response to HTTPS client"
    return f"tls: {(cause.reason or str(cause)).lower().replace('_', ' ')}"


def _unreachable(url: str, cause: Any) -> str:
    texts = {errno.ENETUNREACH: "network is unreachable", errno.EHOSTUNREACH: "no route to host"}
    text = texts.get(cause.errno) or (cause.strerror or str(cause)).lower()
    return f"dial tcp {_address(url)}: connect: {text}"


# The order matters: urllib3 calls a refused connection a kind of timeout, too.
_REASONS: Final[tuple[tuple[type[BaseException], Callable[[str, Any], str]], ...]] = (
    (
        ssl.SSLCertVerificationError,
        lambda _, cause: f"tls: failed to verify certificate: x509: {cause.verify_message}",
    ),
    (ssl.SSLError, _tls),
    (
        socket.gaierror,
        lambda url, _: f"dial tcp: lookup {urlsplit(url).hostname}: no such host",
    ),
    (
        ConnectionRefusedError,
        lambda url, _: f"dial tcp {_address(url)}: connect: connection refused",
    ),
    (ConnectionResetError, lambda *_: "read: connection reset by peer"),
    (BrokenPipeError, lambda *_: "write: broken pipe"),
    (urllib3.exceptions.ReadTimeoutError, lambda *_: "net/http: timeout awaiting response"),
    (urllib3.exceptions.NewConnectionError, lambda url, cause: _unreachable(url, cause.__cause__)),
    (
        urllib3.exceptions.ConnectTimeoutError,
        lambda url, _: f"dial tcp {_address(url)}: i/o timeout",
    ),
)


def _address(url: str) -> str:
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    host = parts.hostname or ""
    host = "127.0.0.1" if host == "localhost" else host
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error and what it wraps: by `raise from`, as an argument, or as `reason`."""
    waiting, seen = [error], set[int]()
    while waiting and len(seen) < 50:
        one = waiting.pop(0)
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        inner = [*one.args, getattr(one, "reason", None), one.__cause__, one.__context__]
        waiting += [item for item in inner if isinstance(item, BaseException)]
