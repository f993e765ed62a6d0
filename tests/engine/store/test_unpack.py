"""Unpacking layers: what lands on the disk, and that the tar comes back byte for byte."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import stat
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dockerlab.engine.store.db import Database
from dockerlab.engine.store.layers import Layers
from dockerlab.engine.store.stack import is_opaque, is_whiteout
from dockerlab.engine.store.streams import compress, zstd
from dockerlab.engine.store.unpack import Limits
from dockerlab.errors import Failed, InvalidRequest
from tests.engine.store.conftest import Tar, diff_id, tree, unpack


def fs(store, layer):
    return store.layers.path(layer) / "fs"


def test_files_as_the_archive_says(store):
    data = (
        Tar()
        .folder("./", mode=0o750)
        .folder("d", mode=0o1777, uid=5, gid=6)
        .add("d/f", data=b"hello", mode=0o4755, uid=7, gid=8, pax={"mtime": "77.000000005"})
        .link("d/l", "/etc/passwd")
        .hard("d/h", "d/f")
        .add("d/fifo", tarfile.FIFOTYPE, mode=0o600)
        .add("d/null", tarfile.CHRTYPE, devmajor=1, devminor=3, mode=0o666)
        .add("d/x", data=b"1", pax={"SCHILY.xattr.user.k": "v"})
        .bytes()
    )
    layer = unpack(store, data)
    root = fs(store, layer)
    status = (root / "d/f").lstat()
    assert (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid) == (0o4755, 7, 8)
    assert (status.st_mtime_ns, status.st_nlink) == (77_000_000_005, 2)
    assert (root / "d/l").readlink().as_posix() == "/etc/passwd"
    assert (root / "d/null").lstat().st_rdev == os.makedev(1, 3)
    assert (root / "d/null").lstat().st_mtime == 1000
    assert stat.S_IMODE((root / "d").lstat().st_mode) == 0o1777
    assert (root / "d").lstat().st_mtime == 1000
    assert layer.root == (0o750, 0, 0)
    assert layer.chain_id == ""
    assert store.layers.read_file(layer, "/d/f") == b"hello"
    assert [e.path for e in store.layers.entries(layer)][:2] == ["", "d"]
    assert os.getxattr(root / "d/x", "user.k") == b"v"


@pytest.mark.parametrize(
    "pack",
    [
        gzip.compress,
        lambda data: gzip.compress(data[:700]) + gzip.compress(data[700:]),
        bz2.compress,
        lzma.compress,
        zstd.compress,
        lambda data: b"".join(compress([data], "gzip")),
        lambda data: b"".join(compress([data], "zstd")),
    ],
    ids=["gzip", "two members", "bzip2", "xz", "zstd", "our gzip", "our zstd"],
)
def test_compressions(store, pack):
    data = Tar().add("x", data=b"x" * 5000).bytes()
    used = []
    layer = store.layers.unpack(
        io.BytesIO(pack(data)), diff_id=diff_id(data), parents=(), progress=used.append
    )
    assert (fs(store, layer) / "x").read_bytes() == b"x" * 5000
    assert used[-1] == len(pack(data))


def test_the_wrong_digest_leaves_nothing(store):
    data = Tar().add("x").bytes()
    with pytest.raises(Failed, match="filesystem layer verification failed"):
        store.layers.unpack(io.BytesIO(data), diff_id=diff_id(b"other"), parents=())
    assert_nothing_left(store)


def names_in(descriptor):
    return sorted(os.listdir(descriptor))  # noqa: PTH208 - a descriptor


def assert_nothing_left(store):
    assert list((store.root / "layers").iterdir()) == []
    assert list((store.root / "tmp").iterdir()) == []
    assert store.layers.rows.keys() == []


def test_one_layer_for_every_image_that_has_it(store):
    data = Tar().folder("d").add("d/x").bytes()
    base = unpack(store, Tar().add("base").bytes())
    assert unpack(store, data) == unpack(store, data, [base])


def test_whiteouts_become_those_of_overlayfs(store):
    base = unpack(store, Tar().folder("d").add("d/a").add("d/b").bytes())
    data = Tar().folder("d").add("d/.wh.a").folder("e").add("e/.wh..wh..opq").add("e/x").bytes()
    root = fs(store, unpack(store, data, [base]))
    assert is_whiteout((root / "d/a").lstat())
    descriptor = os.open(root / "e", os.O_RDONLY)
    assert is_opaque(descriptor)
    os.close(descriptor)
    assert (root / "e/x").exists()


@pytest.mark.parametrize("first", [True, False])
def test_a_whiteout_and_a_directory_of_one_name_are_an_opaque_directory(store, first):
    base = unpack(store, Tar().folder("d").add("d/below").bytes())
    tar = Tar()
    if first:
        tar.add(".wh.d")
    tar.folder("d").add("d/new")
    if not first:
        tar.add(".wh.d")
    layer = unpack(store, tar.bytes(), [base])
    with store.snapshots.image_root([base, layer]) as root:
        assert names_in(os.open("d", os.O_RDONLY, dir_fd=root)) == ["new"]


@pytest.mark.parametrize("first", [True, False])
def test_a_whiteout_never_hides_its_own_layer(store, first):
    base = unpack(store, Tar().add("f", data=b"old").bytes())
    tar = Tar()
    if first:
        tar.add(".wh.f")
    tar.add("f", data=b"new")
    if not first:
        tar.add(".wh.f")
    layer = unpack(store, tar.bytes(), [base])
    assert (fs(store, layer) / "f").read_bytes() == b"new"


def test_an_opaque_root_hides_all(store):
    base = unpack(store, Tar().folder("a").add("a/x").add("b").bytes())
    layer = unpack(store, Tar().add(".wh..wh..opq").folder("a").add("a/y").bytes(), [base])
    with store.snapshots.image_root([base, layer]) as root:
        assert names_in(root) == ["a"]
        assert names_in(os.open("a", os.O_RDONLY, dir_fd=root)) == ["y"]


def test_implied_directories_look_as_they_do_below(store):
    base = unpack(store, Tar().folder("tmp", mode=0o1777, uid=3, gid=4).bytes())
    layer = unpack(store, Tar().add("tmp/sub/x").bytes(), [base])
    status = (fs(store, layer) / "tmp").lstat()
    assert (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid) == (0o1777, 3, 4)
    assert stat.S_IMODE((fs(store, layer) / "tmp/sub").lstat().st_mode) == 0o755
    assert layer.chain_id


def test_what_is_below_a_linked_parent_goes_where_the_link_leads(store):
    base = unpack(
        store,
        Tar().folder("usr").folder("usr/lib").add("usr/lib/libc").link("lib", "usr/lib").bytes(),
    )
    layer = unpack(
        store, Tar().add("lib/x", data=b"1").add("lib/deep/y", data=b"2").bytes(), [base]
    )
    with store.snapshots.image_root([base, layer]) as root:
        assert os.readlink("lib", dir_fd=root) == "usr/lib"
        folder = os.open("usr/lib", os.O_RDONLY, dir_fd=root)
        assert names_in(folder) == ["deep", "libc", "x"]
        os.close(folder)
    assert store.layers.read_file(layer, "lib/deep/y") == b"2"


def test_hard_links_to_lower_files_are_copied_up(store):
    base = unpack(store, Tar().folder("d", mode=0o711).add("d/f", data=b"body", mode=0o640).bytes())
    layer = unpack(store, Tar().hard("h", "d/f").hard("i", "h").bytes(), [base])
    root = fs(store, layer)
    assert (root / "h").read_bytes() == b"body"
    assert (
        (root / "h").lstat().st_ino == (root / "d/f").lstat().st_ino == (root / "i").lstat().st_ino
    )
    assert stat.S_IMODE((root / "d").lstat().st_mode) == 0o711


def test_later_entries_replace_earlier_ones(store):
    data = (
        Tar()
        .add("a", data=b"first")
        .hard("b", "a")
        .add("a", data=b"second")
        .hard("c", "a")
        .folder("d")
        .add("d/x", data=b"gone")
        .add("d", data=b"file now")
        .add("e", data=b"file")
        .folder("e")
        .add("e/y")
        .link("s", "/")
        .folder("s")
        .add("s/inside", data=b"3")
        .bytes()
    )
    root = fs(store, unpack(store, data))
    assert {n: (root / n).read_bytes() for n in ("a", "b", "c", "d", "s/inside")} == {
        "a": b"second",
        "b": b"first",
        "c": b"second",
        "d": b"file now",
        "s/inside": b"3",
    }
    assert (root / "e/y").exists()


def test_sparse_files_stay_sparse(store):
    info = {
        "GNU.sparse.size": str(1 << 32),
        "GNU.sparse.map": f"{1 << 31},512",
        "GNU.sparse.name": "x",
    }
    data = Tar().add("GNUSparseFile.0/x", data=b"D" * 512, pax=info).bytes()
    layer = unpack(store, data)
    status = (fs(store, layer) / "x").lstat()
    assert status.st_size == 1 << 32
    assert status.st_blocks * 512 < 1 << 20


def test_payloads_of_markers_and_odd_padding_come_back(store):
    data = bytearray(Tar().add(".wh.x", data=b"why not").add("y", data=b"1").bytes())
    data[data.index(b"why not") + 100] = 7
    data[data.index(b"\x001\0") - 3] = 0
    unpack(store, bytes(data) + b"garbage behind the end")


HOSTILE = {
    "up and out": Tar().add("../../escaped", data=b"x"),
    "link, then through it": Tar().link("a", "/").add("a/../../escaped", data=b"x"),
    "hard link out": Tar().hard("h", "../../../etc/shadow"),
    "hard link to nothing": Tar().hard("h", "nowhere"),
    "hard link to a directory": Tar().folder("d").hard("h", "d"),
    "hard link to itself": Tar().hard("h", "h"),
    "links in circles": Tar().link("a", "b").link("b", "a").add("a/x"),
    "a file as parent": Tar().add("f").add("f/x"),
    "a device as parent": Tar().add("n", tarfile.CHRTYPE, devmajor=1, devminor=3).add("n/x"),
    "whiteout of the parent": Tar().add("d/.wh.."),
    "whiteout of above": Tar().add("d/.wh..."),
    "whiteout with content": Tar().add(".wh.d/x"),
    "a root that is a file": Tar().add("./", data=b""),
    "sparse of 4 EiB": Tar().add("x", pax={"GNU.sparse.size": str(1 << 62), "GNU.sparse.map": ""}),
    "deep": Tar().add("d/" * 1500 + "x"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_archives_are_refused_and_touch_nothing(store, tmp_path, name):
    (tmp_path / "outside").write_text("untouched")
    before = host_tree(tmp_path)
    hostile = HOSTILE[name].bytes()
    with pytest.raises(InvalidRequest) as caught:
        unpack(store, hostile)
    assert caught.value.message.isprintable()
    assert_nothing_left(store)
    assert host_tree(tmp_path) == before


def host_tree(path):
    return {name: what for name, what in tree(path).items() if "state.db" not in name}


def test_links_lead_inside_the_root(store, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    data = (
        Tar()
        .link("up", "../../../../../../../..")
        .add("up/one", data=b"1")
        .link("abs", str(outside))
        .add("abs/two", data=b"2")
        .add("/etc/three", data=b"3")
        .add("//./../etc/four", data=b"4")
    )
    with pytest.raises(InvalidRequest, match="outside of the root"):
        unpack(store, data.bytes())
    data = (
        Tar()
        .link("up", "../../..")
        .add("up/one", data=b"1")
        .link("abs", str(outside))
        .add("abs/two", data=b"2")
        .add("/etc/three", data=b"3")
        .bytes()
    )
    root = fs(store, unpack(store, data))
    assert list(outside.iterdir()) == []
    assert (root / "one").read_bytes() == b"1"
    assert (root / str(outside)[1:] / "two").read_bytes() == b"2"
    assert (root / "etc/three").read_bytes() == b"3"


def test_limits_hold(tmp_path):
    db = Database(tmp_path / "state.db")
    layers = Layers(tmp_path, db, limits=Limits(entries=3, tar_bytes=1 << 20))
    many = Tar().add("a").add("b").add("c").add("d").bytes()
    with pytest.raises(InvalidRequest, match="more than 3 entries"):
        layers.unpack(io.BytesIO(many), diff_id=None, parents=())
    bomb = gzip.compress(Tar().add("big", data=bytes(4 << 20)).bytes())
    with pytest.raises(InvalidRequest, match="larger than"):
        layers.unpack(io.BytesIO(bomb), diff_id=None, parents=())
    assert list((tmp_path / "tmp").iterdir()) == []
    db.close()


@pytest.mark.parametrize("cut", [1, 511, 700, 1500, 2049])
def test_archives_cut_off_are_refused(store, cut):
    data = gzip.compress(Tar().add("x", data=b"y" * 3000).bytes())
    for broken in (
        Tar().add("x", data=b"y" * 3000).bytes()[:cut],
        data[: max(11, len(data) * cut // 3000)],
    ):
        with pytest.raises(InvalidRequest):
            store.layers.unpack(io.BytesIO(broken), diff_id=None, parents=())
    assert_nothing_left(store)


names = st.sampled_from(
    ["a", "b", "a/b", "a/b/c", "b/c", "c", ".wh.a", "a/.wh.b", "a/.wh..wh..opq", "b/.wh.c"]
)
steps = st.lists(
    st.tuples(
        st.sampled_from(["file", "folder", "link", "hard"]), names, names, st.integers(0, 600)
    ),
    max_size=10,
)


@given(st.lists(steps, min_size=1, max_size=2))
@settings(max_examples=60, deadline=None)
def test_any_archive_comes_back_or_is_refused(tmp_path_factory, archives):
    root = tmp_path_factory.mktemp("layers")
    db = Database(root / "state.db")
    layers = Layers(root, db)
    parents = []
    for archive in archives:
        tar = Tar()
        for kind, name, other, size in archive:
            if kind == "file":
                tar.add(name, data=bytes([size % 251]) * size)
            elif kind == "folder":
                tar.folder(name)
            elif kind == "link":
                tar.link(name, other)
            else:
                tar.hard(name, other)
        data = tar.bytes()
        try:
            layer = layers.unpack(io.BytesIO(data), diff_id=diff_id(data), parents=parents)
        except InvalidRequest:
            continue
        assert b"".join(layers.tar(layer)) == data
        parents.append(layer)
    db.close()
