"""One blob from servers that break off, lie and come back."""

from __future__ import annotations

import hashlib
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dockerlab.engine.registry.download import Cancelled, Download, Patience
from dockerlab.engine.registry.transport import Registry, Rules
from dockerlab.engine.store.blobs import Blobs
from dockerlab.errors import Failed
from dockerlab.oci import names
from dockerlab.oci.documents import Descriptor
from tests.engine.registry.lying import Says, Seen, lying

DATA = bytes(range(256)) * 4000
DIGEST = "sha256:" + hashlib.sha256(DATA).hexdigest()
BLOB = Descriptor(digest=DIGEST, size=len(DATA))


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(tmp_path)


def download(blobs: Blobs, address: str, said: list[str] | None = None) -> Download:
    heard: list[str] = [] if said is None else said
    return Download(
        blobs,
        Registry(address, rules=Rules(delay_s=0.01)),
        names.parse(f"{address}/a/b"),
        BLOB,
        progress=lambda status, current, total: heard.append(status),
        patience=Patience(tries=3, step_s=0),
    )


def ranged(seen: Seen, data: bytes = DATA, cut: int | None = None) -> Says:
    start = int(seen.headers.get("Range", "bytes=0-")[6:-1])
    if not start:
        return Says(200, data, cut=cut)
    head = {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"}
    return Says(206, data[start:], head, cut=cut)


def nothing_left(blobs: Blobs, tmp_path: Path) -> None:
    assert not blobs.has(DIGEST)
    assert [path.name for path in (tmp_path / "partial").iterdir()] == []
    assert list((tmp_path / "tmp").iterdir()) == []


def test_readers_follow_and_end_after_the_check(blobs: Blobs) -> None:
    said: list[str] = []
    with lying(ranged) as server:
        one = download(blobs, server.address, said)
        thread = threading.Thread(target=one.run)
        thread.start()
        with one.reader() as reader:
            assert b"".join(iter(lambda: reader.read(70_000), b"")) == DATA
        thread.join()
    assert blobs.has(DIGEST)
    assert said[-2:] == ["Verifying Checksum", "Download complete"]
    with one.reader() as again:
        assert again.read(10) == DATA[:10]


def test_broken_connections_are_resumed(blobs: Blobs) -> None:
    cuts = [300_000, 200_000, None]
    with lying(lambda s: Says() if s.path == "/v2/" else ranged(s, cut=cuts.pop(0))) as server:
        download(blobs, server.address).run()
        assert [seen.headers.get("Range") for seen in server.seen[1:]] == [
            None,
            "bytes=300000-",
            "bytes=500000-",
        ]
    assert blobs.read(DIGEST) == DATA


def test_a_part_of_an_earlier_attempt_is_used(blobs: Blobs) -> None:
    blobs.partial_path(DIGEST).write_bytes(DATA[:1000])
    with lying(ranged) as server:
        download(blobs, server.address).run()
        assert server.seen[-1].headers["Range"] == "bytes=1000-"
    assert blobs.read(DIGEST) == DATA


def test_a_server_without_ranges_begins_anew(blobs: Blobs) -> None:
    blobs.partial_path(DIGEST).write_bytes(DATA[:1000])
    with lying(lambda seen: Says(200, DATA)) as server:
        download(blobs, server.address).run()
    assert blobs.read(DIGEST) == DATA


def test_a_bad_part_is_dropped_and_readers_are_told(blobs: Blobs) -> None:
    blobs.partial_path(DIGEST).write_bytes(b"x" * 1000)
    with lying(ranged) as server:
        download(blobs, server.address).run()
        assert [seen.headers.get("Range") for seen in server.seen[1:]] == ["bytes=1000-", None]
    assert blobs.read(DIGEST) == DATA


def test_busy_then_ready(blobs: Blobs) -> None:
    said: list[str] = []
    replies = [Says(429, headers={"Retry-After": "1"}), Says(200, DATA)]
    with lying(lambda seen: Says() if seen.path == "/v2/" else replies.pop(0)) as server:
        download(blobs, server.address, said).run()
    assert "Retrying in 1 second" in said


@pytest.mark.parametrize(
    ("says", "text"),
    [
        (Says(200, b"y" * len(DATA)), f"filesystem layer verification failed for digest {DIGEST}"),
        (Says(200, DATA + b"more"), "verification failed"),
        (Says(200, DATA[:-1]), "verification failed"),
        (Says(200, DATA + b"more", length=False), "verification failed"),
        (Says(200, b"<html>", {"Content-Type": "text/html"}), "verification failed"),
        (Says(404, b'{"errors":[{"code":"BLOB_UNKNOWN","message":"no"}]}'), "blob unknown: no"),
        (Says(403), "denied: requested access"),
        (Says(500, b""), "unexpected HTTP status: 500"),
    ],
    ids=["digest", "longer", "shorter", "longer, no length", "html", "404", "403", "500"],
)
def test_lies_leave_nothing(blobs: Blobs, tmp_path: Path, says: Says, text: str) -> None:
    with lying(lambda seen: Says() if seen.path == "/v2/" else says) as server:
        one = download(blobs, server.address)
        with pytest.raises(Failed) as caught:
            one.run()
        assert text in caught.value.message
        with pytest.raises(Failed):
            one.reader()
    nothing_left(blobs, tmp_path)


def test_a_stalled_download_can_be_given_up(blobs: Blobs) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(DATA)
    sent = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(2) as pool:

        def answer() -> None:
            with server.accept()[0] as peer:
                peer.settimeout(20)
                peer.recv(4096)
                peer.sendall(head + DATA[:5000])
                sent.set()
                assert peer.recv(4096) == b""  # silent until the other side leaves

        serving = pool.submit(answer)
        one = download(blobs, f"127.0.0.1:{server.getsockname()[1]}")
        one._registry._base = f"http://{one._registry.domain}"  # no probe: one connection only
        running = pool.submit(one.run)
        assert sent.wait(20)
        one.cancel()
        with pytest.raises(Cancelled):
            running.result(timeout=20)
        serving.result(timeout=20)
    assert not blobs.has(DIGEST)


def test_always_cut_at_the_same_place(blobs: Blobs) -> None:
    with lying(lambda s: Says() if s.path == "/v2/" else Says(200, DATA, cut=0)) as server:
        with pytest.raises(Failed, match="EOF"):
            download(blobs, server.address).run()
        assert len(server.seen) == 1 + 3
    assert not blobs.has(DIGEST)
