"""Which Docker host a command talks to, why that one, and how to reach it.

Knows:   the order: named by hand, DOCKER_HOST, a named docker context, our own engine.
Refuses: to guess: `/var/run/docker.sock` is used only when somebody names it.
Source:  docs.docker.com/engine/manage-resources/contexts.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dockerlab.commands.failures import translated, unreachable
from dockerlab.commands.streams import Streams
from dockerlab.errors import Forbidden, NotFound, Unavailable

OWN = "dockerlab"
_TIMEOUT_S = 30
_PROBE_S = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A host, before anybody has spoken to it."""

    kind: str  # named, environment, context, own
    url: str = ""  # "" is our own engine, which tells its address when it starts
    why: str = ""
    context: str = ""

    def __str__(self) -> str:
        place = self.url or "our own engine"
        return f"Docker host: {place} ({self.why})"


def choose(named: str = "", environ: Mapping[str, str] | None = None) -> Choice:
    """Decide which host to use; nothing is started and nobody is asked.

    Args:
        named: what `%docker host NAME` said: a URL, a context's name, or `dockerlab`.
        environ: the variables to look at; this process's own when None.

    Raises:
        NotFound: a context of that name does not exist.
    """
    environ = os.environ if environ is None else environ
    if named:
        return _named(named, environ)
    if environ.get("DOCKER_HOST"):
        return Choice(kind="environment", url=environ["DOCKER_HOST"], why="DOCKER_HOST says so")
    if environ.get("DOCKER_CONTEXT") not in (None, "", "default"):
        return _context(environ["DOCKER_CONTEXT"], "DOCKER_CONTEXT says so", environ)
    current = _current_context(environ)
    if current not in ("", "default"):
        return _context(current, f"the docker context in use is {current}", environ)
    return Choice(kind="own", why="neither DOCKER_HOST nor a docker context names another")


def _named(name: str, environ: Mapping[str, str]) -> Choice:
    why = "chosen by %docker host"
    if name == OWN:
        return Choice(kind="own", why=why)
    if "://" in name:
        return Choice(kind="named", url=name, why=why)
    return _context(name, why, environ)


class Host:
    """A host in use: connects at the first request, and again when an engine came back."""

    def __init__(self, choice: Choice) -> None:
        self.choice = choice
        self._lock = threading.Lock()
        self._starting: subprocess.Popen[bytes] | None = None
        self._api: Any = None
        self._streams: Streams | None = None
        self._url = choice.url

    @property
    def url(self) -> str:
        """The address; our own engine's is known once it runs."""
        return self._url or OWN

    def prepare(self) -> None:
        """Begin to start our own engine, where it is the choice, without waiting for it."""
        with self._lock:
            if self.choice.kind == "own" and self._starting is None and self._api is None:
                self._starting = _start_engine()

    @property
    def api(self) -> Any:
        """docker-py's low-level client."""
        with self._lock:
            if self._api is None:
                self._connect()
            return self._api

    @property
    def streams(self) -> Streams:
        """The same host, for answers that take as long as they take."""
        with self._lock:
            if self._streams is None:
                self._connect()
            assert self._streams is not None
            return self._streams

    def forget(self) -> None:
        """Connect anew at the next request: the engine behind the address died or changed."""
        with self._lock:
            if self._api is not None:
                self._api.close()
            if self._streams is not None:
                self._streams.close()
            self._api = self._streams = self._starting = None
            self._url = self.choice.url

    def _connect(self) -> None:
        import docker  # noqa: PLC0415 - 100 ms, at first use

        if self.choice.kind == "own":
            self._url = _await_engine(self._starting or _start_engine())
            self._starting = None
        _knock(self._url)
        options = self._options()
        with translated(self.url):
            try:
                api = docker.APIClient(version="auto", timeout=_PROBE_S, **options)
            except docker.errors.DockerException as error:
                raise unreachable(self.url) from error
            # The second client needs no round trip: the version is known by now.
            patient = docker.APIClient(version=api.api_version, timeout=None, **options)
        api.timeout = _TIMEOUT_S
        self._api, self._streams = api, Streams(patient, self.url)

    def _options(self) -> dict[str, Any]:
        from docker.utils import kwargs_from_env  # noqa: PLC0415 - 100 ms, at first use

        if self.choice.kind == "environment":
            options: dict[str, Any] = kwargs_from_env()
            return options
        if self.choice.context:
            from docker.context import ContextAPI  # noqa: PLC0415 - as above

            context = ContextAPI.get_context(self.choice.context)
            tls = context.TLSConfig if context is not None else None
            return {"base_url": self._url, "tls": tls} if tls else {"base_url": self._url}
        return {"base_url": self._url}


def _knock(url: str) -> None:
    """Say at once that nobody answers at a socket; docker-py would leak its own on the way."""
    if not url.startswith("unix://"):
        return
    with socket.socket(socket.AF_UNIX) as door:
        door.settimeout(_PROBE_S)
        try:
            door.connect(url.removeprefix("unix://"))
        except PermissionError:
            raise Forbidden(
                "permission denied while trying to connect to the Docker daemon socket at " + url,
                hint="Use our own engine: %docker host dockerlab",
            ) from None
        except OSError:
            raise unreachable(url) from None


def _start_engine() -> subprocess.Popen[bytes]:
    # A group of its own: a kernel's interrupt must not reach an engine that is starting.
    return subprocess.Popen(
        [sys.executable, "-m", "dockerlab", "engine", "start", "--json"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def _await_engine(process: subprocess.Popen[bytes]) -> str:
    try:
        out, err = process.communicate(timeout=_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise Unavailable(
            "our engine did not start in time", hint="See why: dockerlab doctor"
        ) from None
    try:
        answer = json.loads(out)
    except ValueError:
        answer = {}
    if process.returncode == 0 and isinstance(answer, dict) and answer.get("host"):
        return str(answer["host"])
    problem = str(answer.get("message") or err.decode("utf-8", "replace").strip())
    reason = problem.splitlines()[-1] if problem else "it said nothing"
    raise Unavailable(
        f"our engine could not start: {reason}",
        hint=str(answer.get("hint") or "Ask what this machine lacks: dockerlab doctor"),
    )


def _docker_folder(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("DOCKER_CONFIG") or Path.home() / ".docker")


def _current_context(environ: Mapping[str, str]) -> str:
    # Read by hand: docker-py takes 100 ms to import, and loading the extension must not wait.
    try:
        document = json.loads((_docker_folder(environ) / "config.json").read_bytes())
    except (OSError, ValueError):
        return ""
    return str(document.get("currentContext", "")) if isinstance(document, dict) else ""


def _context(name: str, why: str, environ: Mapping[str, str]) -> Choice:
    folder = hashlib.sha256(name.encode()).hexdigest()
    path = _docker_folder(environ) / "contexts" / "meta" / folder / "meta.json"
    try:
        url = str(json.loads(path.read_bytes())["Endpoints"]["docker"]["Host"])
    except (OSError, ValueError, KeyError, TypeError):
        raise NotFound(
            f'context "{name}" not found', hint="See `docker context ls`, or give a URL"
        ) from None
    return Choice(kind="context", url=url, why=why, context=name)
