"""save, load, export, import: what goes out comes back; hostile archives are refused."""

from __future__ import annotations

import gzip
import io
import json
import resource
import tarfile
from pathlib import Path

import pytest

from dockerlab.engine.store import archives, check, load
from dockerlab.engine.store.store import Store
from dockerlab.engine.store.streams import IterableSource
from dockerlab.errors import DockerlabError, InvalidRequest, NotFound
from dockerlab.oci import digests, names, platforms
from tests.engine.store.conftest import Tar, diff_id
from tests.engine.store.test_images import make, nobody

HERE = platforms.of_machine("x86_64")
LAYER = Tar().add("file", data=b"content").bytes()


def config(*layers):
    rootfs = {"diff_ids": [diff_id(layer) for layer in layers]}
    return json.dumps({"architecture": "amd64", "os": "linux", "rootfs": rootfs}).encode()


def docker_archive(layers, *, tags=("a:1",), paths=None, tar=None):
    tar = tar or Tar()
    paths = paths or [f"{number}/layer.tar" for number in range(len(layers))]
    for path, layer in zip(paths, layers, strict=False):
        tar.add(path, data=layer)
    tar.add("config.json", data=config(*layers))
    listed = [{"Config": "config.json", "RepoTags": list(tags), "Layers": paths}]
    return tar.add("manifest.json", data=json.dumps(listed).encode()).bytes()


def load_bytes(store, data):
    return load.load(store, io.BytesIO(data), platform=HERE)


def saved(store, *wanted):
    return b"".join(archives.save(store, wanted))


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_docker_archives(store, pack):
    ticks = []
    data = pack(docker_archive([LAYER]))
    found = load.load(store, io.BytesIO(data), platform=HERE, progress=lambda *t: ticks.append(t))
    assert [one.tags for one in found] == [("a:1",)]
    assert ticks[-1] == (diff_id(LAYER), len(LAYER), len(LAYER))
    image = store.images.resolve("a:1")
    assert store.layers.read_file(image.layers[0], "file") == b"content"
    assert check.check(store.images, store.layers, store.blobs, deep=True).is_whole


def test_layers_that_are_links_to_other_layers(store):
    tar = Tar().add("x/layer.tar", data=LAYER).link("y/layer.tar", "../x/layer.tar")
    data = docker_archive([LAYER, LAYER], paths=["x/layer.tar", "y/layer.tar"], tar=tar)
    assert len(load_bytes(store, data)[0].image.layers) == 2


def test_what_is_saved_is_loaded_elsewhere(store, tmp_path):
    image = make(store, "one", "two", tags=["a:1", "b:2"])
    data = saved(store, "a:1", "b:2")
    assert saved(store, "a:1", "b:2") == data
    other = Store.open(tmp_path / "other")
    found = load_bytes(other, data)
    assert [(one.image.id, one.tags) for one in found] == [(image.id, ("a:1", "b:2"))]
    assert saved(other, "a:1", "b:2") == data
    other.close()


def test_archives_hold_what_docker_expects(store):
    image = make(store, "one", tags=["a:1"])
    with tarfile.open(fileobj=io.BytesIO(saved(store, "a:1"))) as tar:
        listed = json.load(tar.extractfile("manifest.json"))
        assert listed[0]["RepoTags"] == ["a:1"]
        assert listed[0]["Config"] == f"blobs/sha256/{image.id[7:]}"
        index = json.load(tar.extractfile("index.json"))
        notes = index["manifests"][0]["annotations"]
        assert notes["io.containerd.image.name"] == "docker.io/library/a:1"
        for member in tar.getmembers():
            assert member.mtime == 0
            if member.isfile() and member.name.startswith("blobs/"):
                body = tar.extractfile(member).read()
                assert digests.of(body) == "sha256:" + member.name.rpartition("/")[2]


def test_names_in_archives(store):
    image = make(store, "one", tags=["a:1", "a:2"])

    def tags(*wanted):
        with tarfile.open(fileobj=io.BytesIO(saved(store, *wanted))) as tar:
            return json.load(tar.extractfile("manifest.json"))[0]["RepoTags"]

    assert tags("a") == ["a:1", "a:2"]
    assert tags(image.id) is None
    with pytest.raises(NotFound):
        archives.save(store, ["missing"])


