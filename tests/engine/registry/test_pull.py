"""Whole pulls into a real store: from our own registry, and from one that lies."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from dockerlab.engine.registry.download import Patience
from dockerlab.engine.registry.pull import Pulled, Puller
from dockerlab.engine.registry.resolve import list_tags, resolve
from dockerlab.engine.registry.transport import Registry, Rules
from dockerlab.engine.store.blobs import Blobs
from dockerlab.engine.store.db import Database
from dockerlab.engine.store.layers import Layers
from dockerlab.errors import DockerlabError, Failed, NotFound, Unsupported
from dockerlab.oci import names, platforms
from tests.engine.registry.conftest import Running
from tests.engine.registry.lying import Says, Seen, lying

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
HERE = platforms.of_machine(os.uname().machine)


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def tar_of(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return out.getvalue()


@dataclass
class Offer:
    """The content of a registry; tests bend single entries of it."""

    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[str, tuple[str, bytes]] = field(default_factory=dict)

    def blob(self, data: bytes, media_type: str) -> dict[str, object]:
        self.blobs[digest(data)] = data
        return {"mediaType": media_type, "digest": digest(data), "size": len(data)}

    def image(self, tag: str, *tars: bytes, config_type: str = CONFIG) -> str:
        config = {
            "os": "linux",
            "architecture": HERE.architecture,
            "config": {"Cmd": ["/bin/sh"]},
            "rootfs": {"type": "layers", "diff_ids": [digest(tar) for tar in tars]},
        }
        document = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": self.blob(json.dumps(config).encode(), config_type),
            "layers": [self.blob(gzip.compress(tar, mtime=0), LAYER) for tar in tars],
        }
        return self.manifest(tag, OCI_MANIFEST, json.dumps(document).encode())

    def manifest(self, tag: str, media_type: str, raw: bytes) -> str:
        for name in (tag, digest(raw)):
            self.manifests[name] = (media_type, raw)
        return digest(raw)

    def __call__(self, seen: Seen) -> Says:
        kind, _, name = seen.path.removeprefix("/v2/a/").partition("/")
        if kind == "manifests" and name in self.manifests:
            media_type, raw = self.manifests[name]
            return Says(200, raw, {"Content-Type": media_type})
        if kind == "blobs" and name in self.blobs:
            return Says(200, self.blobs[name])
        return Says(200 if seen.path == "/v2/" else 404)


class World:
    """A store and what a pull said."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir()
        self.db = Database(root / "state.db")
        self.blobs = Blobs(root)
        self.layers = Layers(root, self.db)
        self.said: list[tuple[str, str]] = []

    def pull(self, address: str, name: str = "a:latest", rules: Rules | None = None) -> Pulled:
        return asyncio.run(self._pull(f"{address}/{name}", rules))

    async def _pull(self, text: str, rules: Rules | None) -> Pulled:
        puller = Puller(self.blobs, self.layers, Patience(tries=2, step_s=0))
        reference = names.parse_complete(text)
        registry = Registry(reference.domain, rules=rules or Rules(delay_s=0.01, tries=2))
        try:
            resolved = await asyncio.to_thread(resolve, registry, reference, HERE)
            return await puller.pull(
                registry, reference, resolved, report=self._report, keep=self._keep
            )
        finally:
            await puller.close()
            registry.close()

    def _keep(self, pulled: Pulled) -> Pulled:
        self.layers.hold(f"image:{digest(pulled.config_raw)}", pulled.layers)
        return pulled

    def _report(self, name: str, status: str, current: int, total: int) -> None:
        if not self.said or self.said[-1] != (name, status):
            self.said.append((name, status))

    def assert_clean(self) -> None:
        assert list((self.root / "tmp").iterdir()) == []
        assert list((self.root / "partial").iterdir()) == []
        assert self.layers.numbers_on_disk() == {row.number for row in self.layers.rows.values()}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path / "store")
    yield made
    made.db.close()


@pytest.fixture
def offer() -> Offer:
    return Offer()


ONE, TWO = tar_of({"a": b"one" * 1000, "d/x": b"x"}), tar_of({"b": b"two" * 50_000})


