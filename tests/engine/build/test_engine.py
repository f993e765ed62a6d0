"""Builds the whole way: docker-py, the socket, a real container for each RUN."""

from __future__ import annotations

import io
import os
import shutil
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from docker import APIClient

from .conftest import archive

BASE = (
    "FROM scratch\nCOPY --chmod=755 busybox /bin/busybox\n"
    'RUN ["/bin/busybox", "--install", "-s", "/bin"]\nENV PATH=/bin\n'
)


def connect(url: str) -> APIClient:
    return APIClient(base_url=url, version="1.44", timeout=60)


@pytest.fixture
def client(engine: Any, shell: None) -> Iterator[APIClient]:
    client = connect(engine.url)
    yield client
    client.prune_builds()
    client.prune_images()
    client.close()


def build(client: APIClient, lines: str, **options: Any) -> list[dict[str, Any]]:
    busybox = Path(str(shutil.which("busybox"))).read_bytes()
    data = archive({"Dockerfile": (BASE + lines).encode(), "busybox": busybox, "f": b"hello\n"})
    return list(
        client.build(fileobj=io.BytesIO(data), custom_context=True, decode=True, rm=True, **options)
    )


def text(messages: list[dict[str, Any]]) -> str:
    return "".join(str(message.get("stream", "")) for message in messages)


def test_run_runs_in_a_container(client: APIClient) -> None:
    messages = build(
        client,
        "WORKDIR /w\nCOPY f .\nRUN cat f; id -u; echo $$; hostname; touch made; cat /etc/hosts\n"
        'VOLUME /v\nRUN echo x > /v/x; ls /v\nCMD ["cat", "f"]\n',
        tag="built",
    )
    said = text(messages)
    assert "Using cache" in text(build(client, "WORKDIR /w\n"))
    assert "hello\n0\n1\n" in said
    assert "Successfully tagged built:latest\n" in said
    container = client.create_container("built")["Id"]
    try:
        client.start(container)
        assert client.wait(container)["StatusCode"] == 0
        assert client.logs(container) == b"hello\n"
    finally:
        client.remove_container(container, force=True)
        client.remove_image("built")


def test_a_failing_run_leaves_nothing(client: APIClient, engine: Any) -> None:
    messages = build(client, "RUN exit 5\n")
    assert messages[-1]["errorDetail"]["code"] == 5
    assert not list((engine.root / "containers").glob("build-*"))
    missing = build(client, 'RUN ["nosuch"]\n')
    assert 'exec: "nosuch": executable file not found in $PATH' in missing[-1]["error"]


def test_mounts_of_a_run_leave_no_trace(client: APIClient) -> None:
    said = text(
        build(
            client,
            "RUN --mount=type=cache,target=/c/deep --mount=target=/ctx cat /ctx/f; echo 1 >> "
            "/c/deep/n; touch /ctx/no\nRUN ls /\n",
        )
    )
    assert "hello\n" in said
    assert "Read-only file system" in said
    listing = said.rpartition("Step")[2].split("\n")
    assert not {"c", "ctx"} & set(listing)


def test_the_next_engine_ends_the_steps_of_a_killed_one(fresh_engine: Any, shell: None) -> None:
    engine, begun = fresh_engine, threading.Event()
    started = engine.start()
    client = connect(engine.url)

    def watch() -> None:
        busybox = Path(str(shutil.which("busybox"))).read_bytes()
        data = archive(
            {"Dockerfile": (BASE + "RUN echo b''egun; sleep 900\n").encode(), "busybox": busybox}
        )
        try:
            for message in client.build(fileobj=io.BytesIO(data), custom_context=True, decode=True):
                if message.get("stream") == "begun\n":
                    begun.set()
        except Exception:  # noqa: BLE001 - the engine was killed under it
            return

    watcher = threading.Thread(target=watch)
    watcher.start()
    assert begun.wait(60)
    os.kill(started["pid"], signal.SIGKILL)
    watcher.join(60)
    engine.start()
    assert "Using cache" in text(build(client, "RUN echo again\n"))
    assert not list((engine.root / "containers").iterdir())
    assert not list((engine.run / "c").iterdir())
    client.close()
