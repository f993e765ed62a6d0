"""Whatever is wrong with what comes in: words, and a store as it was before."""

from __future__ import annotations

import http.client
import io
import json
import resource
import socket
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.engines import Stocked, docker, until

Act = Callable[[Any, str], object]


def archive(*members: tuple[str, bytes, bytes]) -> bytes:
    """A tar of (name, type, payload or target)."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for name, kind, payload in members:
            info = tarfile.TarInfo(name)
            info.type = kind
            if kind == tarfile.REGTYPE:
                info.size = len(payload)
            else:
                info.linkname = payload.decode()
            tar.addfile(info, io.BytesIO(payload) if kind == tarfile.REGTYPE else None)
    return made.getvalue()


def loaded(layer: bytes) -> bytes:
    """A `docker save` archive with one layer, whose digests are right."""
    import hashlib

    diff_id = "sha256:" + hashlib.sha256(layer).hexdigest()
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": [diff_id]},
        }
    ).encode()
    manifest = json.dumps([{"Config": "c.json", "RepoTags": ["bad:1"], "Layers": ["l.tar"]}])
    return archive(
        ("c.json", tarfile.REGTYPE, config),
        ("l.tar", tarfile.REGTYPE, layer),
        ("manifest.json", tarfile.REGTYPE, manifest.encode()),
    )


CLIMBING = archive(("../../climbed", tarfile.REGTYPE, b"out"))
BY_LINK = archive(("d", tarfile.SYMTYPE, b"/tmp"), ("d/climbed", tarfile.REGTYPE, b"out"))
FILE = archive(("f", tarfile.REGTYPE, b"x" * 5000))
GOOD = archive(("Dockerfile", tarfile.REGTYPE, b"FROM scratch\nCOPY f /f\n"))

CASES: dict[str, tuple[Act, str]] = {
    "no registry": (
        lambda client, image: client.images.pull("127.0.0.1:1/x", tag="1"),
        "connection refused",
    ),
    "no such image": (
        lambda client, image: client.images.pull(image.replace("starter", "none"), tag="1"),
        "not found|manifest unknown|No such image",
    ),
    "no such tag": (
        lambda client, image: client.images.pull(image, tag="none"),
        "not found|manifest unknown|No such image",
    ),
    "no such image to run": (
        lambda client, image: client.containers.create("none:1"),
        "No such image: none:1",
    ),
    "climbing name": (lambda client, image: client.images.load(loaded(CLIMBING)), "climbed"),
    "cut layer": (lambda client, image: client.images.load(loaded(FILE[:3000])), "unexpected EOF"),
    "cut archive": (
        lambda client, image: client.images.load(loaded(FILE)[:4000]),
        "unexpected EOF",
    ),
    "no archive": (lambda client, image: client.images.load(b"x" * 2000), "archive|tar|EOF"),
    "climbing context": (
        lambda client, image: client.images.build(
            fileobj=io.BytesIO(CLIMBING[:1024] + GOOD), custom_context=True
        ),
        "climbed",
    ),
    "bad line": (
        lambda client, image: client.images.build(fileobj=io.BytesIO(b"FROM scratch\nCOPPY a b\n")),
        "unknown instruction: COPPY",
    ),
    "missing file": (
        lambda client, image: client.images.build(fileobj=io.BytesIO(GOOD), custom_context=True),
        "no such file or directory|not found",
    ),
    "failing step": (
        lambda client, image: client.images.build(
            fileobj=io.BytesIO(b"FROM starter\nRUN echo a > /a; exit 3\n")
        ),
        "returned a non-zero code: 3",
    ),
}


def tree(stocked: Stocked) -> list[str]:
    """Every name in the store but those of the database's own and of the log."""
    root = stocked.engine.root
    return sorted(
        str(one.relative_to(root)) for one in root.rglob("*") if "state.db-" not in one.name
    )


@pytest.mark.parametrize("case", CASES)
def test_nothing_of_it_stays(stocked: Stocked, case: str) -> None:
    act, words = CASES[case]
    image = stocked.source.rpartition(":")[0]
    stocked.client.containers.run(stocked.image, ["true"], remove=True)  # what is made once
    # A container's files go behind the client's back.
    until(lambda: not list((stocked.engine.root / "tmp").glob("removed-*")), "it rests")
    before = tree(stocked)
    with pytest.raises(docker.errors.DockerException, match=words):
        act(stocked.client, image)
    until(lambda: tree(stocked) == before, f"{set(tree(stocked)) ^ set(before)}", 5)
    assert not Path("/tmp/climbed").exists()


