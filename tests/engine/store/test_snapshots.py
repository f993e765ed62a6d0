"""Writable layers: Docker's mount points, docker diff, commit; with a real overlay."""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager

import pytest

from dockerlab.oci.changes import Kind
from tests.engine.store.conftest import Tar, unpack
from tests.engine.store.test_images import make, nobody


@pytest.fixture(params=["overlay", "copies"], autouse=True)
def way(request, store):
    store.snapshots.copies = request.param == "copies"
    return request.param


@pytest.fixture
def base(store):
    data = Tar().folder("./", mode=0o711).folder("etc").folder("proc", mode=0o555)
    for name in ("passwd", "hosts", "gone"):
        data.add(f"etc/{name}", data=name.encode())
    data.folder("dir").add("dir/a").add("dir/b").link("sys", "/elsewhere")
    return [unpack(store, data.bytes())]


@contextmanager
def opened(path, root):
    descriptor = os.open(path, os.O_RDONLY, dir_fd=root)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def write(root, path, data=b"new"):
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o644, dir_fd=root)
    os.write(descriptor, data)
    os.close(descriptor)


def test_mount_points_are_there_and_no_change(store, base):
    rootfs = store.snapshots.prepare("c1", base)
    with store.snapshots.merged(rootfs) as root:
        for path in ("dev/pts", "dev/shm", "dev/console", "etc/resolv.conf", ".dockerenv"):
            os.stat(path, dir_fd=root)
        assert os.readlink("etc/mtab", dir_fd=root) == "/proc/mounts"
        assert os.readlink("sys", dir_fd=root) == "/elsewhere"
        assert stat.S_IMODE(os.stat("proc", dir_fd=root).st_mode) == 0o555
        assert stat.S_IMODE(os.fstat(root).st_mode) == 0o711
    assert store.snapshots.changes("c1") == []
    assert store.snapshots.sizes("c1") == 0


def test_an_overlay_is_shared_and_read_only_to_look_at(store, base, way):
    if way != "overlay":
        pytest.skip("copies have no layers to share")
    rootfs = store.snapshots.prepare("c1", base)
    with store.snapshots.merged(rootfs) as root, pytest.raises(OSError, match="Read-only"):
        write(root, "x")
    assert store.snapshots.prepare("c2", base).lowers == rootfs.lowers


# A copy cannot tell a directory made anew from one whose content changed.
DIRECTORY_MADE_ANEW = {
    "overlay": [("/dir/b", Kind.ADDED)],
    "copies": [("/dir/a", Kind.DELETED), ("/dir/b", Kind.MODIFIED)],
}


def test_changes_are_those_of_docker_diff(store, base, way):
    rootfs = store.snapshots.prepare("c1", base)
    with store.snapshots.merged(rootfs, writable=True) as root:
        write(root, "etc/passwd")
        os.unlink("etc/gone", dir_fd=root)
        os.mkdir("made", dir_fd=root)
        write(root, "made/x")
        for name in ("dir/a", "dir/b"):
            os.unlink(name, dir_fd=root)
        os.rmdir("dir", dir_fd=root)
        os.mkdir("dir", dir_fd=root)
        write(root, "dir/b")
        write(root, "temporary")
        os.unlink("temporary", dir_fd=root)
    found = [(change.path, change.kind) for change in store.snapshots.changes("c1")]
    assert found == [
        ("/dir", Kind.MODIFIED),
        *DIRECTORY_MADE_ANEW[way],
        ("/etc", Kind.MODIFIED),
        ("/etc/gone", Kind.DELETED),
        ("/etc/passwd", Kind.MODIFIED),
        ("/made", Kind.ADDED),
        ("/made/x", Kind.ADDED),
    ]
    assert store.snapshots.sizes("c1") == 9


def test_a_commit_is_what_the_container_saw(store, base, way):
    rootfs = store.snapshots.prepare("c1", base)
    with store.snapshots.merged(rootfs, writable=True) as root:
        write(root, "etc/passwd")
        os.link("etc/passwd", "hard", src_dir_fd=root, dst_dir_fd=root)
        os.unlink("etc/gone", dir_fd=root)
        os.unlink("dir/a", dir_fd=root)
        os.unlink("dir/b", dir_fd=root)
        os.rmdir("dir", dir_fd=root)
        os.mkdir("dir", dir_fd=root)
        os.mkfifo("pipe", dir_fd=root)
    layer = store.snapshots.commit("c1")
    markers = {"overlay": {"dir/.wh..wh..opq"}, "copies": {"dir/.wh.a", "dir/.wh.b"}}[way]
    plain = {"dir", "etc", "etc/.wh.gone", "etc/passwd", "hard", "pipe"}
    assert {entry.path for entry in store.layers.entries(layer)} == plain | markers
    with store.snapshots.image_root([*base, layer]) as root:
        with opened("dir", root) as folder:
            assert os.listdir(folder) == []  # noqa: PTH208 - a descriptor
        assert not os.access("etc/gone", os.F_OK, dir_fd=root)
        assert os.stat("hard", dir_fd=root).st_size == 3
    if way == "copies":
        return
    # The builder's way, without a copy, gives the same layer.
    upper = str(store.snapshots.path("c1") / "upper")
    store.layers.collect()
    moved = store.layers.commit(upper, parents=base)
    assert moved.diff_id == layer.diff_id
    assert b"".join(store.layers.tar(moved))


def test_an_unchanged_container_commits_to_the_empty_layer(store, base):
    store.snapshots.prepare("c1", base)
    assert store.snapshots.commit("c1").diff_id.startswith("sha256:5f70bf18a08600")


def test_removal_leaves_nothing(store, base):
    store.snapshots.prepare("c1", base)
    store.snapshots.remove("c1")
    store.snapshots.remove("c1")
    assert list((store.root / "containers").iterdir()) == []
    assert list((store.root / "layers").iterdir()) == []


def test_the_mount_points_of_an_image_outlive_its_containers_but_not_itself(store):
    image = make(store, "base", tags=["t:1"])
    store.snapshots.prepare("c1", image.layers)
    made = store.layers.numbers_on_disk()
    store.snapshots.remove("c1")
    assert store.layers.numbers_on_disk() == made, "made anew for every container"
    store.snapshots.prepare("c2", image.layers)
    assert store.layers.numbers_on_disk() == made
    store.snapshots.remove("c2")
    store.images.remove_sync(image.id, users=nobody, force=True)
    assert store.layers.numbers_on_disk() == set()
