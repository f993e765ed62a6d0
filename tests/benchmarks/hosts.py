"""The hosts that are compared, and how they are spoken to: the docker CLI, and bare HTTP.

Knows:   where a real dockerd may be found; whose memory belongs to a host.
Refuses: what is measured; `cases.py`.
Source:  $DOCKERLAB_ANCHOR names a program `anchor start|run CMD|stop`, the reference dockerd.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.conftest import PROJECT, EngineUnderTest

IMAGES = Path(os.environ.get("DOCKERLAB_BENCH_IMAGES", "/var/cache/dockerlab-test"))
# Everything made in a host that is not ours alone carries this.
MARK = f"bench{os.getpid()}"


class Connection(http.client.HTTPConnection):
    """HTTP to a unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=120)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)

    def ask(self, method: str, path: str, document: Any = None) -> Any:
        body = None if document is None else json.dumps(document)
        self.request(method, path, body, {"Content-Type": "application/json"} if body else {})
        reply = self.getresponse()
        text = reply.read()
        if reply.status >= 400:
            raise RuntimeError(f"{method} {path}: {reply.status} {text[:300]!r}")
        return (
            json.loads(text) if text and b"json" in reply.headers["Content-Type"].encode() else text
        )


@dataclass
class Host:
    """One Docker host.

    Attributes:
        inside: words before a command that must run where the host's loopback is.
        registry: address of our registry as this host sees it, once `serve_registry` was called.
    """

    name: str
    path: str
    inside: Sequence[str] = ()
    registry: str = ""
    _server: subprocess.Popen[str] | None = field(default=None, repr=False)

    @property
    def environment(self) -> dict[str, str]:
        unwanted = {"DOCKER_CONTEXT", "DOCKER_API_VERSION", "DOCKER_TLS_VERIFY"}
        kept = {name: value for name, value in os.environ.items() if name not in unwanted}
        return {**kept, "DOCKER_HOST": f"unix://{self.path}", "DOCKER_BUILDKIT": "0"}

    def cli(self, *words: str, stdout: Any = subprocess.DEVNULL, stdin: Any = None) -> float:
        """Run `docker WORDS`; how long it took, in seconds."""
        begin = time.perf_counter()
        done = subprocess.run(
            [docker(), *words],
            env=self.environment,
            stdin=stdin or subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.PIPE,
            check=False,
            timeout=180,
        )
        took = time.perf_counter() - begin
        if done.returncode:
            raise RuntimeError(f"{self.name}: docker {' '.join(words)}: {done.stderr[-300:]!r}")
        return took

    def api(self) -> Connection:
        return Connection(self.path)

    def ask(self, method: str, path: str, document: Any = None) -> Any:
        connection = self.api()
        try:
            return connection.ask(method, path, document)
        finally:
            connection.close()

    def pid(self) -> int:
        """Who serves the socket."""
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(self.path)
            credentials = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        pid: int = struct.unpack("iII", credentials)[0]
        return pid

    def serve_registry(self, storage: Path) -> None:
        """Serve `storage` by our own registry, where this host reaches it."""
        self._server = subprocess.Popen(
            [
                *self.inside,
                sys.executable,
                "-m",
                "dockerlab",
                "registry",
                "serve",
                "--addr",
                "127.0.0.1:0",
                "--storage",
                str(storage),
            ],
            env={**self.environment, "PYTHONPATH": str(PROJECT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self._server.stdout is not None
        for line in self._server.stdout:
            found = re.search(r"127\.0\.0\.1:\d+", line)
            if found:
                self.registry = found[0]
                return
        raise RuntimeError("the registry did not start")

    def clean(self) -> None:
        """Leave nothing of ours in a host that others use too."""
        if self._server is not None:
            self._server.terminate()
            self._server.wait()
            if self._server.stdout is not None:
                self._server.stdout.close()
        for container in self.ask("GET", "/containers/json?all=1"):
            if any(MARK in name for name in container["Names"]):
                self.ask("DELETE", f"/containers/{container['Id']}?force=1&v=1")
        for image in self.ask("GET", "/images/json"):
            for tag in image["RepoTags"] or ():
                if MARK in tag or (self.registry and tag.startswith(self.registry)):
                    self.ask("DELETE", f"/images/{tag}?force=1")


def docker() -> str:
    found = shutil.which("docker")
    if found is None:
        raise SystemExit("no docker command on PATH: nothing can be compared")
    return found


def find_anchor() -> str | None:
    """The program that brings a real dockerd, if this machine has one."""
    named = os.environ.get("DOCKERLAB_ANCHOR")
    if named:
        return named
    return next((str(path) for path in PROJECT.parent.glob("*/tools/anchor")), None)


def start_anchor(program: str) -> tuple[Host, bool]:
    """The reference dockerd, and whether it was we who started it."""
    path = "/run/dockerlab-anchor/docker.sock"
    ran = Path(path).exists()
    subprocess.run([program, "start"], check=True, stdout=subprocess.DEVNULL)
    return Host("dockerd", path, inside=(program, "run")), not ran


def ours(engine: EngineUnderTest) -> Host:
    return Host("dockerlab", str(engine.socket))


def proportional_kib(pid: int) -> int:
    """What a process has of memory, shared pages counted by share."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text("ascii").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    return 0


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()[1])


def family(pid: int) -> list[int]:
    """A process and its children, as they are now."""
    children = Path(f"/proc/{pid}/task").glob("*/children")
    found = [int(word) for file in children for word in file.read_text("ascii").split()]
    return [pid, *found]
