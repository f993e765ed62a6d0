"""One suite, many clients, any host.

The host is $CONFORMANCE_HOST (a Docker host that serves already, a real dockerd for instance), or
an engine of ours. It pulls the starter image from a registry of our own on loopback.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pytest

# Only for its types and helpers: the fixture `engine` comes from the conftest above.
PROJECT = Path(__file__).parent.parent.parent
CLIS = {"cli-28": "/usr/local/bin/docker", "cli-20": "/usr/bin/docker"}


class Refused(Exception):
    """The host said no; what it said is the text."""


class Client(Protocol):
    """What the suite asks of every client."""

    def version(self) -> dict[str, Any]: ...
    def info(self) -> dict[str, Any]: ...
    def pull(self, image: str) -> None: ...
    def images(self) -> list[str]: ...
    def inspect_image(self, image: str) -> dict[str, Any]: ...
    def history(self, image: str) -> int: ...
    def tag(self, image: str, new: str) -> None: ...
    def remove_image(self, image: str) -> None: ...
    def save_and_load(self, image: str, file: Path) -> None: ...
    def events(self, since: int, until: int, filters: dict[str, str]) -> list[dict[str, Any]]: ...
    def run(self, image: str, command: list[str], *, stdin: str = "") -> tuple[int, str]: ...
    def create(self, image: str, command: list[str], name: str) -> str: ...
    def start(self, name: str) -> None: ...
    def stop(self, name: str) -> None: ...
    def wait(self, name: str) -> int: ...
    def logs(self, name: str) -> str: ...
    def exec(self, name: str, command: list[str]) -> tuple[int, str]: ...
    def inspect(self, name: str) -> dict[str, Any]: ...
    def remove(self, name: str, *, force: bool = False) -> None: ...
    def names(self) -> list[str]: ...


@dataclass
class Cli:
    """The docker command."""

    program: str
    environment: dict[str, str]

    def docker(self, *words: str, stdin: str = "") -> str:
        done = self.finished(*words, stdin=stdin)
        if done.returncode != 0:
            raise Refused(done.stderr)
        return done.stdout

    def finished(self, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.program, *words],
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def version(self) -> dict[str, Any]:
        return dict(json.loads(self.docker("version", "--format", "{{json .Server}}")))

    def info(self) -> dict[str, Any]:
        return dict(json.loads(self.docker("info", "--format", "{{json .}}")))

    def pull(self, image: str) -> None:
        self.docker("pull", image)

    def images(self) -> list[str]:
        return self.docker("images", "--format", "{{.Repository}}:{{.Tag}}").split()

    def inspect_image(self, image: str) -> dict[str, Any]:
        return dict(json.loads(self.docker("image", "inspect", image))[0])

    def history(self, image: str) -> int:
        return len(self.docker("history", "-q", image).splitlines())

    def tag(self, image: str, new: str) -> None:
        self.docker("tag", image, new)

    def remove_image(self, image: str) -> None:
        self.docker("rmi", image)

    def save_and_load(self, image: str, file: Path) -> None:
        self.docker("save", "-o", str(file), image)
        self.remove_image(image)
        assert f"Loaded image: {image}" in self.docker("load", "-i", str(file))

    def events(self, since: int, until: int, filters: dict[str, str]) -> list[dict[str, Any]]:
        wanted = [word for key, value in filters.items() for word in ("-f", f"{key}={value}")]
        when = ("--since", str(since), "--until", str(until))
        text = self.docker("events", "--format", "{{json .}}", *when, *wanted)
        return [json.loads(line) for line in text.splitlines()]

    def run(self, image: str, command: list[str], *, stdin: str = "") -> tuple[int, str]:
        interactive = ["-i"] if stdin else []
        done = self.finished("run", "--rm", *interactive, image, *command, stdin=stdin)
        if done.returncode == 125:
            raise Refused(done.stderr)
        return done.returncode, done.stdout + done.stderr

    def create(self, image: str, command: list[str], name: str) -> str:
        return self.docker("create", "--name", name, image, *command).strip()

    def start(self, name: str) -> None:
        self.docker("start", name)

    def stop(self, name: str) -> None:
        self.docker("stop", "-t", "1", name)

    def wait(self, name: str) -> int:
        return int(self.docker("wait", name))

    def logs(self, name: str) -> str:
        return self.docker("logs", name)

    def exec(self, name: str, command: list[str]) -> tuple[int, str]:
        done = self.finished("exec", name, *command)
        return done.returncode, done.stdout + done.stderr

    def inspect(self, name: str) -> dict[str, Any]:
        return dict(json.loads(self.docker("container", "inspect", name))[0])

    def remove(self, name: str, *, force: bool = False) -> None:
        self.docker("rm", *(["-f"] if force else []), name)

    def names(self) -> list[str]:
        return self.docker("ps", "-a", "--format", "{{.Names}}").split()


class Python:
    """The docker SDK for Python."""

    def __init__(self, url: str) -> None:
        import docker

        self.errors = docker.errors
        self.client = docker.DockerClient(base_url=url, version="auto", timeout=60)
        self.api = self.client.api

    def close(self) -> None:
        self.client.close()

    def _said(self, error: Exception) -> Refused:
        return Refused(str(getattr(error, "explanation", "") or error))

    def version(self) -> dict[str, Any]:
        return dict(self.client.version())

    def info(self) -> dict[str, Any]:
        return dict(self.client.info())

    def pull(self, image: str) -> None:
        try:
            self.client.images.pull(image)
        except self.errors.APIError as error:
            raise self._said(error) from error

    def images(self) -> list[str]:
        return [tag for image in self.api.images() for tag in image["RepoTags"]]

    def inspect_image(self, image: str) -> dict[str, Any]:
        try:
            return dict(self.api.inspect_image(image))
        except self.errors.ImageNotFound as error:
            raise self._said(error) from error

    def history(self, image: str) -> int:
        return len(self.api.history(image))

    def tag(self, image: str, new: str) -> None:
        repository, _, tag = new.rpartition(":")
        assert self.api.tag(image, repository, tag)

    def remove_image(self, image: str) -> None:
        self.api.remove_image(image)

    def save_and_load(self, image: str, file: Path) -> None:
        with file.open("wb") as target:
            for piece in self.api.get_image(image):
                target.write(piece)
        self.remove_image(image)
        with file.open("rb") as source:
            loaded = self.client.images.load(source)
        assert image in loaded[0].tags

    def events(self, since: int, until: int, filters: dict[str, str]) -> list[dict[str, Any]]:
        return list(self.client.events(since=since, until=until, filters=filters, decode=True))

    def run(self, image: str, command: list[str], *, stdin: str = "") -> tuple[int, str]:
        if stdin:
            pytest.skip("the SDK has no way to end a container's stdin")
        try:
            output = self.client.containers.run(
                image, command, remove=True, stderr=True, stdout=True
            )
        except self.errors.ContainerError as error:
            return error.exit_status, (error.stderr or b"").decode()
        except self.errors.APIError as error:
            raise self._said(error) from error
        return 0, output.decode()

    def create(self, image: str, command: list[str], name: str) -> str:
        try:
            return str(self.client.containers.create(image, command, name=name).id)
        except self.errors.APIError as error:
            raise self._said(error) from error

    def start(self, name: str) -> None:
        try:
            self.api.start(name)
        except self.errors.APIError as error:
            raise self._said(error) from error

    def stop(self, name: str) -> None:
        self.api.stop(name, timeout=1)

    def wait(self, name: str) -> int:
        return int(self.api.wait(name)["StatusCode"])

    def logs(self, name: str) -> str:
        return str(self.api.logs(name).decode())

    def exec(self, name: str, command: list[str]) -> tuple[int, str]:
        code, output = self.client.containers.get(name).exec_run(command)
        return code, output.decode()

    def inspect(self, name: str) -> dict[str, Any]:
        try:
            return dict(self.api.inspect_container(name))
        except self.errors.NotFound as error:
            raise self._said(error) from error

    def remove(self, name: str, *, force: bool = False) -> None:
        try:
            self.api.remove_container(name, force=force)
        except self.errors.APIError as error:
            raise self._said(error) from error

    def names(self) -> list[str]:
        return [one["Names"][0].removeprefix("/") for one in self.api.containers(all=True)]


@pytest.fixture(scope="session")
def host(request: pytest.FixtureRequest) -> str:
    """The URL of the host under test."""
    given = os.environ.get("CONFORMANCE_HOST", "")
    return given or str(request.getfixturevalue("engine").url)


@pytest.fixture(scope="session")
def starter() -> Iterator[str]:
    """Name of an image with a shell, in a registry that the host can reach."""
    folder = Path(tempfile.mkdtemp(prefix=f"dlreg{os.getpid()}-"))
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "dockerlab", "registry", "serve", "--starter"),
            *("--addr", "127.0.0.1:0", "--storage", str(folder)),
        ],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        with process, process.stdout:
            line = process.stdout.readline()
            assert line.startswith("registry ready at "), line
            yield f"{line.split()[-1]}/starter:latest"
            process.terminate()
    finally:
        shutil.rmtree(folder)


@pytest.fixture(params=["docker-py", *CLIS])
def client(request: pytest.FixtureRequest, host: str, tmp_path: Path) -> Iterator[Client]:
    """Each client in turn."""
    if request.param == "docker-py":
        python = Python(host)
        yield python
        python.close()
        return
    program = CLIS[request.param]
    if not Path(program).exists():
        pytest.skip(f"{program} is not on this machine")
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "DOCKER_HOST": host,
        "DOCKER_BUILDKIT": "0",
    }
    yield Cli(program, environment)


@pytest.fixture
def image(client: Client, starter: str) -> str:
    """The starter image, present on the host."""
    if starter not in client.images():
        client.pull(starter)
    return starter


@pytest.fixture
def name() -> str:
    """A name that nobody else uses."""
    return f"conformance-{os.getpid()}-{time.monotonic_ns()}"


@pytest.fixture
def refused() -> type[Exception]:
    """What clients raise when the host says no."""
    return Refused
