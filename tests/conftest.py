"""An engine for everybody who needs one: a real process, found by its socket, leaving nothing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

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
        """Whatever of this engine is still in the kernel: processes, links, cgroups."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                command = (process / "cmdline").read_bytes()
                environment = (process / "environ").read_bytes()
            except OSError:
                continue
            if f"DOCKERLAB_ROOT={self.root}\0".encode() in environment and int(
                process.name
            ) != os.getpid():
                found.append(f"process {process.name}: {command[:80]!r}")
        return found


def new_engine(**extra: str) -> EngineUnderTest:
    """Folders for an engine that is not started yet; `discard_engine` in the end."""
    return EngineUnderTest(Path(tempfile.mkdtemp(prefix=f"dl{os.getpid()}-", dir=PLACE)), extra)


def discard_engine(engine: EngineUnderTest) -> None:
    """Stop, see that nothing stays behind, remove the folders."""
    engine.stop()
    left = engine.left_over()
    log = engine.log()
    shutil.rmtree(engine.folder)
    assert not left, f"{left}\n{log}"


@pytest.fixture(scope="session")
def engine() -> Iterator[EngineUnderTest]:
    """One running engine for the whole session; tests clean up what they make in it."""
    engine = new_engine()
    try:
        engine.start()
        yield engine
    finally:
        discard_engine(engine)


@pytest.fixture
def fresh_engine() -> Iterator[EngineUnderTest]:
    """An engine of the test's own, not started yet."""
    engine = new_engine()
    try:
        yield engine
    finally:
        discard_engine(engine)
