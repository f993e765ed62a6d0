"""The images of this host: their names, their parts, and who may be removed when.

Knows:   names to images, the order of Docker's rules for removal, its words for each conflict.
Refuses: containers; callers say who uses an image (`Users`).
Source:  moby daemon/images/image.go, image_delete.go, image_prune.go.
"""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from dockerlab.engine.model.image import (
    Blob,
    HistoryStep,
    Image,
    ImageRow,
    Layer,
    Removal,
    RemovalStep,
)
from dockerlab.engine.store import removal
from dockerlab.engine.store.blobs import Blobs
from dockerlab.engine.store.db import Database
from dockerlab.engine.store.layers import Layers
from dockerlab.engine.store.records import Table
from dockerlab.engine.store.removal import Removing
from dockerlab.errors import Conflict, DockerlabError, InvalidRequest, NotFound
from dockerlab.oci import digests, documents, names
from dockerlab.oci.names import Reference

Users = removal.Users

# `Images.list` hides the type of that name inside the class.
_Images = list[Image]
_References = list[Reference]
_Texts = list[str]
_Steps = list[HistoryStep]

_HEX = re.compile(r"[0-9a-f]{1,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Name:
    """The row of a tag or of a repository digest."""

    image_id: str
    named_ns: int


class Images:
    """Every image of this host. Methods named `*_sync` block; the others run them in a thread."""

    def __init__(self, db: Database, blobs: Blobs, layers: Layers) -> None:
        self._blobs, self._layers = blobs, layers
        self.rows = Table(db, "images", ImageRow)
        self.tags = Table(db, "tags", Name)
        self.digests = Table(db, "repo_digests", Name)
        self.layer_blobs = Table(db, "layer_blobs", tuple[Blob, ...])
        self.lock = threading.RLock()
        self._images: dict[str, Image] = {}
        for row in self.rows.values():
            with suppress(DockerlabError):
                # What is not whole is reported and repaired by `check.py`.
                self._images[row.id] = self._image(row)

    def _image(self, row: ImageRow) -> Image:
        return Image(
            id=row.id,
            document=documents.parse_config(self._blobs.read(row.id)),
            layers=tuple(self._layers.get(number) for number in row.layers),
            parent=row.parent,
            created_ns=row.created_ns,
            last_tagged_ns=row.last_tagged_ns,
            manifests=row.manifests,
        )

    # Finding

    def list(self) -> _Images:
        """Return all images, newest first."""
        return sorted(self._images.values(), key=lambda image: image.created_ns, reverse=True)

    def get(self, image_id: str) -> Image | None:
        """Return the image of exactly that id."""
        return self._images.get(image_id)

    def resolve(self, name: str) -> Image:
        """Find an image by reference, id or the beginning of an id.

        A reference beats the beginning of an id, but not a whole id.

        Raises:
            NotFound: "No such image: x:latest".
            InvalidRequest: no such name can exist, or the prefix fits several.
        """
        if digests.is_digest(name) or (len(name) == 64 and _HEX.fullmatch(name)):
            whole = name if ":" in name else f"sha256:{name}"
            if whole in self._images:
                return self._images[whole]
            raise _no_such_image(whole)
        reference = names.parse_complete(name)
        found = self.find(reference)
        return found or self._by_prefix(name, reference)

    def find(self, reference: Reference) -> Image | None:
        """Find an image by its complete reference; a digest decides over a tag."""
        row = (self.digests if reference.digest else self.tags).get(_key(reference))
        return self._images.get(row.image_id) if row else None

    def is_id(self, image: Image, name: str) -> bool:
        """Tell whether `resolve` found the image by its id; "a" may be a name as well."""
        if not (image.id.startswith(name) or digests.hex_of(image.id).startswith(name)):
            return False
        if len(name) >= 64:
            return True
        return self.find(names.parse_complete(name)) is None

    def _by_prefix(self, name: str, reference: Reference) -> Image:
        digits = name.removeprefix("sha256:")
        if not _HEX.fullmatch(digits):
            raise _no_such_image(reference.familiar)
        found = [id_ for id_ in list(self._images) if id_.startswith(f"sha256:{digits}")]
        if not found:
            raise _no_such_image(reference.familiar)
        if len(found) > 1:
            raise InvalidRequest(
                f"multiple IDs found with provided prefix: {digits}", hint="Give more digits."
            )
        return self._images[found[0]]

    def references_of(self, image_id: str) -> _References:
        """Return every tag and repository digest of an image, sorted."""
        keys = [
            key
            for table in (self.tags, self.digests)
            for key, row in table.items()
            if row.image_id == image_id
        ]
        return sorted((names.parse(key) for key in keys), key=str)

    def tags_of(self, image_id: str) -> _Texts:
        """Return the tags of an image as people write them: ["alpine:3.20"]."""
        return [r.familiar for r in self.references_of(image_id) if not r.digest]

    def repo_digests_of(self, image_id: str) -> _Texts:
        """Return the repository digests of an image: ["alpine@sha256:..."]."""
        return [r.familiar for r in self.references_of(image_id) if r.digest]

    def children_of(self, image_id: str) -> _Images:
        """Return the images built on this one."""
        return [image for image in list(self._images.values()) if image.parent == image_id]

    def parent_of(self, image_id: str) -> str:
        """Return the id of the image it was built on, or ""."""
        row = self.rows.get(image_id)
        return row.parent if row else ""

    def is_dangling(self, image_id: str) -> bool:
        """Tell whether an image has no name and nothing built on it."""
        return not self.references_of(image_id) and not self.children_of(image_id)

    def shared_size(self, image: Image) -> int:
        """Return the bytes of layers that another image has as well."""
        others = {n for row in self.rows.values() if row.id != image.id for n in row.layers}
        return sum(layer.size for layer in image.layers if layer.number in others)

    def layers_size(self) -> int:
        """Return the bytes of all layers of all images, each once."""
        used = {layer.number: layer.size for image in self.list() for layer in image.layers}
        return sum(used.values())

    def config_bytes(self, image_id: str) -> bytes:
        """Return the configuration as it came."""
        return self._blobs.read(image_id)

    def history(self, image: Image) -> _Steps:
        """List the steps that made an image, newest first."""
        sizes = [layer.size for layer in image.layers]
        ids = [image.id]
        while (ancestor := self._images.get(ids[-1])) and ancestor.parent in self._images:
            ids.append(ancestor.parent)
        steps: list[HistoryStep] = []
        for number, entry in enumerate(reversed(image.document.history)):
            known = ids[number] if number < len(ids) else ""
            steps.append(
                HistoryStep(
                    image_id=known or "<missing>",
                    created_ns=documents.time_ns(entry.created),
                    created_by=entry.created_by,
                    tags=tuple(self.tags_of(known)) if known else (),
                    size=0 if entry.empty_layer or not sizes else sizes.pop(),
                    comment=entry.comment,
                )
            )
        return steps

    # Making and naming

    async def put(
        self, config: bytes, layers: Sequence[Layer], *, parent: str = "", manifest: str = ""
    ) -> Image:
        """Make an image of its configuration and layers; see `put_sync`."""
        return await asyncio.to_thread(
            self.put_sync, config, layers, parent=parent, manifest=manifest
        )

    def put_sync(
        self, config: bytes, layers: Sequence[Layer], *, parent: str = "", manifest: str = ""
    ) -> Image:
        """Make an image; one that is here already only learns what is new.

        Args:
            config: the configuration's bytes; their digest is the id.
            layers: bottom first, as many as the configuration has diff ids.
            parent: id of the local image it was built on.
            manifest: digest of the manifest it came with, a blob by now.

        Raises:
            InvalidRequest: layers and configuration contradict each other.
            Failed: a layer vanished meanwhile (see `Layers.lease`).
        """
        document = documents.parse_config(config)
        if document.rootfs.diff_ids != tuple(layer.diff_id for layer in layers):
            raise InvalidRequest("invalid image config: its diff ids are not those of the layers")
        with self.lock:
            image_id = self._blobs.add_bytes(config)
            self._layers.hold(f"image:{image_id}", layers)
            before = self.rows.get(image_id)
            manifests = before.manifests if before else ()
            if manifest:
                manifests = (*(m for m in manifests if m != manifest), manifest)
            row = ImageRow(
                id=image_id,
                layers=tuple(layer.number for layer in layers),
                parent=parent or (before.parent if before else ""),
                created_ns=documents.time_ns(document.created),
                last_tagged_ns=before.last_tagged_ns if before else 0,
                manifests=manifests,
            )
            self.rows.put_sync(image_id, row)
            self._images[image_id] = image = self._image(row)
            return image

    def note_blob(self, diff_id: str, blob: Blob) -> None:
        """Remember in which form a layer came or was pushed; sources of one digest add up."""
        with self.lock:
            known = self.layer_blobs.get(diff_id) or ()
            same = next((b for b in known if b.digest == blob.digest), None)
            if same is not None:
                sources = tuple(dict.fromkeys((*same.sources, *blob.sources)))
                blob = replace(blob, sources=sources, kept=same.kept or blob.kept)
            rest = tuple(b for b in known if b.digest != blob.digest)
            self.layer_blobs.put_sync(diff_id, (*rest, blob))

    def blobs_of(self, diff_id: str) -> tuple[Blob, ...]:
        """Return the forms in which a layer is known, newest last."""
        return self.layer_blobs.get(diff_id) or ()

    async def tag(self, image_id: str, reference: Reference) -> str:
        """Give an image a name (with a tag, or a digest); return the id that had it before."""
        return await asyncio.to_thread(self.tag_sync, image_id, reference)

    def tag_sync(self, image_id: str, reference: Reference) -> str:
        """Do as `tag`, in this thread."""
        table = self.digests if reference.digest else self.tags
        key = (
            f"{reference.name}@{reference.digest}"
            if reference.digest
            else str(reference.complete())
        )
        with self.lock:
            if image_id not in self._images:
                raise _no_such_image(image_id)
            before = table.get(key)
            now = time.time_ns()
            table.put_sync(key, Name(image_id=image_id, named_ns=now), durable=True)
            if not reference.digest:
                row = replace(self.rows.get(image_id) or _gone(image_id), last_tagged_ns=now)
                self.rows.put_sync(image_id, row)
                self._images[image_id] = replace(self._images[image_id], last_tagged_ns=now)
            return before.image_id if before else ""

    def untag_sync(self, reference: Reference) -> None:
        """Take a name away; the image stays.

        Raises:
            NotFound: nothing has that name.
        """
        table = self.digests if reference.digest else self.tags
        key = _key(reference)
        if key not in table:
            raise _no_such_image(reference.familiar)
        table.delete_sync(key, durable=True)

    # Removing

    async def remove(
        self, name: str, *, users: Users, force: bool = False, prune_parents: bool = True
    ) -> Removal:
        """Remove a name and, with the last one, the image; see `remove_sync`."""
        return await asyncio.to_thread(
            self.remove_sync, name, users=users, force=force, prune_parents=prune_parents
        )

    def remove_sync(
        self, name: str, *, users: Users, force: bool = False, prune_parents: bool = True
    ) -> Removal:
        """Remove a name and, with the last one, the image.

        Raises:
            NotFound: no such image.
            Conflict: in Docker's words: still named elsewhere, used, or built upon.
        """
        with self.lock:
            image = self.resolve(name)
            work = Removing(self, users, force=force, prune_parents=prune_parents)
            if self.is_id(image, name):
                work.by_id(image.id)
            else:
                work.by_reference(image.id, name)
            return Removal(steps=tuple(work.steps), freed_bytes=work.freed)

    async def prune(
        self, *, users: Users, dangling: bool = True, wanted: Callable[[Image], bool]
    ) -> Removal:
        """Remove what nobody needs; see `prune_sync`."""
        return await asyncio.to_thread(
            self.prune_sync, users=users, dangling=dangling, wanted=wanted
        )

    def prune_sync(
        self, *, users: Users, dangling: bool = True, wanted: Callable[[Image], bool]
    ) -> Removal:
        """Remove images without a tag (`dangling`), or all that no container was made from.

        `wanted` says which images the caller's filters let through.
        """
        steps: list[RemovalStep] = []
        freed = 0
        for image in self.list():
            if self._images.get(image.id) is None or users(image.id) or not wanted(image):
                continue
            references = self.references_of(image.id)
            if not references and self.children_of(image.id):
                continue
            if dangling and any(not reference.digest for reference in references):
                continue
            for name in [str(reference) for reference in references] or [image.id]:
                with suppress(Conflict, NotFound):
                    removal = self.remove_sync(name, users=users)
                    steps += removal.steps
                    freed += removal.freed_bytes
        return Removal(steps=tuple(steps), freed_bytes=freed)

    def drop(self, image_id: str) -> int:
        """Forget an image and free what only it needed; return the bytes of layers freed."""
        with self.lock:
            image = self._images.pop(image_id)
            self.rows.delete_sync(image_id)
            freed = self._layers.release(f"image:{image_id}")
            for digest in (image_id, *self._unused(image.manifests)):
                self._blobs.remove(digest)
            still = {d for other in self._images.values() for d in other.diff_ids}
            for diff_id in set(image.diff_ids) - still:
                for blob in self.blobs_of(diff_id):
                    self._blobs.remove(blob.digest)
                self.layer_blobs.delete_sync(diff_id)
            return freed

    def forget(self, image_id: str) -> None:
        """Take back an image that is not whole, with its names."""
        for table in (self.tags, self.digests):
            gone = [key for key, row in table.items() if row.image_id == image_id]
            table.change_sync(dict.fromkeys(gone))
        self._images.pop(image_id, None)
        self.rows.delete_sync(image_id)
        self._layers.holds.delete_sync(f"image:{image_id}")

    def _unused(self, manifests: Iterable[str]) -> set[str]:
        used = {m for row in self.rows.values() for m in row.manifests}
        return set(manifests) - used

    def needed_blobs(self) -> set[str]:
        """Name every blob that some row speaks of."""
        needed = {blob.digest for blobs in self.layer_blobs.values() for blob in blobs}
        for row in self.rows.values():
            needed |= {row.id, *row.manifests}
        return needed


def _key(reference: Reference) -> str:
    """Name a row; where there is a digest, the tag is only decoration."""
    return f"{reference.name}@{reference.digest}" if reference.digest else str(reference)


def _no_such_image(name: str) -> NotFound:
    return NotFound(f"No such image: {name}", hint=f"Fetch it first: %docker pull {name}")


def _gone(image_id: str) -> ImageRow:
    raise _no_such_image(image_id)
