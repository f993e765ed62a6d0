"""No space left: one clear error each, a store that stays whole, and work again once there is."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from tests.faults.engines import Stocked, docker, kill, until

FULL = "no space left on device|No space left on device|database or disk is full"


@pytest.fixture
def small(engines: Any, registry: str, machine_mounts: None) -> Iterator[Stocked]:
    """An engine on a disk of 48 MB."""
    with engines() as engine:
        engine.root.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", "size=48m,mode=700", "none", str(engine.root)]
        subprocess.run(mount, check=True)
        try:
            with Stocked(engine, f"{registry}/starter:latest") as one:
                try:
                    yield one
                finally:
                    (engine.root / "ballast").unlink(missing_ok=True)
                    one.empty()
            engine.stop()
        finally:
            subprocess.run(["umount", "--lazy", str(engine.root)], check=True)


@pytest.fixture
def machine_mounts() -> None:
    """Mounting is not everybody's."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount a small disk")


def fill(folder: Path) -> Path:
    """Take all the space there is."""
    ballast = folder / "ballast"
    for piece in (bytes(1 << 20), bytes(4096)):
        with ballast.open("ab", buffering=0) as file, suppress(OSError):
            while True:
                file.write(piece)
    return ballast


def test_nothing_fits(small: Stocked, registry: str) -> None:
    client = small.client
    running = small.shell("echo begin; read x; exit 3", stdin_open=True, name="running")
    ends = small.shell("read x; exit 4", stdin_open=True, name="ends")
    waste = small.shell("head -c 1000000 /dev/zero > /waste", name="waste")
    waste.wait()
    pid = small.state("running")["Pid"]
    ballast = fill(small.engine.root)
    with pytest.raises(docker.errors.APIError, match=FULL):
        client.containers.create(small.image, ["true"])
    text = BytesIO(b"FROM starter\nRUN head -c 9000000 /dev/zero > /x\n")
    with pytest.raises((docker.errors.APIError, docker.errors.BuildError), match=FULL):
        client.images.build(fileobj=text)
    with pytest.raises(docker.errors.APIError, match=FULL):
        client.networks.create("x")
    with pytest.raises(docker.errors.APIError, match=FULL):
        client.volumes.create("full")
    pulled = list(client.api.pull(f"{registry}/starter", tag="python", stream=True, decode=True))
    assert re.search(FULL, pulled[-1]["error"])
    assert client.ping()
    # An end that can't be written down is an end all the same.
    assert small.state("running")["Pid"] == pid
    kill(small.state("ends")["Pid"])
    assert ends.wait(timeout=20)["StatusCode"] == 137
    assert small.state("ends")["Status"] == "exited"
    running.stop(timeout=0)
    assert small.state("running")["ExitCode"] == 137
    waste.remove()
    ballast.unlink(missing_ok=True)
    ends.start()
    ends.stop(timeout=0)
    until(lambda: not small.unkept(), "all is written down")
    small.again()
    for name in ("running", "ends"):
        assert (small.state(name)["Status"], small.state(name)["ExitCode"]) == ("exited", 137)
    assert small.client.containers.run(small.image, ["echo", "a"], remove=True) == b"a\n"
    assert [line for line in small.engine.log().splitlines() if "Traceback" in line] == []
