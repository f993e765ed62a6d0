"""The layers of an image: what each brought, changed and hid, and what that weighs.

Knows:   to ask our own engine for its index, and to read any other host's `save`.
Refuses: to keep layers' content; only names, kinds and sizes are read.
Source:  OCI image-spec, layer.md; docker's archive format (manifest.json).
"""

from __future__ import annotations

import gzip
import json
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO

from dockerlab.commands.failures import translated
from dockerlab.commands.grammar import Arguments, Verb
from dockerlab.commands.images import archive
from dockerlab.commands.results import ImageLayers, Layer, LayerEntry
from dockerlab.commands.session import Session
from dockerlab.commands.words import read_time
from dockerlab.errors import Failed, InvalidRequest
from dockerlab.oci import layer_tar
from dockerlab.oci.layer_stack import LayerStack

_SPOOL_BYTES = 64 * 1024 * 1024
_MAX_DOCUMENT = 16 * 1024 * 1024
_OWN_PATH = "/dockerlab/v1/images/{0}/layers"


def layers(session: Session, args: Arguments) -> ImageLayers:
    """What each layer of an image did."""
    name = args.words[0]
    with translated(session.host.url):
        identifier = str(session.api.inspect_image(name)["Id"])
    answer = session.streams.document(_OWN_PATH, name)
    if answer is not None:
        return _told(name, identifier, answer)
    # Any other host: its archive has everything, and nothing else has the names of files.
    with tempfile.SpooledTemporaryFile(_SPOOL_BYTES) as spool:
        for chunk in archive(session, [name]):
            spool.write(chunk)
        spool.seek(0)
        return read_archive(name, identifier, spool)


def read_archive(name: str, identifier: str, file: Any) -> ImageLayers:
    """Read the layers out of an archive that `docker save` wrote."""
    try:
        with tarfile.open(fileobj=file) as outer:
            manifest = json.loads(_member(outer, "manifest.json").read(_MAX_DOCUMENT))[0]
            config = json.loads(_member(outer, manifest["Config"]).read(_MAX_DOCUMENT))
            stack = LayerStack()
            found = []
            steps = list(_instructions(config))
            for number, (digest, place) in enumerate(
                zip(config["rootfs"]["diff_ids"], manifest["Layers"], strict=True)
            ):
                created, instruction = steps[number] if number < len(steps) else (0, "")
                with _plain(_member(outer, place)) as source:
                    entries = tuple(
                        LayerEntry(
                            path=change.path,
                            kind=change.kind,
                            size=change.size,
                            mark=change.mark,
                            mode=change.mode,
                            link=change.link,
                        )
                        for change in stack.add(_entries(source))
                    )
                found.append(
                    Layer(
                        number=number,
                        digest=str(digest),
                        size_bytes=sum(entry.size for entry in entries if entry.mark != "removed"),
                        instruction=instruction,
                        created_ns=created,
                        entries=entries,
                    )
                )
    except (tarfile.TarError, KeyError, ValueError, IndexError, EOFError) as error:
        raise Failed(
            f"the host's archive of {name} can't be read: {error}", hint="Pull the image again"
        ) from error
    return ImageLayers(image=name, identifier=identifier, layers=tuple(found))


def _told(name: str, identifier: str, answer: Mapping[str, Any]) -> ImageLayers:
    """Read our own engine's answer."""
    return ImageLayers(
        image=name,
        identifier=identifier,
        layers=tuple(
            Layer(
                number=number,
                digest=str(layer.get("digest", "")),
                size_bytes=int(layer.get("size", 0)),
                instruction=_shortened(str(layer.get("instruction", ""))),
                created_ns=read_time(str(layer.get("created", ""))),
                entries=tuple(_told_entry(entry) for entry in layer.get("entries") or ()),
            )
            for number, layer in enumerate(answer.get("layers") or ())
        ),
    )


def _told_entry(entry: Mapping[str, Any]) -> LayerEntry:
    return LayerEntry(
        path=str(entry["path"]),
        kind=str(entry.get("kind", layer_tar.FILE)),
        size=int(entry.get("size", 0)),
        mark=str(entry.get("mark", "added")),
        mode=int(entry.get("mode", 0)),
        link=str(entry.get("link", "")),
    )


def _instructions(config: Mapping[str, Any]) -> Iterator[tuple[int, str]]:
    for step in config.get("history") or ():
        if not step.get("empty_layer"):
            yield (
                read_time(str(step.get("created") or "")),
                _shortened(str(step.get("created_by") or "")),
            )


def _shortened(text: str) -> str:
    """The instruction as it was typed: without the shell that the builder puts around it."""
    text = " ".join(text.split())
    for prefix in ("/bin/sh -c #(nop) ", "/bin/sh -c #(nop)"):
        text = text.removeprefix(prefix)
    if text.startswith("/bin/sh -c "):
        text = "RUN " + text.removeprefix("/bin/sh -c ")
    return text.strip()


def _member(outer: tarfile.TarFile, name: str) -> Any:
    file = outer.extractfile(name)
    if file is None:
        raise InvalidRequest(f"{name} is no file in the archive")
    return file


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


def _entries(source: BinaryIO) -> Iterator[layer_tar.Entry]:
    reader = layer_tar.Reader(_exactly(source))
    while (entry := reader.next()) is not None:
        left = entry.payload
        while left > 0:
            data = source.read(min(left, 1 << 20))
            if not data:
                raise InvalidRequest(f"unexpected EOF in {entry.path}")
            left -= len(data)
        yield entry


def _exactly(source: BinaryIO) -> Callable[[int], bytes]:
    def read(count: int) -> bytes:
        data = source.read(count)
        while len(data) < count and (more := source.read(count - len(data))):
            data += more
        return data

    return read


VERBS = (
    Verb(
        words=("layers",),
        act=layers,
        help="Show what each layer of an image added, changed and removed",
        usage="IMAGE",
        least=1,
        most=1,
        takes="image",
        aliases=(("image", "layers"),),
    ),
)
