"""Where nothing may run, images work and everything else says why."""

from __future__ import annotations

from typing import Any

import pytest

docker = pytest.importorskip("docker")


def test_images_only(fresh_engine: Any) -> None:
    fresh_engine.extra = {"DOCKERLAB_MODE": "images"}
    fresh_engine.start()
    client = docker.DockerClient(base_url=fresh_engine.url, version="auto")
    try:
        assert client.images.list() == []
        assert client.containers.list(all=True) == []
        assert client.networks.list() == []
        assert client.volumes.list() == []
        assert client.info()["Warnings"][0].startswith("WARNING: containers can't run here")
        with pytest.raises(docker.errors.APIError, match="containers can't run here") as caught:
            client.containers.create("busybox")
        assert caught.value.status_code == 503
        with pytest.raises(docker.errors.NotFound, match="No such container: web"):
            client.containers.get("web")
    finally:
        client.close()
