"""The starter image: made on the spot from the host's own files, and put into our registry.

Knows:   how to pack a plan so that the same host files always give the same digests.
Refuses: to choose the files (starter_files.py); nothing is executed, nothing is downloaded.
"""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from dockerlab.engine.registry.starter_files import File, LayerPlan, plan, plan_python
from dockerlab.engine.registry.storage import Refused, Storage
from dockerlab.oci import digests, platforms
from dockerlab.oci.documents import (
    OCI_CONFIG,
    OCI_LAYER_GZIP,
    OCI_MANIFEST,
    Descriptor,
    History,
    ImageConfig,
    ImageRunConfig,
    Manifest,
    RootFS,
    render,
)

REPOSITORY: Final = "starter"
FORMAT: Final = 1  # counts up when the same plan would be packed differently
EPOCH: Final = 1767225600
CREATED: Final = "2026-01-01T00:00:00Z"
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Packed:
    title: str
    diff_id: str
    compressed: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class _Memory:
    """What was published for which files, to skip the packing when nothing changed."""

    fingerprint: str
    manifests: dict[str, str]


def publish(storage: Storage, root: Path = Path("/")) -> dict[str, str]:
    """Put `starter:latest`, and `starter:python` where the host has Python, into a registry.

    Returns:
        Tag to manifest digest.
    """
    layers = plan(root)
    python = plan_python(layers, root)
    everything = (*layers, python) if python else layers
    fingerprint = _fingerprint(everything)
    remembered = _remembered(storage, fingerprint)
    if remembered is not None:
        return remembered
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1), "pack the starter image") as pool:
        # Largest last in the plan, so started first.
        packed = list(pool.map(_pack, reversed(everything)))[::-1]
    manifests = {"latest": _put(storage, "latest", packed[: len(layers)], ["/bin/sh"])}
    if python:
        manifests["python"] = _put(storage, "python", packed, ["python3"])
    memory = _Memory(fingerprint=fingerprint, manifests=manifests)
    temporary = _memory_path(storage).with_suffix(".new")
    temporary.write_bytes(msgspec.json.encode(memory))
    temporary.replace(_memory_path(storage))
    return manifests


def _put(storage: Storage, tag: str, layers: list[_Packed], command: list[str]) -> str:
    platform = platforms.of_machine(os.uname().machine)
    config = ImageConfig(
        architecture=platform.architecture,
        os=platform.os,
        variant=platform.variant or msgspec.UNSET,
        created=CREATED,
        author="dockerlab",
        config=ImageRunConfig(
            env=(f"PATH={_PATH}",),
            cmd=tuple(command),
            working_dir="/",
            labels={
                "org.opencontainers.image.title": "dockerlab starter image",
                "org.opencontainers.image.description": "made from this host's own files",
            },
        ),
        rootfs=RootFS(diff_ids=tuple(layer.diff_id for layer in layers)),
        history=(
            *(
                History(created=CREATED, created_by=f"dockerlab starter: {layer.title}")
                for layer in layers
            ),
            History(
                created=CREATED,
                created_by=f"CMD {msgspec.json.encode(command).decode()}",
                empty_layer=True,
            ),
        ),
    )
    raw = render(config)
    manifest = Manifest(
        media_type=OCI_MANIFEST,
        config=Descriptor(
            media_type=OCI_CONFIG, digest=storage.add_blob(REPOSITORY, raw), size=len(raw)
        ),
        layers=tuple(
            Descriptor(
                media_type=OCI_LAYER_GZIP,
                digest=storage.add_blob(REPOSITORY, layer.compressed),
                size=len(layer.compressed),
            )
            for layer in layers
        ),
    )
    return storage.put_manifest(REPOSITORY, tag, OCI_MANIFEST, render(manifest))


def _pack(layer: LayerPlan) -> _Packed:
    """Write the tar with owners and times that say nothing, and compress it the one way."""
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for file in layer.files:
            _write(archive, file)
    data = tar.getbuffer()
    # zlib and not isal: its output does not depend on the processor.
    compressor = zlib.compressobj(6, zlib.DEFLATED, 31)
    compressed = compressor.compress(data) + compressor.flush()
    diff_id = "sha256:" + hashlib.sha256(data).hexdigest()
    return _Packed(title=layer.title, diff_id=diff_id, compressed=compressed)


def _write(archive: tarfile.TarFile, file: File) -> None:
    entry = tarfile.TarInfo(file.name)
    entry.mode, entry.mtime = file.mode, EPOCH
    if file.kind == "directory":
        entry.type = tarfile.DIRTYPE
    elif file.kind == "link":
        entry.type, entry.linkname = tarfile.SYMTYPE, file.target
    else:
        content = Path(file.source).read_bytes() if file.source else file.text
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
        return
    archive.addfile(entry)


def _fingerprint(layers: tuple[LayerPlan, ...]) -> str:
    """Name the plan and the state of every file in it, without reading them."""
    lines = [f"format {FORMAT}"]
    for layer in layers:
        lines.append(layer.title)
        for file in layer.files:
            state = ""
            if file.source:
                found = os.stat(file.source)
                state = f"{found.st_size} {found.st_mtime_ns} {found.st_ctime_ns}"
            lines.append(f"{file.name} {file.mode:o} {file.target} {file.text!r} {state}")
    return digests.of("\n".join(lines).encode(errors="surrogateescape"))


def _remembered(storage: Storage, fingerprint: str) -> dict[str, str] | None:
    """What was published for exactly these files, if all of it is still there."""
    with suppress(FileNotFoundError, msgspec.MsgspecError, Refused):
        memory = msgspec.json.decode(_memory_path(storage).read_bytes(), type=_Memory)
        if memory.fingerprint == fingerprint and all(
            storage.manifest(REPOSITORY, tag)[0] == digest
            for tag, digest in memory.manifests.items()
        ):
            return memory.manifests
    return None


def _memory_path(storage: Storage) -> Path:
    return storage.root / "starter.json"