def test_an_oci_layout_without_manifest_json(store, tmp_path):
    make(store, "one", tags=["a:1"])
    tar = Tar()
    with tarfile.open(fileobj=io.BytesIO(saved(store, "a:1"))) as made:
        for member in made.getmembers():
            if member.isfile() and member.name != "manifest.json":
                tar.add(member.name, data=made.extractfile(member).read())
    other = Store.open(tmp_path / "other")
    assert load_bytes(other, tar.bytes())[0].tags == ("a:1",)
    other.close()


def test_a_present_layer_is_not_asked_for(store):
    load_bytes(store, docker_archive([LAYER]))
    path = diff_id(LAYER)[7:] + "/layer.tar"
    lying = docker_archive([LAYER], paths=[path], tar=Tar().add(path, data=b"nonsense"))
    assert load_bytes(store, lying)[0].image.id == store.images.resolve("a:1").id


def test_a_moved_tag_is_told(store):
    old = load_bytes(store, docker_archive([LAYER]))[0].image
    new = load_bytes(store, docker_archive([Tar().add("x").bytes()]))[0]
    assert new.replaced == (("a:1", old.id),)


HOSTILE = {
    "path out": docker_archive([LAYER], paths=["../../etc/passwd"], tar=Tar().add("x")),
    "absolute path": docker_archive([], paths=["/etc/passwd"]),
    "link out": docker_archive(
        [], paths=["x/layer.tar"], tar=Tar().link("x/layer.tar", "../../../etc/passwd")
    ),
    "links in circles": docker_archive([], paths=["x"], tar=Tar().link("x", "y").link("y", "x")),
    "another layer": Tar()
    .add("l", data=LAYER)
    .add("c", data=config(b"other"))
    .add("manifest.json", data=b'[{"Config":"c","Layers":["l"]}]')
    .bytes(),
    "too few layers": Tar()
    .add("c", data=config(LAYER))
    .add("manifest.json", data=b'[{"Config":"c","Layers":[]}]')
    .bytes(),
    "no archive of images": Tar().add("x").bytes(),
    "no archive": b"nonsense" * 1000,
    "manifest.json of the wrong kind": Tar().add("manifest.json", data=b"{}").bytes(),
    "an index that names what is not there": Tar()
    .add(
        "index.json",
        data=json.dumps(
            {"schemaVersion": 2, "manifests": [{"digest": "sha256:" + "0" * 64, "size": 1}]}
        ).encode(),
    )
    .bytes(),
    "a digest that is a path": Tar()
    .add("index.json", data=b'{"manifests":[{"digest":"sha256:../../x","size":1}]}')
    .bytes(),
    "cut off": docker_archive([LAYER])[:3000],
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_archives(store, name):
    with pytest.raises(DockerlabError):
        load_bytes(store, HOSTILE[name])
    assert store.images.list() == []
    assert list((store.root / "tmp").iterdir()) == []


def test_an_archive_of_many_files_takes_few_descriptors(store):
    tar = Tar()
    for number in range(300):
        tar.add(f"{number}/layer.tar", data=b"%d" % number)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len([*Path("/proc/self/fd").iterdir()]) + 40, hard))
    try:
        with pytest.raises(InvalidRequest, match=r"does not contain a manifest\.json"):
            load_bytes(store, tar.bytes())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_an_archive_of_long_names_takes_little_memory(store, monkeypatch):
    monkeypatch.setattr(load, "_MAX_DOCUMENTS", 10_000)
    tar = Tar()
    for number in range(20):
        tar.link(f"{number}", "x" * 1000)
    with pytest.raises(InvalidRequest, match="too many documents"):
        load_bytes(store, tar.bytes())


def test_a_blob_that_lies_about_its_digest(store):
    tar = Tar().add("blobs/sha256/" + "0" * 64, data=b"x" * (9 << 20))
    with pytest.raises(InvalidRequest, match="has the digest"):
        load_bytes(store, tar.bytes())


def test_export_and_import(store):
    image = make(store, "one", "two")
    with store.snapshots.image_root(image.layers) as root:
        data = b"".join(archives.chunks_of(archives.export(root)))
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert sorted(tar.getnames()) == ["one", "two"]
    made = archives.import_tree(
        store,
        IterableSource([gzip.compress(data)]),
        created="2024-02-03T04:05:06Z",
        architecture="amd64",
        message="from elsewhere",
    )
    assert store.images.history(made)[0].comment == "from elsewhere"
    assert store.layers.read_file(made.layers[0], "two") == b"two"
    store.images.tag_sync(made.id, names.parse_complete("i"))
    assert store.images.remove_sync("i", users=nobody).freed_bytes == 6
