"""A Docker host, an image on it, and a real IPython shell with the extension loaded.

The host is $DOCKER_HOST where that is set (a real dockerd, for one), else the session's own
engine. The image is our starter image, through our registry on loopback.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


def dockerlab(*words: str, environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "dockerlab", *words],
        env=environ,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.fixture(scope="session")
def environ(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """The variables of a process that uses the host."""
    folder = tmp_path_factory.mktemp("lab")
    base = (
        dict(os.environ)
        if os.environ.get("DOCKER_HOST")
        else request.getfixturevalue("engine").environment
    )
    return {
        "DOCKERLAB_ROOT": str(folder / "root"),
        "DOCKERLAB_RUN": str(folder / "run"),
        **base,
        "DOCKER_CONFIG": str(folder / "config"),
        "IPYTHONDIR": str(folder / "ipython"),
        "PYTHONPATH": str(ROOT),
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }


@pytest.fixture(scope="session")
def image(environ: dict[str, str], registry: str) -> Iterator[str]:
    """The starter image, under a name of this run."""
    source, name = f"{registry}/starter", f"lab-{os.getpid()}"
    pulled = dockerlab("pull", source, environ=environ)
    if pulled.returncode:
        # A host in another network namespace can't see our loopback.
        pytest.skip(f"the host can't pull from {source}: {pulled.stderr}")
    assert dockerlab("tag", source, name, environ=environ).returncode == 0
    yield name
    dockerlab("rmi", "-f", name, environ=environ)
    if os.environ.get("DOCKER_HOST"):
        # Nobody else's fixture pulled it there; on our own engine `starter` has.
        dockerlab("rmi", source, environ=environ)


@pytest.fixture
def shell(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """IPython as in a terminal, with `%load_ext dockerlab` done."""
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    for name in ("DOCKERLAB_ROOT", "DOCKERLAB_RUN", "DOCKER_HOST", "DOCKER_CONFIG", "IPYTHONDIR"):
        monkeypatch.setenv(name, environ[name])
    settings = Config()
    settings.HistoryManager.enabled = False
    InteractiveShell.clear_instance()
    made = InteractiveShell.instance(config=settings)
    made.run_line_magic("load_ext", "dockerlab")
    yield made
    made.run_line_magic("unload_ext", "dockerlab")
    InteractiveShell.clear_instance()


@pytest.fixture
def docker(shell: Any) -> Callable[[str], Any]:
    """Run one `%docker` line and return its result."""
    return lambda line: shell.run_line_magic("docker", line)


@pytest.fixture
def name(environ: dict[str, str], request: pytest.FixtureRequest) -> Iterator[str]:
    """A container's name that is free now and again afterwards."""
    found = f"lab-{os.getpid()}-{abs(hash(request.node.name)) % 10**6}"
    yield found
    dockerlab("rm", "-f", found, environ=environ)
