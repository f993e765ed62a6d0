"""Our own endpoints, on a real engine with a small image made on the spot."""

from __future__ import annotations

import hashlib
import http.client
import io
import json
import os
import socket
import tarfile
from typing import Any

import pytest

NAME = "lab/endpoints:1"


def tar_of(files: dict[str, bytes | None]) -> bytes:
    """Pack files; None is a folder."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.type = tarfile.DIRTYPE if data is None else tarfile.REGTYPE
            entry.mode = 0o755 if data is None else 0o644
            entry.size = len(data or b"")
            archive.addfile(entry, io.BytesIO(data or b""))
    return buffer.getvalue()


def image() -> bytes:
    layers = [
        tar_of({"etc": None, "etc/motd": b"hello\n", "etc/old": b"12345"}),
        tar_of({"etc": None, "etc/.wh.old": b"", "etc/motd": b"hello again\n", "new": b"1"}),
    ]
    digests = [f"sha256:{hashlib.sha256(layer).hexdigest()}" for layer in layers]
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": digests},
        "history": [
            {"created": "2026-01-01T00:00:00Z", "created_by": "COPY one"},
            {"created": "2026-01-01T00:00:00Z", "created_by": "ENV x", "empty_layer": True},
            {"created": "2026-01-02T00:00:00Z", "created_by": "COPY two"},
        ],
    }
    manifest = [{"Config": "config.json", "RepoTags": [NAME], "Layers": ["0.tar", "1.tar"]}]
    return tar_of(
        {
            "config.json": json.dumps(config).encode(),
            "manifest.json": json.dumps(manifest).encode(),
            "0.tar": layers[0],
            "1.tar": layers[1],
        }
    )


def ask(engine: Any, method: str, target: str, body: bytes | None = None) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("localhost", timeout=30)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(30)
    connection.sock.connect(str(engine.socket))
    try:
        headers = {"Content-Type": "application/x-tar"} if body is not None else {}
        connection.request(method, target, body, headers)
        answer = connection.getresponse()
        text = answer.read()
    finally:
        connection.close()
    return answer.status, json.loads(text) if text[:1] == b"{" and b"\r\n" not in text else text


@pytest.fixture
def loaded(engine: Any) -> Any:
    assert ask(engine, "POST", "/images/load", image())[0] == 200
    yield engine
    ask(engine, "DELETE", f"/images/{NAME}")


def test_layers_say_what_each_did(loaded: Any) -> None:
    status, document = ask(loaded, "GET", f"/dockerlab/v1/images/{NAME}/layers")
    assert status == 200
    first, second = document["layers"]
    assert (first["instruction"], second["instruction"]) == ("COPY one", "COPY two")
    marks = {one["path"]: (one["mark"], one["size"]) for one in second["entries"]}
    assert marks == {
        "etc": ("same", 0),
        "etc/motd": ("changed", 12),
        "etc/old": ("removed", 5),
        "new": ("added", 1),
    }
    assert {one["mark"] for one in first["entries"]} == {"added"}


def test_the_ledger_accounts_for_every_byte(loaded: Any) -> None:
    status, document = ask(loaded, "GET", f"/dockerlab/v1/images/{NAME}/ledger")
    assert status == 200
    report = document["report"]
    assert report["layers"] == [
        {"shipped": 11, "dead": 11, "hid": 0},
        {"shipped": 13, "dead": 0, "hid": 11},
    ]
    assert report["live"] == 13
    causes = {one["path"]: (one["cause"], one["layer"], one["hidden_by"]) for one in report["dead"]}
    assert causes == {"etc/motd": ("overwritten", 0, 1), "etc/old": ("deleted", 0, 1)}
    assert [one["path"] for one in document["dive"]["inefficient"]] == ["/etc/motd", "/etc/old"]


def test_engine_and_doctor(engine: Any) -> None:
    status, document = ask(engine, "GET", "/dockerlab/v1/engine")
    assert status == 200
    assert document["root"] == str(engine.root)
    assert document["pid"] != os.getpid()
    status, document = ask(engine, "GET", "/dockerlab/v1/doctor")
    assert status == 200
    assert document["mode"]