def test_an_image_comes_whole(world: World, offer: Offer) -> None:
    offer.image("latest", ONE, TWO)
    with lying(offer) as server:
        pulled = world.pull(server.address)
        assert [layer.diff_id for layer in pulled.layers] == [digest(ONE), digest(TWO)]
        assert pulled.config.config.cmd == ("/bin/sh",)
        assert b"".join(world.layers.tar(pulled.layers[1])) == TWO
        first = digest(gzip.compress(ONE, mtime=0))[7:19]
        words = [status for name, status in world.said if name == first]
        assert words[0] == "Pulling fs layer"
        assert words[-3:] == ["Verifying Checksum", "Download complete", "Pull complete"] or (
            "Extracting" in words
        )
        asked = len(server.seen)
        world.said.clear()
        assert world.pull(server.address).layers == pulled.layers
        assert [status for _, status in world.said] == ["Already exists"] * 2
        assert len(server.seen) == asked + 3  # probe, manifest, config
    world.assert_clean()


def test_the_starter_image(world: World, registry: Running, tmp_path: Path) -> None:
    from dockerlab.engine.registry.starter import publish
    from tests.engine.registry.test_starter import make_elf, put

    root = tmp_path / "host"
    put(root, "lib/ld-musl-x86_64.so.1", make_elf())
    put(root, "bin/sh", make_elf(interpreter="/lib/ld-musl-x86_64.so.1"))
    publish(registry.storage, root)
    pulled = world.pull(registry.address, "starter")
    assert world.layers.read_file(pulled.layers[2], "bin/sh").startswith(b"\x7fELF")
    assert list_tags(Registry(registry.address), names.parse(f"{registry.address}/starter")) == [
        "latest"
    ]


def test_index_and_digest(world: World, offer: Offer) -> None:
    child = offer.image("x", ONE)
    entries = [
        {"mediaType": OCI_MANIFEST, "digest": digest(b"no"), "size": 1, "platform": platform}
        for platform in (
            {"os": "unknown", "architecture": "unknown"},
            {"os": "linux", "architecture": "s390x"},
        )
    ]
    here = {"os": "linux", "architecture": HERE.architecture}
    entries.append({"mediaType": OCI_MANIFEST, "digest": child, "size": 1, "platform": here})
    raw = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}).encode()
    index = offer.manifest("latest", OCI_INDEX, raw)
    with lying(offer) as server:
        assert len(world.pull(server.address).layers) == 1
        assert len(world.pull(server.address, f"a@{index}").layers) == 1
        entries.pop()
        raw = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries})
        offer.manifest("latest", OCI_INDEX, raw.encode())
        with pytest.raises(NotFound, match="no matching manifest for linux/"):
            world.pull(server.address)


Bend = Callable[[Offer], None]


def wrong_layer_bytes(offer: Offer) -> None:
    for name, data in offer.blobs.items():
        if data.startswith(b"\x1f\x8b"):
            offer.blobs[name] = data[:-8] + b"12345678"


def cut_layer(offer: Offer) -> None:
    for name, data in offer.blobs.items():
        if data.startswith(b"\x1f\x8b"):
            offer.blobs[name] = data[:-8]


def missing_layer(offer: Offer) -> None:
    offer.blobs = {name: data for name, data in offer.blobs.items() if data.startswith(b"{")}


def wrong_config(offer: Offer) -> None:
    for name, data in offer.blobs.items():
        if data.startswith(b"{"):
            offer.blobs[name] = data.replace(b"linux", b"minix")


def wrong_diff_id(offer: Offer) -> None:
    other = Offer()
    other.image("latest", TWO, ONE)
    config = next(data for data in other.blobs.values() if data.startswith(b"{"))
    raw = json.loads(offer.manifests["latest"][1])
    raw["config"] = offer.blob(config, CONFIG)
    offer.manifest("latest", OCI_MANIFEST, json.dumps(raw).encode())


def one_diff_id_less(offer: Offer) -> None:
    raw = json.loads(offer.manifests["latest"][1])
    raw["layers"].append(raw["layers"][0])
    offer.manifest("latest", OCI_MANIFEST, json.dumps(raw).encode())


def climbing_layer(offer: Offer) -> None:
    offer.image("latest", ONE, tar_of({"../../../../../../tmp/climbed": b"x"}))


def no_tar(offer: Offer) -> None:
    offer.image("latest", ONE, b"this is no tar archive" * 100)


def an_artifact(offer: Offer) -> None:
    offer.image("latest", ONE, config_type="application/vnd.cncf.helm.config.v1+json")


def a_web_page(offer: Offer) -> None:
    offer.manifest("latest", "text/html", b"<html><body>Welcome</body></html>")


def schema_1(offer: Offer) -> None:
    raw = json.dumps({"schemaVersion": 1, "fsLayers": []}).encode()
    offer.manifest("latest", "application/vnd.docker.distribution.manifest.v1+json", raw)


