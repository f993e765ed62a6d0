"""A store of its own, a base image made from the machine's busybox, and builds against them.

RUN is performed in a chroot here: this room is tested without containers; the whole way through
the socket is tested by tests/engine/api and tests/conformance.
"""

from __future__ import annotations

import asyncio
import io
import os
import shutil
import stat
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from dockerlab.dockerfile.parse import parse
from dockerlab.engine.build import context as contexts
from dockerlab.engine.build import progress
from dockerlab.engine.build.builder import Builder, Rooms
from dockerlab.engine.build.cache_keys import BuildCache
from dockerlab.engine.build.request import BuildRequest
from dockerlab.engine.build.run import RunStep
from dockerlab.engine.model.image import Image
from dockerlab.engine.store.store import Store
from dockerlab.errors import NotFound
from dockerlab.oci import names
from dockerlab.oci.documents import History, ImageConfig, ImageRunConfig, RootFS, render


def archive(files: dict[str, bytes | str | tarfile.TarInfo]) -> bytes:
    """Make a tar: bytes are files, text is a link's target, a TarInfo is itself."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            if isinstance(content, tarfile.TarInfo):
                tar.addfile(content)
                continue
            info = tarfile.TarInfo(name)
            info.mtime = 1_000_000_000
            if isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
                tar.addfile(info)
            elif name.endswith("/"):
                info.type, info.mode = tarfile.DIRTYPE, 0o750
                tar.addfile(info)
            else:
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


class ChrootRunner:
    """Runs a step in a chroot of its merged tree."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.steps: list[RunStep] = []

    async def run(self, step: RunStep, output: Callable[[int, bytes], None]) -> int:
        self.steps.append(step)
        return await asyncio.to_thread(self._run, step, output)

    def _run(self, step: RunStep, output: Callable[[int, bytes], None]) -> int:
        with self.store.snapshots.merged(step.rootfs, writable=True) as root:

            def enter() -> None:
                os.fchdir(root)
                os.chroot(".")
                os.chdir(step.cwd)

            done = subprocess.run(
                step.args,
                env=dict(item.split("=", 1) for item in step.env),
                preexec_fn=enter,
                capture_output=True,
                check=False,
            )
        for stream, data in ((1, done.stdout), (2, done.stderr)):
            if data:
                output(stream, data)
        return done.returncode


class LocalImages:
    """Only what is in the store."""

    def __init__(self, store: Store) -> None:
        self.store = store

    async def find(self, reference: str, **_: object) -> Image:
        try:
            return self.store.images.resolve(reference)
        except NotFound as error:
            raise NotFound(f"pull access denied for {reference}") from error


@dataclass
class Lab:
    """One store and what is needed to build in it."""

    store: Store
    folder: Path
    runner: ChrootRunner
    cache: BuildCache
    events: list[progress.Progress] = field(default_factory=list)
    count: int = 0

    def build(
        self,
        dockerfile: str,
        files: dict[str, bytes | str | tarfile.TarInfo] | None = None,
        *,
        tag: str = "",
        **request: object,
    ) -> Image:
        self.count += 1
        self.events.clear()
        data = archive({**(files or {}), "Dockerfile": dockerfile.encode()})
        context = contexts.unpack(io.BytesIO(data), self.folder / f"context-{self.count}")
        text = contexts.read_dockerfile(context, "")
        context = contexts.without_ignored(context)
        builder = Builder(
            rooms=Rooms(
                store=self.store,
                cache=self.cache,
                runner=self.runner,
                images=LocalImages(self.store),
            ),
            request=BuildRequest(**request),  # type: ignore[arg-type]
            context=context,
            read=parse(text),
            tell=self.events.append,
        )
        try:
            image = asyncio.run(builder.build())
        finally:
            context.discard()
        if tag:
            self.store.images.tag_sync(image.id, names.parse_complete(tag))
        return image

    @property
    def cached_steps(self) -> int:
        return sum(isinstance(event, progress.CacheUsed) for event in self.events)

    def output(self) -> str:
        pieces = [e.data for e in self.events if isinstance(e, progress.Output)]
        return b"".join(pieces).decode()

    def tree(self, image: Image, below: str = "") -> dict[str, tuple[object, ...]]:
        """Every file: kind and mode, owner, content."""
        with self.store.snapshots.image_root(image.layers) as root:
            path = Path(f"/proc/self/fd/{root}/{below}")
            return dict(_files(path, path))


