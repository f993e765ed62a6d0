"""An engine for everybody who needs one: a real process, found by its socket, leaving nothing."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests import leftovers

PROJECT = Path(__file__).parent.parent
# Not below pytest's own folders: a unix socket's path ends at 107 bytes.
PLACE = Path(tempfile.gettempdir())


@dataclass
class EngineUnderTest:
    """An engine in folders of its own."""

    folder: Path
    extra: Mapping[str, str] = field(default_factory=dict)

    @property
    def root(self) -> Path:
        return self.folder / "root"

    @property
    def run(self) -> Path:
        return self.folder / "run"

    @property
    def socket(self) -> Path:
        return self.run / "docker.sock"

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    @property
    def environment(self) -> dict[str, str]:
        """What a command needs to find this engine, and what its own commands need."""
        unwanted = {"DOCKER_CONTEXT", "DOCKER_API_VERSION", "DOCKER_TLS_VERIFY"}
        kept = {name: value for name, value in os.environ.items() if name not in unwanted}
        return {
            **kept,
            **self.extra,
            "DOCKERLAB_ROOT": str(self.root),
            "DOCKERLAB_RUN": str(self.run),
            "DOCKER_HOST": self.url,
            "DOCKER_CONFIG": str(self.folder / "docker-config"),
            "DOCKER_BUILDKIT": "0",
            "PYTHONPATH": str(PROJECT),
        }

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run `dockerlab WORDS`."""
        return subprocess.run(
            [sys.executable, "-m", "dockerlab", *words],
            env=self.environment,
            cwd=PROJECT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def start(self) -> dict[str, Any]:
        done = self.command("engine", "start", "--json")
        assert done.returncode == 0, done.stdout + done.stderr + self.log()
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    def stop(self, *, clean: bool = True) -> None:
        done = self.command("engine", "stop", *(["--clean"] if clean else []))
        assert done.returncode == 0, done.stdout + done.stderr + self.log()

    def log(self) -> str:
        """What the engine wrote about itself, for messages of failed tests."""
        file = self.root / "engine.log"
        return file.read_text("utf-8", "replace") if file.exists() else ""

    def left_over(self) -> list[str]:
        """Whatever of this engine is still in the kernel: processes, links."""
        from dockerlab.engine.config import from_environment

        bridge = from_environment(self.environment).bridge
        found = [f"link {bridge}"] if Path("/sys/class/net", bridge).exists() else []
        return found + [
            f"process {pid}: {command[:80]!r}" for pid, command in leftovers.processes_of(self.root)
        ]


def new_engine(**extra: str) -> EngineUnderTest:
    """Folders for an engine that is not started yet; `discard_engine` in the end."""
    return EngineUnderTest(Path(tempfile.mkdtemp(prefix=f"dl{os.getpid()}-", dir=PLACE)), extra)


def discard_engine(engine: EngineUnderTest) -> None:
    """Stop, see that nothing stays behind, remove the folders; by force where that fails."""
    try:
        engine.stop()
        left = engine.left_over()
        log = engine.log()
    finally:
        leftovers.wipe(engine.folder)
    assert not left, f"{left}\n{log}"


@contextmanager
def one_engine(**extra: str) -> Iterator[EngineUnderTest]:
    """An engine for the length of a block, not started yet."""
    engine = new_engine(**extra)
    try:
        yield engine
    finally:
        discard_engine(engine)


@pytest.fixture(scope="session")
def engines() -> Callable[..., AbstractContextManager[EngineUnderTest]]:
    """Engines as many as a test wants; each for the length of a block."""
    return one_engine


@pytest.fixture(scope="session", autouse=True)
def _dead_sessions() -> None:
    """Clear what test runs left that were killed."""
    leftovers.sweep(PLACE)


@pytest.fixture(scope="session")
def engine() -> Iterator[EngineUnderTest]:
    """One running engine for the whole session; tests clean up what they make in it."""
    with one_engine() as engine:
        engine.start()
        yield engine


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Our own registry on a port of its own, with the starter image; gives its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    folder = tmp_path_factory.mktemp("registry")
    environment = {**os.environ, "DOCKERLAB_RUN": str(folder / "run"), "PYTHONPATH": str(PROJECT)}

    def command(*words: str) -> None:
        subprocess.run(
            [sys.executable, "-m", "dockerlab", "registry", *words, "--addr", address],
            env=environment,
            check=True,
            capture_output=True,
            timeout=120,
        )

    command("start", "--storage", str(folder / "storage"), "--starter")
    try:
        yield address
    finally:
        command("stop")


@pytest.fixture(scope="session")
def starter(engine: EngineUnderTest, registry: str) -> str:
    """The starter image, pulled into the session's engine; gives its name."""
    name = f"{registry}/starter:latest"
    pull_image(engine.socket, name)
    return name


def pull_image(path: Path, name: str) -> None:
    """Pull by the API alone, so that no test depends on a client being here."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(60)
        connection.connect(str(path))
        repository, _, tag = name.rpartition(":")
        query = f"fromImage={quote(repository, safe='')}&tag={tag}"
        request = f"POST /images/create?{query} HTTP/1.0\r\nContent-Length: 0\r\n\r\n"
        connection.sendall(request.encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert b" 200 " in answer.partition(b"\r\n")[0], answer
    assert b'"error"' not in answer, answer


@pytest.fixture
def fresh_engine() -> Iterator[EngineUnderTest]:
    """An engine of the test's own, not started yet."""
    with one_engine() as engine:
        yield engine
