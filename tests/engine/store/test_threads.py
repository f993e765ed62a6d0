"""Many threads at one store: one layer per diff id, and nothing vanishes under a lease."""

from __future__ import annotations

import io
import random
from concurrent.futures import ThreadPoolExecutor

import pytest

from dockerlab.engine.store import check
from dockerlab.errors import DockerlabError, Failed
from dockerlab.oci import digests
from tests.engine.store.conftest import Tar, diff_id
from tests.engine.store.test_images import make, nobody


def test_one_layer_is_made_once(store):
    data = Tar().folder("d").add("d/x", data=b"x" * 100_000).bytes()

    def unpack(_):
        return store.layers.unpack(io.BytesIO(data), diff_id=diff_id(data), parents=())

    with ThreadPoolExecutor(8) as pool:
        assert len({layer.number for layer in pool.map(unpack, range(16))}) == 1
    assert store.layers.numbers_on_disk() == {1}


def test_makers_and_removers_leave_a_whole_store(store):
    def work(seed):
        dice = random.Random(seed)
        for turn in range(6):
            name = f"c{seed}-{turn}"
            try:
                with store.layers.lease():
                    make(store, "base", f"{dice.randrange(3)}", tags=[f"t:{dice.randrange(3)}"])
                image = store.images.resolve(f"t:{dice.randrange(3)}")
                store.snapshots.prepare(name, image.layers)
                store.images.remove_sync(image.id, users=nobody, force=True)
            except DockerlabError:
                continue
            finally:
                store.snapshots.remove(name)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert check.check(store.images, store.layers, store.blobs, deep=True).is_whole
    # Mount points stay as long as their image: with the last image everything goes.
    for image in store.images.list():
        store.images.remove_sync(image.id, users=nobody, force=True)
    assert store.layers.numbers_on_disk() == set()


def test_blobs_are_resumed_and_verified(store):
    data = b"x" * 1000
    digest = digests.of(data)
    with store.blobs.writer(digest, 1000) as writer:
        writer.write(data[:400])
    with store.blobs.writer(digest, 1000) as writer:
        assert writer.resumed_bytes == 400
        writer.write(data[400:])
        writer.commit()
    assert store.blobs.read(digest) == data
    wrong = digests.of(b"other")
    with store.blobs.writer(wrong, 1000) as writer:
        writer.write(data)
        with pytest.raises(Failed, match="filesystem layer verification failed"):
            writer.commit()
    with pytest.raises(Failed), store.blobs.writer(wrong, 10) as writer:
        writer.write(data)
    assert not store.blobs.has(wrong)
    assert list(store.blobs.partials()) == []


def test_a_second_writer_finds_the_first_one_done(store):
    data = b"y" * 10
    digest = digests.of(data)

    def fetch(_):
        with store.blobs.writer(digest, 10) as writer:
            if store.blobs.has(digest):
                return 0
            writer.write(data)
            writer.commit()
            return 1

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(fetch, range(4))) == 1
