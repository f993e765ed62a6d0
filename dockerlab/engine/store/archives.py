"""docker save, export and import: images and trees as tar streams.

Knows:   the archive of Docker 25 and later, readable by older ones: an OCI layout with a
         manifest.json beside; blobs go out as they are kept.
Refuses: reading archives of images; `load.py` does.
Source:  moby image/tarexport/save.go; OCI image-layout.md.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import msgspec

from dockerlab.engine.model.image import Image, Layer
from dockerlab.engine.store import pack
from dockerlab.engine.store.images import Images
from dockerlab.engine.store.store import Store
from dockerlab.engine.store.streams import Source
from dockerlab.oci import archive_documents, digests, documents, layer_tar, names
from dockerlab.oci.archive_documents import ArchivedImage
from dockerlab.oci.documents import Descriptor, History, ImageConfig, ImageRunConfig, Manifest
from dockerlab.oci.layer_tar import Entry
from dockerlab.oci.names import Reference

_READ = 1 << 20


@dataclass(slots=True)
class _Chosen:
    image: Image
    tags: list[Reference] = field(default_factory=list)


def save(store: Store, wanted: Sequence[str]) -> Iterator[bytes]:
    """Write images as one archive.

    Args:
        store: where they are.
        wanted: references, repositories (all their tags) or ids (then nameless).

    Raises:
        NotFound: before the first byte.
    """
    chosen = _choose(store.images, wanted)
    return pack.stream(_items(store, chosen))


def _choose(images: Images, wanted: Sequence[str]) -> list[_Chosen]:
    chosen: dict[str, _Chosen] = {}
    for name in wanted:
        for image, tag in _named(images, name):
            entry = chosen.setdefault(image.id, _Chosen(image))
            if tag is not None and tag not in entry.tags:
                entry.tags.append(tag)
    return list(chosen.values())


def _named(images: Images, name: str) -> list[tuple[Image, Reference | None]]:
    if not digests.is_digest(name) and len(name) < 64:
        repository = names.parse(name)
        if not repository.tag and not repository.digest:
            tags = (names.parse(key) for key, _ in images.tags.items())
            found = [(images.find(tag), tag) for tag in tags if tag.name == repository.name]
            every: list[tuple[Image, Reference | None]] = [(i, t) for i, t in found if i]
            if every:
                return every
    image = images.resolve(name)
    if images.is_id(image, name):
        return [(image, None)]
    reference = names.parse_complete(name)
    return [(image, None if reference.digest else reference)]


def _items(store: Store, chosen: Sequence[_Chosen]) -> Iterator[pack.Item]:
    blobs: dict[str, pack.Item] = {}
    listed: list[ArchivedImage] = []
    indexed: list[Descriptor] = []
    repositories: dict[str, dict[str, str]] = {}
    for one in chosen:
        manifest, raw = _manifest(store, one.image)
        layers = zip(one.image.layers, manifest.layers, strict=True)
        for layer, descriptor in layers:
            blobs.setdefault(descriptor.digest, _layer_item(store, layer, descriptor))
        config = store.images.config_bytes(one.image.id)
        for data in (config, raw):
            digest = digests.of(data)
            blobs.setdefault(digest, _file(_blob_path(digest), data))
        listed.append(
            ArchivedImage(
                config=_blob_path(one.image.id),
                repo_tags=tuple(tag.familiar for tag in one.tags) or None,
                layers=tuple(_blob_path(descriptor.digest) for descriptor in manifest.layers),
            )
        )
        indexed += _descriptors(one, manifest.media_type, raw)
        for tag in one.tags:
            top = manifest.layers[-1].digest if manifest.layers else one.image.id
            repositories.setdefault(tag.familiar_name, {})[tag.tag] = digests.hex_of(top)
    yield _folder("blobs")
    yield _folder("blobs/sha256")
    for digest in sorted(blobs):
        yield blobs[digest]
    yield _file("index.json", documents.render(documents.Index(manifests=tuple(indexed))))
    yield _file("manifest.json", msgspec.json.encode(listed))
    yield _file("oci-layout", archive_documents.LAYOUT)
    if repositories:
        yield _file("repositories", msgspec.json.encode(repositories))


def _descriptors(one: _Chosen, media_type: str, raw: bytes) -> list[Descriptor]:
    plain = Descriptor(
        media_type=media_type,
        digest=digests.of(raw),
        size=len(raw),
        platform=one.image.document.platform,
    )
    return [
        msgspec.structs.replace(
            plain,
            annotations={
                archive_documents.NAME: str(tag),
                archive_documents.REF_NAME: tag.tag,
            },
        )
        for tag in one.tags
    ] or [plain]


def _manifest(store: Store, image: Image) -> tuple[Manifest, bytes]:
    """Return the manifest the image came with if its blobs are here, else make one."""
    for digest in reversed(image.manifests):
        if not store.blobs.has(digest):
            continue
        raw = store.blobs.read(digest)
        manifest = documents.parse_manifest(raw)
        if not isinstance(manifest, Manifest) or manifest.config.digest != image.id:
            continue
        if all(store.blobs.has(layer.digest) for layer in manifest.layers):
            return manifest, raw
    made = Manifest(
        media_type=documents.OCI_MANIFEST,
        config=Descriptor(
            media_type=documents.OCI_CONFIG,
            digest=image.id,
            size=store.blobs.size(image.id),
        ),
        layers=tuple(_layer_descriptor(store, layer) for layer in image.layers),
    )
    return made, documents.render(made)


def _layer_descriptor(store: Store, layer: Layer) -> Descriptor:
    for blob in reversed(store.images.blobs_of(layer.diff_id)):
        if blob.kept and store.blobs.has(blob.digest):
            media_type = documents.oci_layer_type(blob.media_type)
            return Descriptor(media_type=media_type, digest=blob.digest, size=blob.size)
    return Descriptor(media_type=documents.OCI_LAYER, digest=layer.diff_id, size=layer.tar_size)


def _layer_item(store: Store, layer: Layer, descriptor: Descriptor) -> pack.Item:
    entry = _entry(_blob_path(descriptor.digest), descriptor.size)
    if store.blobs.has(descriptor.digest):
        return pack.Item(entry, _blob_chunks(store, descriptor.digest))
    return pack.Item(entry, store.layers.tar(layer))


def _blob_chunks(store: Store, digest: str) -> Iterator[bytes]:
    with store.blobs.open(digest) as file:
        while chunk := file.read(_READ):
            yield chunk


def _blob_path(digest: str) -> str:
    return f"blobs/sha256/{digests.hex_of(digest)}"


def _entry(path: str, size: int) -> Entry:
    return Entry(path.encode(), layer_tar.FILE, 0o644, size=size, payload=size)


def _file(path: str, data: bytes) -> pack.Item:
    return pack.Item(_entry(path, len(data)), [data])


def _folder(path: str) -> pack.Item:
    return pack.Item(Entry(path.encode(), layer_tar.DIRECTORY, 0o755))


def export(root: int) -> Iterator[bytes]:
    """Write a whole tree as a tar; `root` is a descriptor from `Snapshots.merged`."""
    return pack.stream(pack.Walk(root).items())


def import_tree(
    store: Store,
    source: Source,
    *,
    created: str,
    architecture: str,
    config: ImageRunConfig | None = None,
    variant: str = "",
    message: str = "",
) -> Image:
    """Make an image of one layer from a tar, compressed or not.

    Args:
        store: where it goes.
        source: the archive.
        created: RFC 3339, when this happens.
        architecture: what the programs in it run on.
        variant: of the architecture.
        config: what `changes` of the request made.
        message: the history's comment.
    """
    with store.layers.lease():
        layer = store.layers.unpack(source, diff_id=None, parents=())
        document = ImageConfig(
            architecture=architecture,
            variant=variant or msgspec.UNSET,
            created=created,
            config=config or ImageRunConfig(),
            rootfs=documents.RootFS(diff_ids=(layer.diff_id,)),
            history=(History(created=created, comment=message),),
        )
        return store.images.put_sync(documents.render(document), [layer])


def chunks_of(data: Iterable[bytes], size: int = _READ) -> Generator[bytes, None, None]:
    """Join small pieces of a stream, so that each one sent is worth a system call."""
    waiting: list[bytes] = []
    held = 0
    for piece in data:
        waiting.append(piece)
        held += len(piece)
        if held >= size:
            yield b"".join(waiting)
            waiting, held = [], 0
    if waiting:
        yield b"".join(waiting)
