"""Images that come and go: pull, push, save, load, import; told in Docker's messages.

Knows:   names for what arrives, the order of messages, when an error still has a status.
Refuses: HTTP on either side (api/images.py, registry/transport.py), and other image verbs.
Source:  moby daemon/images/image_{pull,push,exporter,import}.go, distribution/*.go.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Final

import msgspec

from dockerlab.engine.model.image import Blob, Image
from dockerlab.engine.registry.auth import ANONYMOUS, Credentials
from dockerlab.engine.registry.pull import Pulled, Puller
from dockerlab.engine.registry.push import Parts, Pusher
from dockerlab.engine.registry.resolve import (
    Offered,
    Resolved,
    fetch_config,
    fetch_manifest,
    list_tags,
    resolve,
)
from dockerlab.engine.registry.search import Found, search
from dockerlab.engine.registry.transport import Registry, Rules
from dockerlab.engine.services.bodies import with_body
from dockerlab.engine.services.image_changes import changed
from dockerlab.engine.services.images import Images
from dockerlab.engine.store import archives
from dockerlab.engine.store.load import Loaded, load
from dockerlab.engine.store.store import Store
from dockerlab.errors import DockerlabError, InvalidRequest, NotFound
from dockerlab.oci import digests, names, platforms
from dockerlab.oci.documents import ImageRunConfig, Index, Manifest, Platform
from dockerlab.oci.names import Reference
from dockerlab.wire import progress
from dockerlab.wire.times import rfc3339

Tell = Callable[[bytes], None]
"""Takes one message of a stream, on the loop's thread."""

PROGRESS_EVERY_S: Final = 0.1


