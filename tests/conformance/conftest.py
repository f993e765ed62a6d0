"""Who talks to whom: the clients on this machine, and one host.

The host is our engine, or whatever `DOCKERLAB_CONFORMANCE_HOST` names: the same cases then say
what a real dockerd does.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import docker
import pytest

_CLIENTS = ("/usr/local/bin/docker", "/usr/bin/docker")


def _installed() -> list[str]:
    found = [path for path in _CLIENTS if Path(path).exists()]
    elsewhere = shutil.which("docker")
    return found or ([elsewhere] if elsewhere else [])


@dataclass(frozen=True)
class Cli:
    """One docker CLI against one host."""

    program: str
    environment: dict[str, str]

    def __call__(
        self, *words: str, stdin: str | None = None, code: int | None = 0
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [self.program, *words],
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if code is not None:
            assert done.returncode == code, f"{words}: {done.stdout}{done.stderr}"
        return done

    def popen(self, *words: str, **options: object) -> subprocess.Popen[str]:
        return subprocess.Popen([self.program, *words], env=self.environment, text=True, **options)


@pytest.fixture(scope="session")
def host(request: pytest.FixtureRequest) -> str:
    """The address of the Docker host under test."""
    named = os.environ.get("DOCKERLAB_CONFORMANCE_HOST")
    return named or request.getfixturevalue("engine").url


@pytest.fixture(scope="session", params=_installed() or [None])
def cli(request: pytest.FixtureRequest, host: str, tmp_path_factory: pytest.TempPathFactory) -> Cli:
    """Each docker CLI on this machine."""
    if request.param is None:
        pytest.skip("no docker CLI on this machine (Debian: apt-get install docker.io)")
    config = tmp_path_factory.mktemp("docker-config")
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(config),
        "DOCKER_HOST": host,
        "DOCKER_CONFIG": str(config),
        "DOCKER_BUILDKIT": "0",
    }
    return Cli(request.param, environment)


@pytest.fixture(scope="session")
def sdk(host: str) -> Iterator[docker.DockerClient]:
    """docker-py."""
    client = docker.DockerClient(base_url=host, timeout=60)
    yield client
    client.close()


@pytest.fixture
def named(cli: Cli) -> Iterator[Callable[[str], str]]:
    """Make names for containers, and remove those containers in the end."""
    made: list[str] = []

    def name(word: str) -> str:
        made.append(f"t{os.getpid()}-{word}")
        return made[-1]

    yield name
    if made:
        cli("rm", "-f", "-v", *made, code=None)
