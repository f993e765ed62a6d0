"""The registry protocol, spoken by a client that is not ours (requests)."""

from __future__ import annotations

import hashlib
import json
import socket
import ssl
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urljoin

import pytest
import requests

from tests.engine.registry.conftest import Running, serving

MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def error(answer: requests.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["errors"][0]["code"]


def push_blob(url: str, name: str, data: bytes) -> str:
    session = requests.post(f"{url}/{name}/blobs/uploads/")
    assert session.status_code == 202
    place = urljoin(session.url, session.headers["Location"])
    done = requests.put(place, params={"digest": digest(data)}, data=data)
    assert done.status_code == 201, done.text
    assert done.headers["Docker-Content-Digest"] == digest(data)
    return digest(data)


def push_image(url: str, name: str, tag: str, *layers: bytes) -> str:
    config = json.dumps({"os": "linux", "n": len(layers)}).encode()
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": "c", "digest": push_blob(url, name, config), "size": len(config)},
        "layers": [
            {"mediaType": "l", "digest": push_blob(url, name, data), "size": len(data)}
            for data in layers
        ],
    }
    raw = json.dumps(document).encode()
    answer = requests.put(
        f"{url}/{name}/manifests/{tag}", data=raw, headers={"Content-Type": MANIFEST}
    )
    assert answer.status_code == 201, answer.text
    assert answer.headers["Docker-Content-Digest"] == digest(raw)
    return digest(raw)


def test_probe(registry: Running) -> None:
    answer = requests.get(registry.url + "/")
    assert (answer.status_code, answer.json()) == (200, {})
    assert answer.headers["Docker-Distribution-Api-Version"] == "registry/2.0"


def test_tls_is_refused_at_once(registry: Running) -> None:
    host, port = registry.address.split(":")
    with socket.create_connection((host, int(port)), timeout=5) as plain:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        with pytest.raises(ssl.SSLError):
            context.wrap_socket(plain, server_hostname="localhost")
    with socket.create_connection((host, int(port)), timeout=5) as slow:
        slow.sendall(b"G")  # the first byte alone tells nothing wrong
        slow.sendall(b"ET /v2/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert slow.makefile("rb").readline() == b"HTTP/1.1 200 OK\r\n"


def test_push_and_pull(registry: Running) -> None:
    url = registry.url
    layer = b"layer" * 100_000
    manifest = push_image(url, "team/app", "1.0", layer)
    for reference in ("1.0", manifest):
        answer = requests.get(f"{url}/team/app/manifests/{reference}")
        assert digest(answer.content) == answer.headers["Docker-Content-Digest"] == manifest
        assert answer.headers["Content-Type"] == MANIFEST
        head = requests.head(f"{url}/team/app/manifests/{reference}")
        assert int(head.headers["Content-Length"]) == len(answer.content)
    assert requests.get(f"{url}/team/app/blobs/{digest(layer)}").content == layer
    assert requests.head(f"{url}/team/app/blobs/{digest(layer)}").headers["Content-Length"] == str(
        len(layer)
    )
    assert error(requests.get(f"{url}/team/app/manifests/2.0")) == (404, "MANIFEST_UNKNOWN")
    assert error(requests.get(f"{url}/nobody/manifests/2.0")) == (404, "NAME_UNKNOWN")
    assert error(requests.get(f"{url}/other/blobs/{digest(layer)}")) == (404, "BLOB_UNKNOWN")


@pytest.mark.parametrize(
    ("wanted", "status", "shown"),
    [
        ("bytes=2-", 206, b"23456789"),
        ("bytes=2-4", 206, b"234"),
        ("bytes=-3", 206, b"789"),
        ("bytes=5-99", 206, b"56789"),
        ("bytes=10-", 416, None),
        ("lines=1-2", 200, b"0123456789"),
    ],
)
def test_ranges(registry: Running, wanted: str, status: int, shown: bytes | None) -> None:
    name = push_blob(registry.url, "r", b"0123456789")
    answer = requests.get(f"{registry.url}/r/blobs/{name}", headers={"Range": wanted})
    assert answer.status_code == status
    if shown is not None:
        assert answer.content == shown


def test_chunked_upload(registry: Running) -> None:
    data = b"".join(bytes([n]) * 70_000 for n in range(9))
    session = requests.post(f"{registry.url}/a/b/blobs/uploads/")
    place = urljoin(session.url, session.headers["Location"])
    half = len(data) // 2
    first = requests.patch(place, data=data[:half], headers={"Content-Range": f"0-{half - 1}"})
    assert (first.status_code, first.headers["Range"]) == (202, f"0-{half - 1}")
    wrong = requests.patch(place, data=b"x", headers={"Content-Range": "7-7"})
    assert error(wrong) == (416, "RANGE_INVALID")
    told = requests.get(place)
    assert (told.status_code, told.headers["Range"]) == (204, f"0-{half - 1}")
    second = requests.patch(place, data=iter([data[half:]]))  # chunked, as docker does it
    assert second.status_code == 202
    done = requests.put(place, params={"digest": digest(data)})
    assert done.status_code == 201
    assert requests.get(f"{registry.url}/a/b/blobs/{digest(data)}").content == data
    assert error(requests.get(place)) == (404, "BLOB_UPLOAD_UNKNOWN")


def test_mount_and_single_post(registry: Running) -> None:
    url, data = registry.url, b"shared"
    answer = requests.post(f"{url}/one/blobs/uploads/", params={"digest": digest(data)}, data=data)
    assert answer.status_code == 201
    mount = {"mount": digest(data), "from": "one"}
    assert requests.post(f"{url}/two/blobs/uploads/", params=mount).status_code == 201
    assert requests.get(f"{url}/two/blobs/{digest(data)}").content == data
    absent = {"mount": digest(b"nothing"), "from": "one"}
    assert requests.post(f"{url}/two/blobs/uploads/", params=absent).status_code == 202


def test_wrong_digest_leaves_nothing(registry: Running) -> None:
    session = requests.post(f"{registry.url}/a/blobs/uploads/")
    place = urljoin(session.url, session.headers["Location"])
    answer = requests.put(place, params={"digest": digest(b"promised")}, data=b"sent")
    assert error(answer) == (400, "DIGEST_INVALID")
    assert list((registry.storage.root / "uploads").iterdir()) == []
    assert list((registry.storage.root / "blobs" / "sha256").iterdir()) == []


def test_manifest_of_missing_blobs_is_refused(registry: Running) -> None:
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": "c", "digest": digest(b"no"), "size": 2},
        "layers": [],
    }
    for raw, code in (
        (json.dumps(document).encode(), (404, "MANIFEST_BLOB_UNKNOWN")),
        (json.dumps(document | {"manifests": []}).encode(), (400, "MANIFEST_INVALID")),
        (b"<html>", (400, "MANIFEST_INVALID")),
        (b"[" * 100_000, (400, "MANIFEST_INVALID")),
        (b" " * (4 << 20) + b"{}", (400, "MANIFEST_INVALID")),
    ):
        answer = requests.put(
            f"{registry.url}/a/manifests/t", data=raw, headers={"Content-Type": MANIFEST}
        )
        assert error(answer) == code