class Transfers:
    """Brings images in and out. `close` in the end.

    Args:
        rules: which registries need no https, and how patient we are.
    """

    def __init__(self, store: Store, images: Images, rules: Rules | None = None) -> None:
        self._store, self._images = store, images
        self._rules = rules or Rules()
        self._machine = platforms.of_machine(os.uname().machine)
        self._puller = Puller(store.blobs, store.layers)
        self._pusher = Pusher(Parts(images=store.images, blobs=store.blobs, layers=store.layers))

    async def close(self) -> None:
        """Give up pulls; parts of downloads stay for the next engine."""
        await self._puller.close()
        await asyncio.to_thread(self._pusher.close)

    # -- pull -----------------------------------------------------------------------------------

    async def pull(
        self,
        name: str,
        tell: Tell,
        *,
        tag: str = "",
        platform: str = "",
        credentials: Credentials = ANONYMOUS,
    ) -> None:
        """Pull one tag or digest, or every tag when none is given.

        Whatever fails before the first message has a status of its own.

        Raises:
            InvalidRequest: no such name can exist; NotFound: nothing there, or not to be seen.
        """
        reference = _wanted(name, tag)
        wanted = platforms.parse(platform, host=self._machine) if platform else None
        registry = Registry(reference.domain, credentials, self._rules)
        try:
            if reference.tag or reference.digest:
                await self._pull(registry, reference, wanted, tell)
                return
            for each in await asyncio.to_thread(list_tags, registry, reference):
                await self._pull(registry, reference.with_tag(each), wanted, tell)
        finally:
            await asyncio.to_thread(registry.close)

    async def find(
        self,
        reference: str,
        *,
        platform: str,
        pull: bool,
        tell: Callable[[dict[str, object]], None],
    ) -> Image:
        """Give an image that is here, or pull it; for FROM.

        Raises:
            NotFound: neither here nor in its registry.
        """
        wanted = platforms.parse(platform, host=self._machine) if platform else None
        if not pull:
            try:
                return self._images.find(reference, wanted)
            except NotFound:
                pass
        await self.pull(
            str(names.parse_complete(reference)),
            lambda message: tell(msgspec.json.decode(message)),
            platform=platform,
        )
        return self._images.find(reference)

    async def _pull(
        self, registry: Registry, reference: Reference, wanted: Platform | None, tell: Tell
    ) -> None:
        before = self._store.images.find(reference)
        resolved = await asyncio.to_thread(
            resolve, registry, reference, wanted or self._machine, exact=wanted is not None
        )
        shown = reference.digest or reference.tag
        tell(progress.status(f"Pulling from {reference.path}", id=shown))
        lines = _Lines(tell)
        image = await self._puller.pull(
            registry,
            reference,
            resolved,
            report=lines.report,
            keep=lambda pulled: self._keep(reference, resolved, pulled),
        )
        self._images.announce("pull", image, reference.familiar_name, reference.familiar)
        tell(progress.status(f"Digest: {resolved.digest}"))
        same = before is not None and before.id == image.id
        word = "Image is up to date" if same else "Downloaded newer image"
        tell(progress.status(f"Status: {word} for {reference.familiar}"))

    def _keep(self, reference: Reference, resolved: Resolved, pulled: Pulled) -> Image:
        """Make the image of its parts, and give it its names: last, so that names are whole."""
        store = self._store
        for diff_id, layer in zip(
            pulled.config.rootfs.diff_ids, resolved.manifest.layers, strict=True
        ):
            blob = Blob(
                digest=layer.digest,
                size=layer.size,
                media_type=layer.media_type,
                sources=(reference.name,),
                kept=store.blobs.has(layer.digest),
            )
            store.images.note_blob(diff_id, blob)
        manifest = store.blobs.add_bytes(resolved.documents[-1].raw)
        image = store.images.put_sync(pulled.config_raw, pulled.layers, manifest=manifest)
        store.images.tag_sync(image.id, reference.with_digest(resolved.digest))
        if not reference.digest:
            store.images.tag_sync(image.id, reference)
        return image

    # -- push -----------------------------------------------------------------------------------

    async def push(
        self, name: str, tell: Tell, *, tag: str = "", credentials: Credentials = ANONYMOUS
    ) -> None:
        """Push one tag, or every tag of a repository when none is given.

        Raises:
            InvalidRequest: no such name can exist; NotFound: nothing here has it.
        """
        reference = names.parse(name)
        if reference.digest:
            raise InvalidRequest("cannot push a digest reference")
        tell(progress.status(f"The push refers to repository [{reference.name}]"))
        tagged = self._tagged(reference, tag)
        registry = Registry(reference.domain, credentials, self._rules)
        try:
            for one, image in tagged:
                lines = _Lines(tell)
                pushed = await self._pusher.push(registry, one, image, lines.report)
                text = f"{one.tag}: digest: {pushed.digest} size: {pushed.size}"
                tell(progress.status(text))
                aux = {"Tag": one.tag, "Digest": pushed.digest, "Size": pushed.size}
                tell(progress.aux(aux))
                self._images.announce("push", image, one.familiar_name, one.familiar)
        finally:
            await asyncio.to_thread(registry.close)

    def _tagged(self, reference: Reference, tag: str) -> list[tuple[Reference, Image]]:
        if tag:
            one = reference.with_tag(tag)
            image = self._store.images.find(one)
            if image is None:
                raise NotFound(
                    f"An image does not exist locally with the tag: {reference.familiar_name}",
                    hint=f"Name it first: docker tag IMAGE {one.familiar}",
                )
            return [(one, image)]
        found = [
            (known, image)
            for image in self._store.images.list()
            for known in self._store.images.references_of(image.id)
            if known.name == reference.name and not known.digest
        ]
        if not found:
            raise NotFound(
                f"An image does not exist locally with the tag: {reference.familiar_name}"
            )
        return sorted(found, key=lambda pair: pair[0].tag)

    # -- archives -------------------------------------------------------------------------------

    def save(self, wanted: Sequence[str]) -> Iterator[bytes]:
        """Write images as one archive; to be read in a worker thread.

        Raises:
            NotFound: before the first byte.
        """
        if not wanted:
            raise InvalidRequest("no images specified")
        pieces = archives.chunks_of(archives.save(self._store, wanted))
        for name in wanted:
            self._images.announce("save", self._images.find(name))
        return pieces

    async def load(self, body: AsyncIterator[bytes], tell: Tell, *, quiet: bool) -> None:
        """Bring every image of an archive in.

        Raises:
            InvalidRequest: no image archive, or a hostile one.
        """
        lines = _Lines(tell)

        def report(diff_id: str, current: int, total: int) -> None:
            lines.report(digests.short(diff_id), "Loading layer", current, total)

        loaded = await with_body(
            body,
            lambda source: load(
                self._store, source, platform=self._machine, progress=None if quiet else report
            ),
        )
        for one in loaded:
            self._tell_loaded(one, tell)

    def _tell_loaded(self, one: Loaded, tell: Tell) -> None:
        for name, image_id in one.replaced:
            tell(
                progress.stream(
                    f"The image {name} already exists, renaming the old one with ID {image_id} "
                    "to empty string\n"
                )
            )
        for tag in one.tags:
            tell(progress.stream(f"Loaded image: {tag}\n"))
        if not one.tags:
            tell(progress.stream(f"Loaded image ID: {one.image.id}\n"))
        self._images.announce("load", one.image, one.tags[0] if one.tags else "")

    async def import_(
        self,
        body: AsyncIterator[bytes],
        tell: Tell,
        *,
        repo: str = "",
        tag: str = "",
        message: str = "",
        platform: str = "",
        changes: Sequence[str] = (),
    ) -> None:
        """Make an image of one layer from a tar of files.

        Raises:
            InvalidRequest: no such name can exist, or that is no tar.
        """
        reference = names.parse_repository(repo, tag) if repo else None
        config = changed(ImageRunConfig(), changes)
        wanted = platforms.parse(platform, host=self._machine) if platform else self._machine
        image = await with_body(
            body,
            lambda source: archives.import_tree(
                self._store,
                source,
                created=rfc3339(time.time_ns()),
                architecture=wanted.architecture,
                variant=wanted.variant,
                config=config,
                message=message or "Imported from -",
            ),
        )
        if reference is not None:
            await self._store.images.tag(image.id, reference)
        self._images.announce("import", image, reference.familiar if reference else "")
        tell(progress.status(image.id))

    # -- questions ------------------------------------------------------------------------------

    async def offered(self, name: str, credentials: Credentials = ANONYMOUS) -> Offered:
        """Ask a registry what it has under a name, without pulling."""
        reference = names.parse_complete(name)
        registry = Registry(reference.domain, credentials, self._rules)

        def ask() -> Offered:
            document, parsed = fetch_manifest(registry, reference)
            found: tuple[Platform, ...]
            if isinstance(parsed, Index):
                found = tuple(e.platform for e in parsed.manifests if e.platform is not None)
            else:
                found = (_platform_of(registry, reference, parsed),)
            return Offered(document=document, size=len(document.raw), platforms=found)

        try:
            return await asyncio.to_thread(ask)
        finally:
            await asyncio.to_thread(registry.close)

    async def search(
        self, term: str, limit: int, credentials: Credentials = ANONYMOUS
    ) -> list[Found]:
        """Find repositories by a word."""
        return await asyncio.to_thread(search, term, limit, credentials, self._rules)