def test_a_link_in_a_layer_leads_nowhere(stocked: Stocked) -> None:
    stocked.client.images.load(loaded(BY_LINK))
    assert not Path("/tmp/climbed").exists()
    stocked.client.images.remove("bad:1")


def descriptors(stocked: Stocked) -> int:
    return len(list(Path(f"/proc/{stocked.pid}/fd").iterdir()))


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 20_000), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_open_connections_block_nobody(
    stocked: Stocked, soak: bool, many_descriptors: None
) -> None:
    stocked.client.containers.run(stocked.image, ["true"], remove=True)  # what is opened once
    before = descriptors(stocked)
    crowd = []
    try:
        for number in range(10_000 if soak else 1_000):
            one = socket.socket(socket.AF_UNIX)
            crowd.append(one)
            one.settimeout(10)
            until(
                lambda one=one: one.connect_ex(str(stocked.engine.socket)) == 0, "a place is free"
            )
            if number % 3 == 0:
                one.sendall(b"GET /_ping HT")
            elif number % 3 == 1:
                one.sendall(b"POST /containers/create HTTP/1.1\r\nContent-Length: 900\r\n\r\n{")
        assert stocked.client.containers.run(stocked.image, ["echo", "a"], remove=True) == b"a\n"
    finally:
        for one in crowd:
            one.close()
    until(lambda: descriptors(stocked) <= before + 4, "their descriptors are closed")


def test_clients_that_vanish(stocked: Stocked, soak: bool) -> None:
    """In the middle of attach, exec, logs, wait, events, stats, pull, load, build."""
    running = stocked.shell("while :; do echo line; sleep 0.1; done")
    prepared = stocked.api.exec_create(running.id, ["sh", "-c", "cat; sleep 0.1"], stdin=True)["Id"]
    upgrade = b"Connection: Upgrade\r\nUpgrade: tcp\r\n"
    path = f"/containers/{running.id}"
    requests = [
        (f"POST {path}/attach?stream=1&stdout=1&stdin=1", upgrade, b""),
        (f"POST /exec/{prepared}/start", upgrade, b'{"Detach":false,"Tty":false}'),
        (f"GET {path}/logs?follow=1&stdout=1", b"", b""),
        (f"GET {path}/stats", b"", b""),
        (f"POST {path}/wait", b"", b""),
        ("GET /events", b"", b""),
        ("POST /images/load", b"", FILE[:2000]),
        ("POST /build", b"", GOOD[:700]),
        (f"PUT {path}/archive?path=/", b"", FILE[:2000]),
        ("POST /images/create?fromImage=127.0.0.1:1/x", b"", b""),
    ]
    before = descriptors(stocked)
    for _ in range(20 if soak else 5):
        for target, headers, body in requests:
            with socket.socket(socket.AF_UNIX) as one:
                one.settimeout(10)
                one.connect(str(stocked.engine.socket))
                # More is promised than comes, where a body comes at all.
                length = len(body) + (5000 if len(body) > 500 else 0)
                head = f"{target} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n".encode()
                one.sendall(head + headers + b"\r\n" + body)
                if not body:
                    one.recv(10)
    until(lambda: descriptors(stocked) <= before + 4, "nothing of them stays open")
    assert running.exec_run(["echo", "a"]).output == b"a\n"
    running.remove(force=True)
    assert list(Path(stocked.engine.root, "tmp").glob("build-*")) == []


@pytest.mark.parametrize(
    "text", ["1e999", "-0.5", "null", '"x"', "[[[[", "{}", "1" * 5000, '{"a":']
)
def test_bodies_that_are_wrong(stocked: Stocked, text: str) -> None:
    for target in ("/containers/create", "/networks/create", "/volumes/create"):
        for whole in (text, f'{{"Image":{text}, "Name":{text}, "HostConfig":{{"Memory":{text}}}}}'):
            connection = http.client.HTTPConnection("localhost", timeout=30)
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.connect(str(stocked.engine.socket))
            try:
                kind = {"Content-Type": "application/json"}
                connection.request("POST", target, whole, kind)
                answer = connection.getresponse()
                body = answer.read()
                assert answer.status < 500, (target, whole[:99], body)
            finally:
                connection.close()
            if answer.status == 201 and target.startswith("/networks"):
                stocked.api.remove_network(json.loads(body)["Id"])
            elif answer.status == 201 and target.startswith("/volumes"):
                stocked.api.remove_volume(json.loads(body)["Name"])