@pytest.mark.parametrize("name", ["..", "a/../b", "_blobs", "UPPER", "a//b", "a/_tags", "x" * 256])
def test_hostile_names(registry: Running, name: str) -> None:
    request = requests.Request("POST", "http://placeholder/").prepare()
    request.url = f"{registry.url}/{name.replace('.', '%2e').replace('/', '%2f')}/blobs/uploads/"
    with requests.Session() as session:
        answer = session.send(request)
    assert answer.status_code in {400, 404}
    assert list((registry.storage.root / "repositories").iterdir()) == []


@pytest.mark.parametrize("text", ["sha256:../../../etc/passwd", "sha256:" + "0" * 63, "md5:00"])
def test_hostile_digests(registry: Running, text: str) -> None:
    push_blob(registry.url, "a", b"x")
    wire = text.replace("/", "%2f").replace(".", "%2e")
    request = requests.Request("GET", "http://placeholder/").prepare()
    request.url = f"{registry.url}/a/blobs/{wire}"
    with requests.Session() as session:
        assert error(session.send(request)) == (400, "DIGEST_INVALID")


def test_lists_and_pages(registry: Running) -> None:
    url = registry.url
    for name in ("a", "a/b", "c"):
        for tag in ("1", "2", "3"):
            push_image(url, name, tag, b"x")
    assert requests.get(f"{url}/_catalog").json() == {"repositories": ["a", "a/b", "c"]}
    assert requests.get(f"{url}/a/b/tags/list").json() == {"name": "a/b", "tags": ["1", "2", "3"]}
    page = requests.get(f"{url}/a/tags/list", params={"n": 2})
    assert page.json()["tags"] == ["1", "2"]
    rest = requests.get(urljoin(page.url, page.links["next"]["url"]))
    assert rest.json()["tags"] == ["3"]
    assert "next" not in rest.links


def test_delete_frees_the_bytes(registry: Running) -> None:
    url = registry.url
    first, second = push_image(url, "a", "1", b"x"), push_image(url, "b", "1", b"x", b"y")
    assert first != second
    assert requests.delete(f"{url}/a/manifests/{first}").status_code == 202
    assert requests.get(f"{url}/a/tags/list").json()["tags"] == []
    assert requests.delete(f"{url}/a/blobs/{digest(b'x')}").status_code == 202
    assert requests.get(f"{url}/b/blobs/{digest(b'x')}").content == b"x"
    assert requests.delete(f"{url}/b/blobs/{digest(b'x')}").status_code == 202
    assert not (registry.storage.root / "blobs/sha256" / digest(b"x")[7:]).exists()


def test_parallel_pushes_of_the_same_layers(registry: Running) -> None:
    layers = [bytes([n]) * 300_000 for n in range(4)]
    gate = threading.Barrier(6)

    def push(number: int) -> None:
        gate.wait()
        push_image(registry.url, f"p{number % 3}", f"t{number}", *layers)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(push, range(6)))
    for number in range(6):
        tags = requests.get(f"{registry.url}/p{number % 3}/tags/list").json()["tags"]
        assert f"t{number}" in tags
    assert list((registry.storage.root / "uploads").iterdir()) == []


def test_content_survives_a_restart_and_read_only(tmp_path: Path) -> None:
    with serving(tmp_path) as running:
        manifest = push_image(running.url, "a", "1", b"x")
    with serving(tmp_path, read_only=True) as running:
        answer = requests.get(f"{running.url}/a/manifests/1")
        assert answer.headers["Docker-Content-Digest"] == manifest
        assert error(requests.post(f"{running.url}/a/blobs/uploads/")) == (405, "UNSUPPORTED")
        assert error(requests.delete(f"{running.url}/a/manifests/1")) == (405, "UNSUPPORTED")
