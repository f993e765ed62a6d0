"""kill -9 in the middle of work: the next engine finds a whole store, and no garbage."""

from __future__ import annotations

import os
import random
import signal
import time

import pytest

from dockerlab.engine.store import check
from dockerlab.engine.store.store import Store
from tests.engine.store.test_images import make, nobody

SEED = random.SystemRandom().randrange(1 << 32)


def work(root):
    """Make and remove images for ever."""
    store = Store.open(root)
    turn = 0
    while True:
        turn += 1
        image = make(store, "base", f"top {turn}", tags=[f"kept:{turn % 3}"])
        store.snapshots.prepare(f"c{turn % 2}", image.layers)
        store.snapshots.remove(f"c{turn % 2}")
        if turn % 2:
            store.images.remove_sync(f"kept:{turn % 3}", users=nobody, force=True)


@pytest.mark.parametrize("turn", range(6))
def test_a_killed_engine_leaves_a_whole_store(tmp_path, turn):
    delay = random.Random(SEED + turn).uniform(0.05, 0.5)
    child = os.fork()
    if child == 0:
        try:
            work(tmp_path / "root")
        finally:
            os._exit(1)
    time.sleep(delay)
    os.kill(child, signal.SIGKILL)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    store = Store.open(tmp_path / "root")
    findings = check.check(store.images, store.layers, store.blobs, deep=True)
    assert findings.is_whole, f"{findings}; seed {SEED}, turn {turn}, killed after {delay:.3f} s"
    assert findings.loose_layers == ()
    assert list((store.root / "tmp").iterdir()) == []
    for image in store.images.list():
        assert store.images.config_bytes(image.id)
    held = {n for row in store.layers.holds.values() for n in row}
    assert store.layers.numbers_on_disk() == held
    store.close()
