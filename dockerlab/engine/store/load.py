"""docker load: archives of images, old and new, into the store.

Knows:   manifest.json archives, OCI layouts, any compression; every blob is hashed as it comes.
Refuses: links out of the archive, names that lie about digests, anything beyond its limits.
Source:  moby image/tarexport/load.go; OCI image-layout.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from dockerlab.engine.model.image import Blob, Image, Layer
from dockerlab.engine.store.blobs import Spool
from dockerlab.engine.store.store import Store
from dockerlab.engine.store.streams import IterableSource, ReadAhead, Source, sniff
from dockerlab.errors import DockerlabError, InvalidRequest, NotFound
from dockerlab.oci import archive_documents, digests, documents, layer_tar, names, platforms
from dockerlab.oci.documents import Descriptor, Index, Manifest, Platform
from dockerlab.oci.layer_tar import Entry
from dockerlab.oci.tar_fields import shown

Progress = Callable[[str, int, int], None]
"""Told a layer's diff id, how many of its bytes are done, and how many there are."""

_MAX_ENTRIES = 100_000
_MAX_DOCUMENT = 8 << 20
_MAX_DOCUMENTS = 64 << 20
_MAX_DEPTH = 4
_MAX_LINKS = 8


@dataclass(frozen=True, slots=True)
class Loaded:
    """One image of an archive.

    Attributes:
        tags: the names it was given, as people write them.
        replaced: (name, image id) of images that lost a name to it.
    """

    image: Image
    tags: tuple[str, ...] = ()
    replaced: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True)
class _Archive:
    """What was in the archive, by cleaned name."""

    documents: dict[bytes, bytes] = field(default_factory=dict)
    spools: dict[bytes, Spool] = field(default_factory=dict)
    present: dict[bytes, str] = field(default_factory=dict)
    links: dict[bytes, bytes] = field(default_factory=dict)
    layers: dict[bytes, str] = field(default_factory=dict)

    def follow(self, path: str) -> bytes:
        """Turn a path of a document into a name of the archive; links stay inside of it."""
        name = layer_tar.clean(path.encode("utf-8", "surrogateescape"))
        for _ in range(_MAX_LINKS):
            target = self.links.get(name)
            if target is None:
                return name
            folder = name.rpartition(b"/")[0]
            inside = target if target.startswith(b"/") else folder + b"/" + target
            name = layer_tar.clean(inside)
        raise InvalidRequest(f"too many links at {shown(name)} in the archive")


def load(
    store: Store, source: Source, *, platform: Platform, progress: Progress | None = None
) -> list[Loaded]:
    """Bring every image of an archive into the store.

    Args:
        store: where they go.
        source: the archive, compressed or not.
        platform: this machine's; decides among the platforms of an OCI index.
        progress: see `Progress`.

    Raises:
        InvalidRequest: no image archive, or a hostile one. What was loaded before stays.
    """
    with ExitStack() as opened, store.layers.lease():
        archive = _read(store, source, opened)
        work = _Loading(store, archive, platform, progress)
        if b"manifest.json" in archive.documents:
            return list(work.docker())
        if b"index.json" in archive.documents:
            return list(work.layout())
        raise InvalidRequest(
            "invalid archive: does not contain a manifest.json",
            hint="Make one with docker save.",
        )


def _read(store: Store, source: Source, opened: ExitStack) -> _Archive:
    """Read the whole archive: documents into memory, the rest into files named by digest."""
    archive = _Archive()
    entries = held = 0
    with ReadAhead(source) as content:
        reader = layer_tar.Reader(content.read)
        while (entry := reader.next()) is not None:
            entries += 1
            if entries > _MAX_ENTRIES:
                raise InvalidRequest(f"archive has more than {_MAX_ENTRIES} entries")
            held += len(entry.name) + len(entry.target)
            if entry.kind == layer_tar.HARDLINK:
                archive.links[entry.name] = b"/" + entry.target
            elif entry.kind == layer_tar.SYMLINK:
                archive.links[entry.name] = entry.target
            elif entry.kind == layer_tar.FILE:
                archive.links.pop(entry.name, None)
                if entry.pieces is not None:
                    raise InvalidRequest(f"sparse file {shown(entry.name)} in the archive")
                held += _take(store, archive, entry, content, opened)
            if held > _MAX_DOCUMENTS:
                raise InvalidRequest("archive has too many documents")
    return archive