class _Lines:
    """The line of each layer, from any thread to the loop, not more often than people see."""

    def __init__(self, tell: Tell) -> None:
        self._tell, self._loop = tell, asyncio.get_running_loop()
        self._told: dict[str, tuple[str, float]] = {}

    def report(self, name: str, status: str, current: int, total: int) -> None:
        now = time.monotonic()
        last, moment = self._told.get(name, ("", 0.0))
        if last == status and (not total or now - moment < PROGRESS_EVERY_S):
            return
        self._told[name] = status, now
        if total:
            message = progress.advance(status, name, current, total)
        else:
            message = progress.layer(status, name)
        self._loop.call_soon_threadsafe(self._tell, message)


def _wanted(name: str, tag: str) -> Reference:
    """Join `fromImage=` and `tag=`; a digest in either decides."""
    reference = names.parse(name)
    if tag.startswith("sha256:") or digests.is_digest(tag):
        return reference.with_digest(tag)
    if reference.digest:
        return reference.with_digest(reference.digest)
    return reference.with_tag(tag) if tag else reference


def _platform_of(registry: Registry, reference: Reference, manifest: Manifest) -> Platform:
    try:
        return fetch_config(registry, reference, manifest)[1].platform
    except DockerlabError:
        return Platform()  # an artifact: it runs nowhere