def no_such_tag(offer: Offer) -> None:
    offer.manifests.clear()


@pytest.mark.parametrize(
    ("bend", "kind", "text"),
    [
        (wrong_layer_bytes, Failed, "filesystem layer verification failed for digest sha256:"),
        (cut_layer, Failed, "filesystem layer verification failed for digest sha256:"),
        (missing_layer, Failed, "404"),
        (wrong_config, Failed, "image config verification failed for digest sha256:"),
        (wrong_diff_id, Failed, "filesystem layer verification failed for digest sha256:"),
        (one_diff_id_less, Failed, "layers from manifest don't match image configuration"),
        (climbing_layer, DockerlabError, ""),
        (no_tar, DockerlabError, ""),
        (an_artifact, Unsupported, 'Encountered remote "application/vnd.cncf.helm'),
        (a_web_page, Failed, "error parsing HTTP 200 response body: invalid character '<'"),
        (schema_1, Unsupported, "schema 1 support has been removed"),
        (no_such_tag, NotFound, "a:latest not found: manifest unknown"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_lies_leave_nothing(
    world: World, offer: Offer, bend: Bend, kind: type[DockerlabError], text: str
) -> None:
    offer.image("latest", ONE, TWO)
    bend(offer)
    with lying(offer) as server:
        if bend is climbing_layer:
            # The name is kept inside the root, or refused; never followed out of it.
            try:
                world.pull(server.address)
            except DockerlabError:
                world.assert_clean()
            assert not Path("/tmp/climbed").exists()
            return
        with pytest.raises(kind) as caught:
            world.pull(server.address)
    assert text in caught.value.message
    world.assert_clean()
    assert world.layers.numbers_on_disk() == set()


def test_two_pulls_share_one_download(world: World, offer: Offer) -> None:
    offer.image("latest", ONE, TWO)
    offer.image("other", ONE, tar_of({"c": b"three"}))

    async def both(address: str) -> list[Pulled]:
        puller = Puller(world.blobs, world.layers)
        registry = Registry(address)
        try:
            found = []
            for name in ("a:latest", "a:other", "a:latest"):
                reference = names.parse_complete(f"{address}/{name}")
                resolved = await asyncio.to_thread(resolve, registry, reference, HERE)
                found.append(
                    puller.pull(
                        registry, reference, resolved, report=world._report, keep=world._keep
                    )
                )
            return list(await asyncio.gather(*found))
        finally:
            await puller.close()

    with lying(offer) as server:
        first, second, third = asyncio.run(both(server.address))
        assert first.layers == third.layers
        assert first.layers[0] == second.layers[0]
        blobs = [seen.path for seen in server.seen if "/blobs/" in seen.path]
        layers = [path for path in blobs if offer.blobs[path.rpartition("/")[2]][:1] == b"\x1f"]
        assert len(layers) == len(set(layers)) == 3


def test_a_cancelled_pull_leaves_at_most_a_part(world: World, offer: Offer) -> None:
    offer.image("latest", ONE, TWO)
    gate: list[asyncio.Event] = []

    async def cancelled(address: str) -> None:
        loop, reached = asyncio.get_running_loop(), asyncio.Event()
        gate.append(reached)

        def report(name: str, status: str, current: int, total: int) -> None:
            loop.call_soon_threadsafe(reached.set)

        puller = Puller(world.blobs, world.layers)
        registry = Registry(address)
        reference = names.parse_complete(f"{address}/a")
        resolved = await asyncio.to_thread(resolve, registry, reference, HERE)
        task = asyncio.create_task(
            puller.pull(registry, reference, resolved, report=report, keep=world._keep)
        )
        await reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not puller._jobs
        await puller.close()

    with lying(offer) as server:
        asyncio.run(cancelled(server.address))
        assert list((world.root / "tmp").iterdir()) == []
        assert len(world.pull(server.address).layers) == 2


def test_denied(world: World) -> None:
    def answer(seen: Seen) -> Says:
        if seen.path == "/v2/":
            return Says(200)
        body = {
            "errors": [{"code": "DENIED", "message": "requested access to the resource is denied"}]
        }
        return Says(403, json.dumps(body).encode())

    with lying(answer) as server:
        with pytest.raises(NotFound) as caught:
            world.pull(server.address)
        assert caught.value.message == (
            f"pull access denied for {server.address}/a, repository does not exist or may require "
            "'docker login': denied: requested access to the resource is denied"
        )
