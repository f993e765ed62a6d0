"""Pushing: what the registry has not, in the order that never leaves a tag on half an image.

Knows:   existing blobs, mounts from other repositories, upload sessions, the manifest to send.
Refuses: to change digests without need: what was pulled is pushed as it came.
Source:  OCI distribution-spec "Push"; moby distribution/push_v2.go for the words.
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

from dockerlab.engine.model.image import Blob, Image, Layer
from dockerlab.engine.registry.download import Patience, Report
from dockerlab.engine.registry.transport import BrokenConnection, Registry
from dockerlab.engine.registry.upload import Uploads
from dockerlab.engine.store.blobs import Blobs
from dockerlab.engine.store.images import Images
from dockerlab.engine.store.layers import Layers
from dockerlab.engine.store.streams import compress, sniff
from dockerlab.errors import Failed
from dockerlab.oci import digests
from dockerlab.oci.documents import (
    DOCKER_CONFIG,
    DOCKER_LAYER,
    DOCKER_LAYER_GZIP,
    DOCKER_LAYER_ZSTD,
    DOCKER_MANIFEST,
    Descriptor,
    Manifest,
    parse_manifest,
    render,
)
from dockerlab.oci.names import Reference

UPLOADS: Final = 5
_LAYER_TYPES: Final = {"": DOCKER_LAYER, "gzip": DOCKER_LAYER_GZIP, "zstd": DOCKER_LAYER_ZSTD}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushed:
    """What the registry has now under the tag."""

    digest: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a push reads, and how patient it is."""

    images: Images
    blobs: Blobs
    layers: Layers
    patience: Patience = field(default_factory=Patience)


class Pusher:
    """Sends images. Lives on the loop; the work is done in its threads."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._threads = ThreadPoolExecutor(UPLOADS, "push")

    def close(self) -> None:
        """Wait for what is being sent."""
        self._threads.shutdown(cancel_futures=True)

    async def push(
        self, registry: Registry, reference: Reference, image: Image, report: Report
    ) -> Pushed:
        """Send an image to a tag.

        Raises:
            Unauthenticated: who we are may not push there.
            Failed: the registry refuses, or is gone.
        """
        push = _Push(self._parts, registry, reference, image, report)
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._threads, registry.base)
        for layer in image.layers:
            report(digests.short(layer.diff_id), "Preparing", 0, 0)
        sent = [
            loop.run_in_executor(self._threads, push.layer, layer)
            for layer in dict.fromkeys(image.layers)
        ]
        try:
            blobs = dict(zip(dict.fromkeys(image.layers), await asyncio.gather(*sent), strict=True))
        except BaseException:
            push.given_up = True
            await asyncio.gather(*sent, return_exceptions=True)
            raise
        manifest = [blobs[layer] for layer in image.layers]
        return await loop.run_in_executor(self._threads, push.finish, manifest)


class _Push:
    """One push to one tag; its methods block, each in a thread."""

    def __init__(
        self, parts: Parts, registry: Registry, reference: Reference, image: Image, report: Report
    ) -> None:
        self._reference, self._image, self._report = reference, image, report
        self._images, self._blobs, self._layers = parts.images, parts.blobs, parts.layers
        self._patience = parts.patience
        self._uploads = Uploads(registry, reference, parts.blobs)
        self.given_up = False

    def layer(self, layer: Layer) -> Blob:
        """Make sure that the registry has a layer, in the form in which we keep it."""
        name = digests.short(layer.diff_id)
        blob = self._form(layer)

        def report(status: str, current: int = 0, total: int = 0) -> None:
            if self.given_up:
                raise Failed("the push was given up")
            self._report(name, status, current, total)

        for number in range(1, self._patience.tries + 1):
            try:
                report(self._uploads.send(blob, report))
                break
            except BrokenConnection:
                if number == self._patience.tries:
                    raise
                for left in range(self._patience.step_s * number, 0, -1):
                    report(f"Retrying in {left} second{'s' if left > 1 else ''}")
                    time.sleep(1)
        sent = Blob(
            digest=blob.digest,
            size=blob.size,
            media_type=blob.media_type,
            sources=(self._reference.name,),
        )
        self._images.note_blob(layer.diff_id, sent)
        return blob

    def finish(self, layers: list[Blob]) -> Pushed:
        """Send the configuration, then the manifest that names all of it."""
        config = self._images.config_bytes(self._image.id)
        descriptor = Descriptor(media_type=DOCKER_CONFIG, digest=self._image.id, size=len(config))
        raw, media_type = self._manifest(layers, descriptor)
        blob = Blob(digest=self._image.id, size=len(config), media_type=DOCKER_CONFIG)
        self._uploads.send_bytes(blob, config)
        self._uploads.put_manifest(self._reference.tag, media_type, raw)
        digest = self._blobs.add_bytes(raw)
        self._images.put_sync(config, self._image.layers, manifest=digest)
        self._images.tag_sync(self._image.id, self._reference.with_digest(digest))
        return Pushed(digest=digest, size=len(raw))

    # -- forms --------------------------------------------------------------------------------

    def _form(self, layer: Layer) -> Blob:
        """The newest form of a layer that is kept; else it is compressed now, once for all."""
        for blob in reversed(self._images.blobs_of(layer.diff_id)):
            if self._blobs.has(blob.digest):
                return blob
        with self._blobs.spool() as spool:
            for chunk in compress(self._layers.tar(layer), "gzip"):
                spool.write(chunk)
            if not self._blobs.has(spool.digest):
                spool.keep()
            made = Blob(digest=spool.digest, size=spool.size, media_type=DOCKER_LAYER_GZIP)
        self._images.note_blob(layer.diff_id, made)
        return made

    def _manifest(self, layers: list[Blob], config: Descriptor) -> tuple[bytes, str]:
        """The manifest that the image came with, if it names exactly these bytes; else ours."""
        wanted = [blob.digest for blob in layers]
        for digest in reversed(self._image.manifests):
            if not self._blobs.has(digest):
                continue
            raw = self._blobs.read(digest)
            known = parse_manifest(raw)
            if isinstance(known, Manifest) and (
                [layer.digest for layer in known.layers] == wanted
                and known.config.digest == config.digest
            ):
                return raw, known.media_type
        made = Manifest(
            media_type=DOCKER_MANIFEST,
            config=config,
            layers=tuple(
                Descriptor(media_type=self._layer_type(blob), digest=blob.digest, size=blob.size)
                for blob in layers
            ),
        )
        return render(made), DOCKER_MANIFEST

    def _layer_type(self, blob: Blob) -> str:
        with self._blobs.open(blob.digest) as file:
            return _LAYER_TYPES.get(sniff(file.read(6)), DOCKER_LAYER)
