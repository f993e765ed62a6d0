"""HTTP to registries: the only file that speaks it.

Knows:   scheme and trust per host, redirects, retries, time and size limits, Docker's error texts.
Refuses: to know what a manifest means; to carry a secret to another host or into clear text.
Source:  OCI distribution-spec; Docker's rules for insecure registries and /etc/docker/certs.d.
"""

from __future__ import annotations

import ipaddress
import random
import socket
import ssl
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError

from dockerlab.engine.registry.auth import (
    ANONYMOUS,
    Authorizer,
    Credentials,
    TokenRequest,
    parse_challenges,
)
from dockerlab.engine.registry.remote_errors import RegistryAnswer, answer_of, describe
from dockerlab.errors import DockerlabError, Failed

MAX_REDIRECTS: Final = 10
MAX_DOCUMENT: Final = 4 << 20
HUB: Final = "docker.io"
HUB_HOST: Final = "registry-1.docker.io"
_LOOPBACK: Final = ("127.0.0.0/8", "::1/128")
_RETRIED: Final = frozenset({429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What holds for every registry.

    Attributes:
        insecure: hosts (HOST or HOST:PORT) and networks where https is not verified, and http
            will do; loopback always is one.
        connect_timeout_s, read_timeout_s: how long a registry may stay silent.
        tries: how often a document is asked for when a registry is busy or broken.
        delay_s: pause before the second try; each later one is twice as long.
    """

    insecure: tuple[str, ...] = ()
    connect_timeout_s: float = 15.0
    read_timeout_s: float = 60.0
    tries: int = 4
    delay_s: float = 0.5
    longest_delay_s: float = 30.0
    certificates: Path = field(default=Path("/etc/docker/certs.d"))


class _NoSecrets(requests.auth.AuthBase):
    """Keeps `requests` from looking into ~/.netrc."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        return request


class _Adapter(HTTPAdapter):
    """TLS with the system's roots and what an administrator gave for this host."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        super().__init__(pool_connections=4, pool_maxsize=16)

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, ssl_context=self._context, **options)


class Registry:
    """One registry and one set of credentials; safe from several threads.

    Args:
        domain: as in a reference: docker.io, localhost:5000.
    """

    def __init__(
        self, domain: str, credentials: Credentials = ANONYMOUS, rules: Rules | None = None
    ) -> None:
        self.domain = domain
        self._rules = rules or Rules()
        self._host = HUB_HOST if domain == HUB else domain
        self._loopback = _in_networks(self._host, _LOOPBACK)
        self._insecure = self._loopback or _is_insecure(self._host, self._rules.insecure)
        self._session = self._make_session()
        self._authorizer = Authorizer(credentials, self._send_token_request, self._trusted)
        self._base = ""
        self._lock = threading.Lock()

    def close(self) -> None:
        self._session.close()

    # -- what the rest of the room uses -----------------------------------------------------

    def document(
        self,
        path: str,
        *,
        scopes: tuple[str, ...],
        accept: Iterable[str] = (),
        method: str = "GET",
        limit: int = MAX_DOCUMENT,
    ) -> RegistryAnswer:
        """Ask for something small (a manifest, a list) and read it whole, with patience.

        Raises:
            Failed: no answer, a broken one, or one beyond the limit.
            Unauthenticated: the registry wants credentials that we don't have.
        """
        headers = {"Accept": ", ".join(accept)} if accept else {}
        self.base()  # where nobody is, patience is of no use
        answer = None
        for number in range(self._rules.tries):
            last = number + 1 == self._rules.tries
            try:
                with self.open(method, path, scopes=scopes, headers=headers) as response:
                    answer = answer_of(response, _bounded(response, limit))
            except BrokenConnection:
                if last:
                    raise
                answer = None
            if answer is not None and (last or answer.status not in _RETRIED):
                return answer
            self._pause(number, answer)
        raise AssertionError  # the last round returns or raises

    @contextmanager
    def open(
        self,
        method: str,
        path: str,
        *,
        scopes: tuple[str, ...],
        headers: Mapping[str, str] | None = None,
        data: Any = None,
    ) -> Iterator[requests.Response]:
        """Send one request and hand out the answer with its body unread.

        Redirects of GET and HEAD are followed. An expired token is renewed once; `data` must
        then be bytes, or a callable that makes the body anew.

        Raises:
            BrokenConnection: no answer; another attempt may help.
        """
        url = urljoin(self.base(), path)
        response = self._send(method, url, scopes, headers or {}, data)
        try:
            if response.status_code == 401:
                response.close()
                self._authorizer.learn(parse_challenges(_challenge_lines(response)))
                response = self._send(method, url, scopes, headers or {}, data, renew=True)
            yield response
        except (requests.RequestException, HTTPError) as error:  # not OSError: disks fill up
            raise BrokenConnection(describe(method, url, error)) from error
        finally:
            response.close()

    def base(self) -> str:
        """The root of the registry's URLs, found out once: which scheme it speaks.

        Raises:
            Failed: nobody answers there, in the words of Docker.
        """
        with self._lock:
            if not self._base:
                self._base = self._find_base()
            return self._base

    # -- how it is done -----------------------------------------------------------------------

    def _find_base(self) -> str:
        # https first, as Docker does; on loopback plain http first: a plain server may wait
        # forever for the rest of what is no request to it, and nothing there can be overheard.
        schemes = ["https"]
        if self._insecure:
            schemes = ["http", "https"] if self._loopback else ["https", "http"]
        problem: DockerlabError | None = None
        for scheme in schemes:
            base = f"{scheme}://{self._host}"
            try:
                response = self._plain("GET", f"{base}/v2/", {})
            except Failed as error:
                # What is told is what the first, refused attempt said.
                problem = problem or error
                continue
            response.close()
            if scheme == "http" and scheme != schemes[-1] and response.status_code == 400:
                continue  # "Client sent an HTTP request to an HTTPS server"
            self._authorizer.learn(parse_challenges(_challenge_lines(response)))
            return base
        raise problem or Failed(f'Get "{schemes[0]}://{self._host}/v2/": no answer')

    def _send(
        self,
        method: str,
        url: str,
        scopes: tuple[str, ...],
        headers: Mapping[str, str],
        data: Any,
        *,
        renew: bool = False,
    ) -> requests.Response:
        sent = {"Accept-Encoding": "identity", **headers}
        authorization = self._authorizer.header(scopes, renew=renew)
        home = _origin(self._base or url)
        for _ in range(MAX_REDIRECTS + 1):
            # Presigned storage refuses a second secret, and nobody else may see ours.
            secret = {"Authorization": authorization} if authorization else {}
            own = secret if _origin(url) == home else {}
            body = data() if callable(data) else data
            response = self._plain(method, url, {**sent, **own}, body)
            place = response.headers.get("Location", "")
            redirected = response.status_code in {301, 302, 303, 307, 308} and place
            if method not in {"GET", "HEAD"} or not redirected:
                return response
            response.close()
            target = urljoin(url, place)
            if urlsplit(target).scheme not in {"http", "https"} or not self._may_follow(target):
                raise Failed(f'{method.title()} "{url}": refusing the redirect to {target[:200]}')
            url = target
        raise Failed(f'{method.title()} "{url}": stopped after {MAX_REDIRECTS} redirects')

    def _may_follow(self, url: str) -> bool:
        return urlsplit(url).scheme == "https" or self._insecure

    def _plain(
        self, method: str, url: str, headers: Mapping[str, str], data: Any = None
    ) -> requests.Response:
        try:
            return self._session.request(
                method,
                url,
                headers=headers,
                data=data,
                stream=True,
                allow_redirects=False,
                timeout=(self._rules.connect_timeout_s, self._rules.read_timeout_s),
                verify=not self._is_unverified(url),
            )
        except (requests.RequestException, HTTPError, OSError, ValueError) as error:
            raise BrokenConnection(describe(method, url, error)) from error

    def _send_token_request(self, request: TokenRequest) -> tuple[int, bytes]:
        headers = {"Authorization": request.authorization} if request.authorization else {}
        url = request.realm
        if request.query:
            url = requests.Request("GET", url, params=list(request.query)).prepare().url or url
        for number in range(self._rules.tries):
            if request.form:
                response = self._plain("POST", url, headers, list(request.form))
            else:
                response = self._plain("GET", url, headers)
            with response:
                body = _bounded(response, MAX_DOCUMENT)
                if response.status_code not in _RETRIED or number + 1 == self._rules.tries:
                    return response.status_code, body
                self._pause(number, answer_of(response, body))
        raise AssertionError  # the last round returns

    def _trusted(self, url: str) -> bool:
        return urlsplit(url).scheme == "https" or self._insecure

    def _is_unverified(self, url: str) -> bool:
        return self._insecure and _origin(url)[1] == urlsplit(f"//{self._host}").hostname

    def _pause(self, number: int, answer: RegistryAnswer | None) -> None:
        delay: float = self._rules.delay_s * 2**number
        if answer is not None:
            delay = max(delay, answer.retry_after_s)
        # Not all at the same moment; never for longer than a person would wait.
        time.sleep(min(delay * random.uniform(1.0, 1.2), self._rules.longest_delay_s))  # noqa: S311

    def _make_session(self) -> requests.Session:
        session = requests.Session()
        session.auth = _NoSecrets()
        session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        session.trust_env = not self._loopback  # a proxy can't reach our own loopback
        context = _tls_context(verified=not self._insecure)
        folder = self._rules.certificates / self.domain
        if folder.is_dir():
            for authority in sorted(folder.glob("*.crt")):
                context.load_verify_locations(authority)
            for certificate in sorted(folder.glob("*.cert")):
                context.load_cert_chain(certificate, certificate.with_suffix(".key"))
        session.mount("https://", _Adapter(context))
        session.headers["User-Agent"] = "docker/dockerlab"
        return session


def _tls_context(*, verified: bool) -> ssl.SSLContext:
    if verified:
        return ssl.create_default_context()
    # Reading the system's roots takes longer than a small pull; here nobody asks for them.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class BrokenConnection(Failed):
    """No (whole) answer came; asking again may help."""


def _bounded(response: requests.Response, limit: int) -> bytes:
    body = bytearray()
    for chunk in response.iter_content(64 << 10):
        body += chunk
        if len(body) > limit:
            raise Failed(f"{response.url}: the answer is larger than {limit} bytes")
    return bytes(body)


def _challenge_lines(response: requests.Response) -> list[str]:
    # The raw headers keep several lines of one name apart.
    raw = response.raw.headers
    if isinstance(raw, urllib3.HTTPHeaderDict):
        return list(raw.getlist("WWW-Authenticate"))
    return [response.headers.get("WWW-Authenticate", "")]


def _origin(url: str) -> tuple[str, str | None, int]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)


def _is_insecure(host: str, insecure: tuple[str, ...]) -> bool:
    name = urlsplit(f"//{host}").hostname or ""
    return host in insecure or name in insecure or _in_networks(host, insecure)


def _in_networks(host: str, networks: Iterable[str]) -> bool:
    """Whether a host is, or resolves to, an address of one of these networks."""
    wanted = []
    for text in networks:
        try:
            wanted.append(ipaddress.ip_network(text, strict=False))
        except ValueError:
            continue  # a host name in the same list
    return bool(wanted) and any(
        address.version == network.version and address in network
        for address in _addresses(urlsplit(f"//{host}").hostname or "")
        for network in wanted
    )


def _addresses(name: str) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    try:
        return [ipaddress.ip_address(name)]
    except ValueError:
        pass
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