def _files(path: Path, top: Path) -> Iterator[tuple[str, tuple[object, ...]]]:
    for entry in sorted(os.scandir(path), key=lambda e: e.name):
        status = entry.stat(follow_symlinks=False)
        here = Path(entry.path)
        content: object = None
        if stat.S_ISLNK(status.st_mode):
            content = str(here.readlink())
        elif stat.S_ISREG(status.st_mode):
            content = here.read_bytes()
        mode = stat.filemode(status.st_mode)
        yield str(here.relative_to(top)), (mode, status.st_uid, status.st_gid, content)
        if stat.S_ISDIR(status.st_mode):
            yield from _files(here, top)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    if os.geteuid() != 0:
        pytest.skip("builds need root: overlays are mounted")
    store = Store.open(tmp_path / "root")
    yield Lab(store, tmp_path, ChrootRunner(store), BuildCache(store.db))
    assert not list((tmp_path / "root" / "tmp").glob("step-*"))
    assert not list((tmp_path / "root" / "containers").iterdir())
    store.close()


@pytest.fixture
def base(lab: Lab) -> Image:
    """An image named `base`, with a shell if the machine has a static busybox."""
    files: dict[str, bytes | str | tarfile.TarInfo] = {
        "etc/": b"",
        "etc/passwd": b"root:x:0:0::/:/bin/sh\nbuilder:x:1000:1001::/:/bin/sh\n",
        "etc/group": b"root:x:0:\nstaff:x:50:\n",
        "bin/": b"",
        "tmp/": b"",
        "link": "tmp",
    }
    if busybox := shutil.which("busybox"):
        shell = tarfile.TarInfo("bin/busybox")
        data = Path(busybox).read_bytes()
        shell.size, shell.mode = len(data), 0o755
        files["bin/busybox"] = data
    buffer = io.BytesIO(archive(files))
    with tarfile.open(fileobj=buffer) as tar:
        members = [(m, tar.extractfile(m)) for m in tar.getmembers()]
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as fixed:
            for member, content in members:
                if member.name == "bin/busybox":
                    member.mode = 0o755
                fixed.addfile(member, content)
            if busybox:
                for applet in ("sh", "cat", "echo", "mkdir", "rm", "ls", "test", "chmod", "id"):
                    link = tarfile.TarInfo(f"bin/{applet}")
                    link.type, link.linkname = tarfile.LNKTYPE, "bin/busybox"
                    fixed.addfile(link)
    out.seek(0)
    layer = lab.store.layers.unpack(out, diff_id=None, parents=())
    config = ImageConfig(
        architecture="amd64",
        created="2020-01-01T00:00:00Z",
        config=ImageRunConfig(env=("PATH=/bin", "BASE=yes"), cmd=("sh",)),
        rootfs=RootFS(diff_ids=(layer.diff_id,)),
        history=(History(created_by="made by a test"),),
    )
    image = lab.store.images.put_sync(render(config), [layer])
    lab.store.images.tag_sync(image.id, names.parse_complete("base"))
    return image


@pytest.fixture
def shell() -> None:
    busybox = shutil.which("busybox")
    if busybox is None:
        pytest.skip("no busybox on this machine: nothing to RUN")
    if (
        b"interpreter"
        in subprocess.run(["/usr/bin/file", busybox], capture_output=True, check=False).stdout
    ):
        pytest.skip("this machine's busybox is not static")
