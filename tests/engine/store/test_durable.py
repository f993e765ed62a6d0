"""After a power loss: what was not synced is looked at, and what is damaged goes."""

from __future__ import annotations

import time

import pytest

from dockerlab.engine.store import durable
from dockerlab.engine.store.store import Store
from tests.engine.store.test_images import make


@pytest.fixture(autouse=True)
def never_synced(monkeypatch):
    monkeypatch.setattr(durable, "_MOMENT_S", 3600.0)


def next_boot(store):
    """Open the store again as if the machine had started anew in between."""
    for key in store.durable._notes.keys():  # noqa: SIM118 - a method
        store.durable._notes.put_sync(key, "an earlier boot")
    store.close()
    return Store.open(store.root)


def test_what_is_whole_stays(store):
    image = make(store, "one", tags=["a"])
    again = next_boot(store)
    assert again.images.resolve("a").id == image.id
    assert again.durable.suspects() == []
    again.close()


@pytest.mark.parametrize("damage", ["a file of the layer", "the layer's index", "the config"])
def test_what_is_damaged_goes_with_its_image(store, damage):
    image = make(store, "one", "two", tags=["a"])
    other = make(store, "three", tags=["b"])
    folder = store.layers.path(image.layers[1])
    if damage == "a file of the layer":
        (folder / "fs/two").write_bytes(b"")
    elif damage == "the layer's index":
        (folder / "index").write_bytes(b"\0" * 100)
    else:
        store.blobs.path(image.id).write_bytes(b"")
    again = next_boot(store)
    assert [found.id for found in again.images.list()] == [other.id]
    assert again.images.tags.keys() == ["docker.io/library/b:latest"]
    assert again.layers.numbers_on_disk() == {other.layers[0].number}
    again.close()


def test_the_same_boot_needs_no_look(store):
    make(store, "one")
    store.close()
    again = Store.open(store.root)
    assert again.durable.suspects() == []
    assert again.durable._notes.keys()
    again.close()


def test_notes_go_once_the_disk_has_it(store, monkeypatch):
    monkeypatch.setattr(durable, "_MOMENT_S", 0.0)
    store.close()
    again = Store.open(store.root)
    make(again, "one")
    deadline = time.monotonic() + 60
    while again.durable._notes.keys():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    again.close()


def test_folders_of_unknown_containers_are_swept(store):
    image = make(store, "one")
    for name in ("known", "lost"):
        store.snapshots.prepare(name, image.layers)
    (store.root / "containers/half").mkdir()
    store.snapshots.sweep(["known"])
    assert [entry.name for entry in (store.root / "containers").iterdir()] == ["known"]
    assert "container:lost" not in store.layers.holds
