"""Prepare the `--mount`s of a RUN: what is bound where, and what marks their places.

Knows:   context folders and copies of images' files as sources, cache folders that outlive builds.
Refuses: to mount (init does) and to leave a mount's place in the image.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from dockerlab.dockerfile.run_mounts import RunMount
from dockerlab.engine.build import copy, snapshots, sources
from dockerlab.engine.build.context import Context
from dockerlab.engine.model.image import Image
from dockerlab.engine.model.mount import Mount
from dockerlab.engine.model.rootfs import Overlay
from dockerlab.engine.store.store import Store
from dockerlab.errors import InvalidRequest

_CACHES = "build-mounts"


@dataclass(frozen=True, slots=True, kw_only=True)
class MountSources:
    """Where binds come from.

    Attributes:
        images: by the name after `from=`.
        scripts: here-documents that name their own interpreter, to be executed as files.
    """

    context: Context
    images: Mapping[str, Image | None]
    scripts: Mapping[str, str] = field(default_factory=dict)


def script_path(name: str) -> str:
    """Where the step finds a script of that name."""
    return f"/.dockerlab/{name}"


def digest(wishes: Sequence[RunMount], known: MountSources) -> str:
    """What the step may see through its mounts: content of binds, and the options of all."""
    total = hashlib.sha256()
    for wish in wishes:
        total.update(repr(wish).encode())
        if wish.kind == "bind" and wish.from_stage:
            image = known.images[wish.from_stage]
            total.update(repr(image.diff_ids if image else ()).encode())
        elif wish.kind == "bind":
            with known.context.root() as root:
                place = sources.Place(root=root, is_context=True, digests=known.context.digests)
                for found in sources.find(place, wish.source or ".", "RUN --mount"):
                    total.update(sources.digest(place, found).encode())
    return total.hexdigest()


@contextmanager
def prepared(
    store: Store, rootfs: Overlay, cwd: str, wishes: Sequence[RunMount], known: MountSources
) -> Iterator[tuple[Mount, ...]]:
    """Prepare mounts for a step on `rootfs`; their places are gone from it afterwards.

    Raises:
        InvalidRequest: a source that is not there, or a secret that nobody gave.
    """
    if not wishes and not known.scripts:
        yield ()
        return
    scratch = Path(tempfile.mkdtemp(dir=store.root / "tmp", prefix="mounts-"))
    try:
        found = [_mount(store, scratch / str(n), cwd, w, known) for n, w in enumerate(wishes)]
        found += [_script(scratch, name, text) for name, text in known.scripts.items()]
        mounts = tuple(mount for mount in found if mount is not None)
        with store.snapshots.merged(rootfs, writable=True) as root:
            stubs = [
                stub
                for mount in mounts
                for stub in snapshots.make_stub(root, mount.target, is_file=_is_file(mount))
            ]
        yield mounts
        snapshots.remove_stubs(rootfs.upper, stubs)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _mount(
    store: Store, scratch: Path, cwd: str, wish: RunMount, known: MountSources
) -> Mount | None:
    target = posixpath.normpath(posixpath.join(cwd or "/", wish.target))
    if wish.kind == "tmpfs":
        options = ("nosuid", "nodev", *([f"size={wish.size_bytes}"] if wish.size_bytes else []))
        return Mount(kind="tmpfs", source="tmpfs", target=target, options=options)
    if wish.kind in {"secret", "ssh"}:
        if wish.required:
            raise InvalidRequest(
                f"{wish.kind} {wish.identity}: not found",
                hint="The classic API carries no secrets and no agents.",
            )
        return None
    source = _cache(store, wish) if wish.kind == "cache" else _bound(store, scratch, wish, known)
    access = ("ro",) if wish.read_only else ()
    return Mount(kind="bind", source=str(source), target=target, options=("rbind", *access))


def _script(scratch: Path, name: str, text: str) -> Mount:
    file = scratch / f"script-{hashlib.sha256(name.encode()).hexdigest()[:16]}"
    file.write_text(text)
    file.chmod(0o755)
    return Mount(kind="bind", source=str(file), target=script_path(name), options=("rbind", "ro"))


def _cache(store: Store, wish: RunMount) -> Path:
    name = hashlib.sha256(wish.identity.encode()).hexdigest()[:32]
    folder = store.root / _CACHES / name
    if not folder.exists():
        folder.mkdir(parents=True)
        os.chown(folder, wish.uid, wish.gid)
        folder.chmod(0o755 if wish.mode is None else wish.mode)
    return folder


def _bound(store: Store, scratch: Path, wish: RunMount, known: MountSources) -> Path:
    if not wish.from_stage:
        with known.context.root() as root:
            place = sources.Place(root=root, is_context=True, digests={})
            found = sources.find(place, wish.source or ".", "RUN --mount")[0]
            if wish.read_only:
                return known.context.folder / os.fsdecode(found.path)
            return _copied(root, found, scratch)
    image = known.images[wish.from_stage]
    with snapshots.image_root(store, image.layers if image else ()) as root:
        place = sources.Place(root=root, is_context=False, digests={})
        found = sources.find(place, wish.source or "/", "RUN --mount")[0]
        return _copied(root, found, scratch)


def _copied(root: int, found: sources.Found, scratch: Path) -> Path:
    """A copy that may be written to, and goes with the step."""
    scratch.mkdir()
    descriptor = os.open(scratch, sources.LIST)
    try:
        plan = copy.CopyPlan(
            keyword="RUN --mount",
            sources=(found,),
            destination="/",
            owner=None,
            keep_special_bits=True,
        )
        copy.perform(plan, root, descriptor)
    finally:
        os.close(descriptor)
    return scratch if found.is_directory else scratch / os.fsdecode(found.name)


def _is_file(mount: Mount) -> bool:
    return mount.kind == "bind" and not Path(mount.source).is_dir()