def _take(
    store: Store, archive: _Archive, entry: Entry, content: ReadAhead, opened: ExitStack
) -> int:
    """Take one file; return how much memory it needs."""
    digest = "sha256:" + entry.name.removeprefix(b"blobs/sha256/").decode("ascii", "replace")
    if _is_known_layer(store, archive, entry):
        _skip(entry, content)
        return 0
    known = digests.is_digest(digest) and store.blobs.has(digest)
    if known and store.blobs.size(digest) == entry.size and entry.size > _MAX_DOCUMENT:
        # The bytes kept here are used, so those in the archive need no look.
        archive.present[entry.name] = digest
        _skip(entry, content)
        return 0
    if entry.size <= _MAX_DOCUMENT and not entry.name.endswith(b"layer.tar"):
        data = b"".join(bytes(piece) for piece in content.pieces(entry.size))
        _must_be_whole(entry, len(data))
        archive.documents[entry.name] = data
        return len(data)
    spool = opened.enter_context(store.blobs.spool())
    for piece in content.pieces(entry.size):
        spool.write(piece)
    spool.close()
    _must_be_whole(entry, spool.size)
    if digests.is_digest(digest) and spool.digest != digest:
        raise InvalidRequest(f"{shown(entry.name)} has the digest {spool.digest}")
    archive.spools[entry.name] = spool
    return 0


def _is_known_layer(store: Store, archive: _Archive, entry: Entry) -> bool:
    """Tell whether a name announces a layer that is here; then its bytes are not needed.

    A name that lies only hurts its own archive: the layer is then missing from it.
    """
    digits = entry.name.removeprefix(b"blobs/sha256/").removesuffix(b"/layer.tar")
    diff_id = "sha256:" + digits.decode("ascii", "replace")
    if not digests.is_digest(diff_id) or store.layers.has_diff(diff_id) is None:
        return False
    archive.layers[entry.name] = diff_id
    return True


def _skip(entry: Entry, content: ReadAhead) -> None:
    _must_be_whole(entry, sum(len(piece) for piece in content.pieces(entry.size)))


def _must_be_whole(entry: Entry, count: int) -> None:
    if count != entry.size:
        raise InvalidRequest(f"unexpected EOF in {shown(entry.name)}")


