"""Volumes on a real store: made, filled, shared, refused, removed, swept."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from dockerlab.engine.model.container import Container
from dockerlab.engine.model.rootfs import Directory
from dockerlab.engine.services import mount_requests
from dockerlab.engine.services.volumes import Volumes
from dockerlab.engine.store.store import Store
from dockerlab.errors import Conflict, InvalidRequest, NotFound, Unsupported
from dockerlab.wire.documents import (
    BindOptions,
    ContainerConfig,
    HostConfig,
    MountDocument,
    TmpfsOptions,
    VolumeCreate,
    VolumeOptions,
)
from dockerlab.wire.filters import Filters


class Events:
    def __init__(self):
        self.seen = []

    def emit(self, kind, action, actor_id, attributes):
        self.seen.append((action, actor_id))


class Lab:
    def __init__(self, tmp_path):
        self.root = tmp_path / "root"
        self.store = Store.open(self.root)
        self.events, self.containers = Events(), {}
        self.volumes = Volumes(self.store, self.events, lambda: list(self.containers.values()))
        self.image = tmp_path / "image"
        (self.image / "data" / "sub").mkdir(parents=True)
        (self.image / "data" / "sub" / "file").write_text("from the image")
        (self.image / "data").chmod(0o1770)
        (self.image / "file").write_text("no directory")

    async def create(self, number, *, image_volumes=(), **host):
        container = Container(
            id=f"{number:064x}",
            name=f"c{number}",
            created_ns=1,
            image="x",
            image_id="",
            path="true",
            args=(),
            config=ContainerConfig(volumes={path: {} for path in image_volumes}),
            host=HostConfig(**host),
        )
        points = await self.volumes.prepare(container, Directory(path=str(self.image)))
        self.containers[container.id] = replace(container, mounts=points)
        return {point.destination: point for point in points}

    async def remove(self, number, *, anonymous):
        container_id = f"{number:064x}"
        await self.volumes.release(container_id, remove_anonymous=anonymous)
        self.containers.pop(container_id, None)

    def names(self):
        return [one.name for one in self.volumes.listed(Filters())]


def inside(folder):
    return sorted(one.name for one in folder.iterdir())


def leave_folder(folder):
    Path(folder, "deep").mkdir()


def take(point, name):
    """Read a file of a volume, then remove it; with the mode of the volume itself."""
    file = Path(point.source, name)
    text = file.read_text()
    file.unlink()
    return text, Path(point.source).stat().st_mode & 0o7777


@pytest.fixture
def lab(tmp_path):
    lab = Lab(tmp_path)
    yield lab
    lab.store.close()


def test_a_new_volume_is_filled_and_a_used_one_never_touched(lab):
    async def story():
        point = (await lab.create(1, binds=("vol:/data",)))["/data"]
        assert take(point, "sub/file") == ("from the image", 0o1770)
        await lab.create(2, binds=("vol:/data:ro",))
        assert inside(Path(point.source) / "sub") == []
        bare = (await lab.create(3, binds=("bare:/data:nocopy",)))["/data"]
        assert inside(Path(bare.source)) == []
        with pytest.raises(InvalidRequest, match="cannot mount volume over existing file"):
            await lab.create(4, binds=("over:/file",))
        await lab.remove(4, anonymous=True)
        assert lab.names() == ["bare", "vol"]

    asyncio.run(story())


def test_whose_volumes_go_with_a_container(lab):
    async def story():
        points = await lab.create(1, binds=("kept:/k",), image_volumes=("/data", "/k"))
        assert points["/k"].name == "kept"
        anonymous = points["/data"].name
        assert lab.volumes.get(anonymous).anonymous
        again = await lab.create(2, volumes_from=("c1:ro",))
        assert again["/data"].name == anonymous
        assert not again["/data"].rw
        with pytest.raises(Conflict, match=r"remove kept: volume is in use - \[0{63}1, 0{63}2\]"):
            await lab.volumes.remove("kept")
        await lab.remove(1, anonymous=True)
        assert anonymous in lab.names()  # the second one still has it
        await lab.remove(2, anonymous=True)
        assert lab.names() == sorted([anonymous, "kept"])
        assert (await lab.volumes.prune(Filters()))[0] == [anonymous]
        with pytest.raises(NotFound, match="get gone: no such volume"):
            await lab.volumes.remove("gone")
        await lab.volumes.remove("gone", force=True)
        leave_folder(lab.volumes.mountpoint(lab.volumes.get("kept")))
        assert (await lab.volumes.prune(Filters({"all": ["1"]})))[0] == ["kept"]
        assert inside(lab.root / "volumes") == []
        assert lab.events.seen[0] == ("create", "kept")

    asyncio.run(story())


def test_create_by_name(lab):
    async def story():
        made = await lab.volumes.create(VolumeCreate(name="vol", labels={"a": "1"}))
        assert await lab.volumes.create(VolumeCreate(name="vol", labels={"b": "2"})) == made
        nameless = await lab.volumes.create(VolumeCreate())
        assert nameless.anonymous
        assert len(nameless.name) == 64
        assert [one.name for one in lab.volumes.listed(Filters({"label": ["a=1"]}))] == ["vol"]
        for name, text in (("a/b", "includes invalid characters"), ("a", "name is too short")):
            with pytest.raises(InvalidRequest, match=text):
                await lab.volumes.create(VolumeCreate(name=name))
        with pytest.raises(NotFound, match='plugin "nope" not found'):
            await lab.volumes.create(VolumeCreate(name="vol2", driver="nope"))
        with pytest.raises(InvalidRequest, match='invalid option: "x"'):
            await lab.volumes.create(VolumeCreate(name="vol2", driver_opts={"x": "y"}))
        with pytest.raises(Unsupported):
            await lab.volumes.create(VolumeCreate(name="vol2", driver_opts={"type": "nfs"}))

    asyncio.run(story())


def test_binds(lab, tmp_path):
    async def story():
        made = tmp_path / "made"
        point = (await lab.create(1, binds=(f"{made}:/m", f"{lab.root}:/r")))["/m"]
        assert made.is_dir()
        assert (point.type, point.propagation) == ("bind", "rprivate")
        assert lab.containers[f"{1:064x}"].mounts[1].propagation == "rslave"
        missing = MountDocument(type="bind", source="/nowhere/at/all", target="/x")
        with pytest.raises(InvalidRequest, match="bind source path does not exist: /nowhere/at"):
            await lab.create(2, mounts=(missing,))
        device = tmp_path / "device"
        device.mkdir()
        options = {"type": "none", "o": "bind", "device": str(device)}
        await lab.volumes.create(VolumeCreate(name="alias", driver_opts=options))
        assert (await lab.create(3, binds=("alias:/a:nocopy",)))["/a"].source == str(device)

    asyncio.run(story())


def test_a_folder_without_a_row_is_swept(lab):
    asyncio.run(lab.volumes.create(VolumeCreate(name="vol")))
    (lab.root / "volumes" / "half" / "_data").mkdir(parents=True)
    Volumes(lab.store, lab.events, list)
    assert inside(lab.root / "volumes") == ["vol"]


@pytest.mark.parametrize(
    ("host", "text"),
    [
        ({"binds": ("a1:/x", "b1:/x")}, "Duplicate mount point: /x"),
        ({"binds": ("a1:/x",), "tmpfs": {"/x/": ""}}, "Duplicate mount point: /x"),
        ({"mounts": (MountDocument(type="bind", source="/a"),)}, "field Target must not be empty"),
        ({"mounts": (MountDocument(type="bind", target="/a"),)}, "field Source must not be empty"),
        (
            {"mounts": (MountDocument(type="volume", target="a"),)},
            "invalid mount path: 'a' mount path must be absolute",
        ),
        ({"mounts": (MountDocument(type="volume", target="/"),)}, "destination can't be '/'"),
        ({"mounts": (MountDocument(type="odd", target="/a"),)}, "mount type unknown"),
        (
            {"mounts": (MountDocument(type="volume", target="/a", bind_options=BindOptions()),)},
            "field BindOptions must not be specified",
        ),
        (
            {
                "mounts": (
                    MountDocument(
                        type="volume", target="/a", volume_options=VolumeOptions(subpath="../x")
                    ),
                )
            },
            "subpath must be a relative path",
        ),
    ],
)
def test_refused_mounts(host, text):
    with pytest.raises(InvalidRequest) as refused:
        mount_requests.decide(HostConfig(**host), (), ())
    assert text in str(refused.value)


def test_a_part_of_a_volume_is_looked_at_again_when_mounted(lab, tmp_path):
    def mount(part):
        options = VolumeOptions(subpath=part)
        return MountDocument(type="volume", source="shared", target="/data", volume_options=options)

    async def story():
        await lab.volumes.create(VolumeCreate(name="shared"))
        data = Path(lab.volumes.mountpoint(lab.volumes.get("shared")))
        (data / "part").mkdir()
        (data / "out").symlink_to(tmp_path)
        point = (await lab.create(1, mounts=(mount("part"),)))["/data"]
        assert (point.source, point.within) == (f"{data}/part", str(data))
        with pytest.raises(InvalidRequest, match="no such file or directory"):
            await lab.create(2, mounts=(mount("out"),))

    asyncio.run(story())


def test_tmpfs_mounts():
    document = MountDocument(
        type="tmpfs",
        target="/t/",
        read_only=True,
        tmpfs_options=TmpfsOptions(size_bytes=4096, mode=0o700, options=(("exec",), ("uid", "5"))),
    )
    (wish,) = mount_requests.decide(HostConfig(mounts=(document,)), (), ())
    assert (wish.target, wish.mode) == ("/t", "ro,size=4096,mode=700,exec,uid=5")
