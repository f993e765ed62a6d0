"""Layers out of archives: what `docker save` wrote, OCI layouts in a folder or in a tar.

Knows:   manifest.json, index.json, and which packing a layer has.
Refuses: to keep content: names, sizes and digests of files are read, in one pass.
Source:  OCI image-spec, image-layout.md, layer.md; docker's archive format (manifest.json).
"""

from __future__ import annotations

import gzip
import hashlib
import json
import tarfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Protocol

from dockerlab.commands.results import ImageLayers, Layer, LayerEntry
from dockerlab.commands.words import read_time
from dockerlab.errors import Failed, InvalidRequest, NotFound
from dockerlab.oci import digests, dive_report, layer_report, layer_tar
from dockerlab.oci.layer_stack import LayerStack

_MAX_DOCUMENT = 16 * 1024 * 1024
_MAX_NESTED = 4


class _Place(Protocol):
    """Where an archive's parts are."""

    def open(self, name: str) -> BinaryIO:
        """Open a part; KeyError when there is none of that name."""


@dataclass(frozen=True, slots=True)
class _Folder:
    root: Path

    def open(self, name: str) -> BinaryIO:
        parts = PurePosixPath(name).parts
        if name.startswith("/") or ".." in parts:
            raise InvalidRequest(f"{name} leads out of the layout")
        try:
            return self.root.joinpath(*parts).open("rb")
        except (FileNotFoundError, NotADirectoryError):
            raise KeyError(name) from None


@dataclass(frozen=True, slots=True)
class _Tar:
    outer: tarfile.TarFile

    def open(self, name: str) -> BinaryIO:
        file = self.outer.extractfile(name)
        if file is None:
            raise InvalidRequest(f"{name} is no file in the archive")
        return file  # type: ignore[return-value]  # it reads and seeks, and is no BinaryIO by name


def is_path(word: str) -> bool:
    """Tell a place on disk from an image's name: ./x, ../x, /x, ~/x, or a tar that is there."""
    if word.startswith(("./", "../", "/", "~")) or word in {".", ".."}:
        return True
    return word.endswith((".tar", ".tar.gz", ".tgz")) and Path(word).is_file()


def read_path(word: str) -> ImageLayers:
    """Read an archive or a layout on disk.

    Raises:
        NotFound: nothing is there.
        Failed: it is no image, or damaged.
    """
    path = Path(word).expanduser()
    if path.is_dir():
        return _guarded(word, lambda: _read(word, _Folder(path)))
    try:
        with path.open("rb") as file:
            return read_archive(word, file)
    except OSError as error:
        raise NotFound(f"open {word}: {error.strerror}", hint="Is the path right?") from None


def read_archive(name: str, file: Any) -> ImageLayers:
    """Read the layers out of an archive: the first image in it."""

    def read() -> ImageLayers:
        with tarfile.open(fileobj=file) as outer:
            return _read(name, _Tar(outer))

    return _guarded(name, read)


def _guarded(name: str, read: Callable[[], ImageLayers]) -> ImageLayers:
    try:
        return read()
    except (tarfile.TarError, LookupError, TypeError, ValueError, EOFError, OSError) as error:
        told = str(error).partition("\n")[0].rstrip(":")
        what = f"{told} is missing" if isinstance(error, KeyError) else told
        raise Failed(
            f"{name} can't be read as an image: {what}",
            hint="It takes an archive of docker save, or an OCI layout; pull the image again",
        ) from error


@dataclass(frozen=True, slots=True)
class _Parts:
    identifier: str
    config: Mapping[str, Any]
    layers: tuple[str, ...]


def _parts(place: _Place) -> _Parts:
    try:
        manifest = _document(place, "manifest.json")[0]
    except KeyError:
        return _oci_parts(place)
    with place.open(manifest["Config"]) as file:
        text = file.read(_MAX_DOCUMENT)
    identifier = f"sha256:{hashlib.sha256(text).hexdigest()}"
    return _Parts(identifier, json.loads(text), tuple(manifest["Layers"]))