class _Loading:
    """The images of one archive, one after the other."""

    def __init__(
        self, store: Store, archive: _Archive, platform: Platform, progress: Progress | None
    ) -> None:
        self._store, self._archive = store, archive
        self._platform, self._progress = platform, progress

    # manifest.json

    def docker(self) -> Iterator[Loaded]:
        listed = archive_documents.parse_manifest_list(self._archive.documents[b"manifest.json"])
        for one in listed:
            config = self._document(one.config)
            image = self._image(config, list(one.layers or ()))
            yield self._named(image, one.repo_tags or ())

    # OCI layout

    def layout(self) -> Iterator[Loaded]:
        index = documents.parse_manifest(
            self._archive.documents[b"index.json"], documents.OCI_INDEX
        )
        if not isinstance(index, Index):
            raise InvalidRequest("invalid index.json: it is no index")
        done: dict[str, Image] = {}
        for descriptor in index.manifests:
            found = self._manifest(descriptor, _MAX_DEPTH)
            if found is None:
                continue
            manifest, raw = found
            digest = digests.of(raw)
            if digest not in done:
                done[digest] = self._of_manifest(manifest, raw)
            yield self._named(done[digest], _names_of(descriptor))
        if not done:
            raise InvalidRequest("the archive has no image for this machine")

    def _of_manifest(self, manifest: Manifest, raw: bytes) -> Image:
        if manifest.config.media_type not in documents.CONFIG_TYPES:
            raise InvalidRequest(
                f"unsupported media type: {manifest.config.media_type}",
                hint="This is an artifact, but no image.",
            )
        config = self._blob(manifest.config)
        paths = [_path(layer.digest) for layer in manifest.layers]
        return self._image(config, paths, manifest=raw)

    def _manifest(self, descriptor: Descriptor, depth: int) -> tuple[Manifest, bytes] | None:
        """Find the manifest for this machine, through indexes in indexes."""
        if depth == 0:
            raise InvalidRequest("indexes are nested too deeply")
        if platforms.is_attestation(descriptor):
            return None
        raw = self._blob(descriptor)
        document = documents.parse_manifest(raw, descriptor.media_type)
        if isinstance(document, Manifest):
            return document, raw
        try:
            chosen = platforms.choose(document.manifests, self._platform)
        except NotFound:
            if len(document.manifests) != 1:
                raise
            chosen = document.manifests[0]
        return self._manifest(chosen, depth - 1)

    def _blob(self, descriptor: Descriptor) -> bytes:
        data = self._document(_path(descriptor.digest))
        if digests.of(data) != descriptor.digest:
            raise InvalidRequest(f"blob {descriptor.digest} has the digest {digests.of(data)}")
        return data

    # Both

    def _document(self, path: str) -> bytes:
        name = self._archive.follow(path)
        if name not in self._archive.documents:
            raise InvalidRequest(f"invalid archive: {shown(name)} is missing")
        return self._archive.documents[name]

    def _image(self, config: bytes, paths: Sequence[str], manifest: bytes = b"") -> Image:
        document = documents.parse_config(config)
        diff_ids = document.rootfs.diff_ids
        if len(diff_ids) != len(paths):
            raise InvalidRequest(
                f"invalid manifest, layers length mismatch: expected {len(diff_ids)}, "
                f"got {len(paths)}"
            )
        layers: list[Layer] = []
        for diff_id, path in zip(diff_ids, paths, strict=True):
            layers.append(self._layer(diff_id, path, layers))
        digest = self._store.blobs.add_bytes(manifest) if manifest else ""
        return self._store.images.put_sync(config, layers, manifest=digest)

    def _layer(self, diff_id: str, path: str, below: Sequence[Layer]) -> Layer:
        found = self._store.layers.find(diff_id, below)
        if found is not None:
            return found
        name = self._archive.follow(path)
        if self._archive.layers.get(name) == diff_id:
            return self._again(diff_id, below)
        size = self._keep(name)
        digest = self._archive.present[name]
        try:
            with self._store.blobs.open(digest) as file:
                compression = sniff(file.read(6))
                file.seek(0)
                layer = self._store.layers.unpack(
                    file, diff_id=diff_id, parents=below, progress=self._ticker(diff_id, size)
                )
        except BaseException:
            if digest not in self._store.images.needed_blobs():
                self._store.blobs.remove(digest)
            raise
        self._store.images.note_blob(
            diff_id,
            Blob(digest=digest, size=size, media_type=documents.layer_type(compression)),
        )
        return layer

    def _again(self, diff_id: str, below: Sequence[Layer]) -> Layer:
        """Unpack a layer once more, from what is here, as it now stands on others."""
        known = self._store.layers.has_diff(diff_id)
        if known is None:
            raise InvalidRequest(f"layer {diff_id} was removed meanwhile")
        source = IterableSource(self._store.layers.tar(known))
        return self._store.layers.unpack(source, diff_id=diff_id, parents=below)

    def _keep(self, name: bytes) -> int:
        """Make a blob of a file of the archive; return its size."""
        blobs, archive = self._store.blobs, self._archive
        if name not in archive.present:
            spool = archive.spools.get(name)
            if spool is not None:
                archive.present[name] = spool.keep()
            elif name in archive.documents:
                archive.present[name] = blobs.add_bytes(archive.documents[name])
            else:
                raise InvalidRequest(f"invalid archive: {shown(name)} is missing")
        return blobs.size(archive.present[name])

    def _ticker(self, diff_id: str, size: int) -> Callable[[int], None] | None:
        progress = self._progress
        if progress is None:
            return None
        return lambda count: progress(diff_id, count, size)

    def _named(self, image: Image, tags: Sequence[str]) -> Loaded:
        given: list[str] = []
        replaced: list[tuple[str, str]] = []
        for tag in tags:
            reference = names.parse_repository(tag)
            before = self._store.images.tag_sync(image.id, reference)
            if before and before != image.id:
                replaced.append((reference.familiar, before))
            given.append(reference.familiar)
        return Loaded(image, tuple(given), tuple(replaced))


def _path(digest: str) -> str:
    algorithm, _, digits = digests.parse(digest).partition(":")
    return f"blobs/{algorithm}/{digits}"


def _names_of(descriptor: Descriptor) -> list[str]:
    """Read the names an OCI layout gives; a bare tag alone names nothing."""
    annotations = descriptor.annotations or {}
    for key in (archive_documents.NAME, archive_documents.REF_NAME):
        name = annotations.get(key, "")
        if key == archive_documents.REF_NAME and not ("/" in name or ":" in name):
            continue
        try:
            return [str(names.parse_repository(name))]
        except DockerlabError:
            continue
    return []
