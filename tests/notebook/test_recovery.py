"""An engine that is killed is named, and comes back by itself with its containers."""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import time
from pathlib import Path

import pytest

from dockerlab.errors import Unavailable


def wait_until_gone(path: Path) -> None:
    """A killed process closes its listening socket a moment later."""
    end = time.monotonic() + 10
    while time.monotonic() < end:
        with socket.socket(socket.AF_UNIX) as door:
            try:
                door.connect(str(path))
            except OSError:
                return
    raise AssertionError("the engine still answers")


# docker-py leaves its own socket open when a second connect fails.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_killed_engine_comes_back(environ, docker, image, name, request):
    if environ["DOCKERLAB_RUN"] not in environ["DOCKER_HOST"]:
        pytest.skip("only our own engine is ours to kill")
    engine = request.getfixturevalue("engine")
    docker("host dockerlab")
    docker(f"run -d --name {name} {image} sleep 60")
    os.kill(json.loads(engine.command("engine", "status", "--json").stdout)["pid"], signal.SIGKILL)
    wait_until_gone(engine.socket)
    with pytest.raises(Unavailable) as caught:
        docker("ps")
    assert caught.value.hint.startswith("Our engine ended")
    assert docker("ps").df.loc[name, "state"] == "running"
    del caught
    gc.collect()  # here, where the warning is expected
