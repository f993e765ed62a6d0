"""Engines that may not run anything: images work, everything else says why in doctor's words."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from shutil import which
from typing import Any

import pytest
import requests

from tests.faults.engines import docker

SETPRIV = which("setpriv")
# nobody may read our interpreter's folder, wherever it is; nothing else.
WAYS = {
    "asked for": [],
    "no CAP_SYS_ADMIN": ["--bounding-set=-sys_admin", "--inh-caps=-sys_admin"],
    "nobody": [
        *("--reuid=65534", "--regid=65534", "--clear-groups"),
        *("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"),
    ],
}


@pytest.fixture(params=WAYS)
def bound(request: pytest.FixtureRequest, fresh_engine: Any) -> Iterator[Any]:
    """A running engine without rights."""
    if os.geteuid() != 0 or SETPRIV is None:
        pytest.skip("needs root and setpriv, to give rights up")
    how = WAYS[request.param]
    if not how:
        fresh_engine.extra = {"DOCKERLAB_MODE": "images"}
    if request.param == "nobody":
        os.chown(fresh_engine.folder, 65534, 65534)
        fresh_engine.extra = {"HOME": str(fresh_engine.folder)}
    words = [*((SETPRIV, *how) if how else ()), sys.executable, "-m", "dockerlab"]
    started = subprocess.run(
        [*words, "engine", "start", "--json"],
        env=fresh_engine.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert started.returncode == 0, started.stdout + started.stderr + fresh_engine.log()
    assert json.loads(started.stdout)["running"]
    yield fresh_engine
    assert "Traceback" not in fresh_engine.log()
    assert '"error"' not in fresh_engine.log()


def test_images_work_and_the_rest_says_why(bound: Any, registry: str) -> None:
    client = docker.DockerClient(base_url=bound.url, version="1.47", timeout=60)
    try:
        image = client.images.pull(f"{registry}/starter", tag="latest")
        assert image.tag("mine")
        archive = b"".join(client.api.get_image("mine"))
        client.images.remove("mine")
        assert client.images.load(archive)[0].tags
        assert client.api.history("mine")
        layers = client.api._get(client.api._url("/images/mine/json").replace("v1.47/", ""))
        assert layers.json()["RootFS"]["Layers"]
        listed = client.api.get(f"{client.api.base_url}/dockerlab/v1/images/mine/layers")
        assert listed.status_code == 200
        for refused in (
            lambda: client.containers.create("mine"),
            lambda: client.containers.run("mine", ["true"]),
            lambda: client.images.build(fileobj=BytesIO(b"FROM mine\nRUN true\n")),
            lambda: client.networks.create("x"),
            lambda: client.volumes.create("x"),
        ):
            with pytest.raises(docker.errors.APIError, match="containers can't run here") as caught:
                refused()
            assert caught.value.status_code == 503
        assert client.containers.list(all=True) == []
        assert isinstance(client.api, requests.Session)
        assert any("containers can't run here" in one for one in client.info()["Warnings"])
    finally:
        client.close()
    half_made = [one for one in Path(bound.root, "tmp").iterdir() if one.name != "empty"]
    assert half_made == []