def _oci_parts(place: _Place) -> _Parts:
    document = _document(place, "index.json")
    for _ in range(_MAX_NESTED):
        if "manifests" not in document:
            break
        # Attestations are for no machine; the first of the others is what a plain load takes.
        wanted = [
            one
            for one in document["manifests"]
            if (one.get("platform") or {}).get("os") != "unknown"
        ]
        document = _document(place, _blob(wanted[0]))
    config = document["config"]
    layers = tuple(_blob(one) for one in document["layers"])
    return _Parts(config["digest"], _document(place, _blob(config)), layers)


def _blob(descriptor: Mapping[str, Any]) -> str:
    return "blobs/" + digests.parse(str(descriptor["digest"])).replace(":", "/")


def _document(place: _Place, name: str) -> Any:
    with place.open(name) as file:
        return json.loads(file.read(_MAX_DOCUMENT))


def _read(name: str, place: _Place) -> ImageLayers:
    parts = _parts(place)
    stack, steps = LayerStack(), list(_instructions(parts.config))
    every: list[list[layer_tar.Entry]] = []
    contents: list[list[str]] = []
    found = []
    for number, (diff_id, part) in enumerate(
        zip(parts.config["rootfs"]["diff_ids"], parts.layers, strict=True)
    ):
        with place.open(part) as packed, _plain(packed) as source:
            read = list(_entries(source))
        entries = [entry for entry, _ in read]
        every.append(entries)
        contents.append([content for _, content in read])
        created, instruction = steps[number] if number < len(steps) else (0, "")
        found.append(
            Layer(
                number=number,
                digest=str(diff_id),
                size_bytes=sum(entry.size for entry in entries if entry.kind == layer_tar.FILE),
                instruction=instruction,
                created_ns=created,
                entries=tuple(
                    LayerEntry(
                        path=change.path,
                        kind=change.kind,
                        size=change.size,
                        mark=change.mark,
                        mode=change.mode,
                        link=change.link,
                    )
                    for change in stack.add(entries)
                ),
            )
        )
    return ImageLayers(
        image=name,
        identifier=parts.identifier,
        layers=tuple(found),
        report=layer_report.report(every, lambda layer, entry: contents[layer][entry]).shown(),
        dive=dive_report.report(every).shown(),
    )


def _instructions(config: Mapping[str, Any]) -> Iterator[tuple[int, str]]:
    for step in config.get("history") or ():
        if not step.get("empty_layer"):
            yield (
                read_time(str(step.get("created") or "")),
                as_typed(str(step.get("created_by") or "")),
            )


def as_typed(text: str) -> str:
    """The instruction without the shell that the builder puts around it."""
    text = " ".join(text.split())
    for prefix in ("/bin/sh -c #(nop) ", "/bin/sh -c #(nop)"):
        text = text.removeprefix(prefix)
    if text.startswith("/bin/sh -c "):
        text = "RUN " + text.removeprefix("/bin/sh -c ")
    return text.strip()


def _plain(source: Any) -> Any:
    """The layer's uncompressed tar, whatever it is packed with."""
    magic = source.read(4)
    source.seek(0)
    if magic[:2] == b"\x1f\x8b":
        return gzip.open(source)
    if magic == b"\x28\xb5\x2f\xfd":
        from backports import zstd  # noqa: PLC0415 - rare, and not everywhere the same module

        return zstd.open(source)
    return source


def _entries(source: BinaryIO) -> Iterator[tuple[layer_tar.Entry, str]]:
    """Each entry with the digest of its content; only there it can be compared later."""
    reader = layer_tar.Reader(_exactly(source))
    while (entry := reader.next()) is not None:
        left, content = entry.payload, hashlib.sha256()
        while left > 0:
            data = source.read(min(left, 1 << 20))
            if not data:
                raise InvalidRequest(f"unexpected EOF in {entry.path}")
            content.update(data)
            left -= len(data)
        yield entry, content.hexdigest()


def _exactly(source: BinaryIO) -> Callable[[int], bytes]:
    def read(count: int) -> bytes:
        data = source.read(count)
        while len(data) < count and (more := source.read(count - len(data))):
            data += more
        return data

    return read
