"""`dockerlab registry` as people use it: start, status, stop, and what stands in the way."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests


class Command:
    def __init__(self, root: Path) -> None:
        self.root = root
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{probe.getsockname()[1]}"

    def __call__(self, *words: str) -> subprocess.CompletedProcess[str]:
        root, run = str(self.root / "root"), str(self.root / "run")
        return subprocess.run(
            [sys.executable, "-m", "dockerlab", "registry", *words, "--addr", self.address],
            env={**os.environ, "DOCKERLAB_ROOT": root, "DOCKERLAB_RUN": run},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Command]:
    command = Command(tmp_path)
    yield command
    command("stop")


def test_life(registry: Command) -> None:
    assert registry("status").returncode == 1
    started = registry("start")
    assert started.stdout == f"registry ready at {registry.address}\n", started.stderr
    assert requests.get(f"http://{registry.address}/v2/", timeout=5).status_code == 200
    again = registry("start")
    assert (again.returncode, "already runs" in again.stdout) == (0, True)
    assert registry("status").returncode == 0
    assert registry("stop").returncode == 0
    with pytest.raises(requests.ConnectionError):
        requests.get(f"http://{registry.address}/v2/", timeout=5)
    assert registry("stop").stdout.startswith("no registry runs")
    assert list((registry.root / "run").iterdir()) == []


def test_a_taken_port_and_a_taken_folder(registry: Command) -> None:
    host, port = registry.address.split(":")
    with socket.create_server((host, int(port))):
        taken = registry("start")
    assert taken.returncode == 1
    assert "bind: address already in use" in taken.stderr
    assert registry("start").returncode == 0
    other = Command(registry.root)
    refused = other("start")
    assert refused.returncode == 1
    assert "is in use by another process" in refused.stderr


def test_a_reused_pid_is_never_signalled(registry: Command) -> None:
    bystander = subprocess.Popen(["sleep", "60"])
    try:
        run = registry.root / "run"
        run.mkdir()
        record = {"pid": bystander.pid, "start_ticks": 1, "address": "x", "storage": "y"}
        (run / f"registry-{registry.address}.json").write_text(json.dumps(record))
        assert registry("stop").stdout.startswith("no registry runs")
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()
