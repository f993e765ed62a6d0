"""Builds from beginning to end: context in, image and tags out, and what the cache holds.

Knows:   one task for each build, its context's folder, cancelling, pruning the cache.
Refuses: HTTP and the wording of streams (`api/builds.py`, `api/build_stream.py`).
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from dockerlab.dockerfile.lines import DockerfileError
from dockerlab.dockerfile.lint import lint
from dockerlab.dockerfile.parse import parse
from dockerlab.engine.build import context as contexts
from dockerlab.engine.build import progress, snapshots
from dockerlab.engine.build.builder import Builder, Rooms
from dockerlab.engine.build.cache_keys import CacheRecord
from dockerlab.engine.build.context import Context
from dockerlab.engine.build.request import BuildRequest
from dockerlab.engine.services.bodies import with_body
from dockerlab.engine.services.events import Events
from dockerlab.engine.store.removal import Users
from dockerlab.errors import Conflict, InvalidRequest, NotFound
from dockerlab.oci import names
from dockerlab.oci.names import Reference


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """What pruning the cache did."""

    keys: tuple[str, ...]
    freed_bytes: int


class Builds:
    """The builds of this engine."""

    def __init__(self, rooms: Rooms, events: Events, users: Users) -> None:
        """Args: users: says which containers were made from an image."""
        self._rooms = rooms
        self._users = users
        self._events = events
        self._running: dict[str, asyncio.Task[Any]] = {}
        self._discarding: set[asyncio.Task[None]] = set()
        self._sweeping = asyncio.Lock()
        self._swept = False

    async def build(
        self,
        request: BuildRequest,
        body: AsyncIterator[bytes],
        tell: progress.Listener,
        *,
        build_id: str = "",
    ) -> None:
        """Build; the last thing told is `Built`.

        Cancelling the calling task ends the running step; nothing but cached steps remains.

        Raises:
            DockerlabError: in Docker's words.
        """
        tags = tuple(_tag(text) for text in request.tags)
        build_id = build_id or secrets.token_hex(8)
        task = asyncio.current_task()
        if task is not None:
            self._running[build_id] = task
        try:
            await self._sweep()
            folder = self._rooms.store.root / "tmp" / f"build-{secrets.token_hex(8)}"
            context = await with_body(body, lambda source: contexts.unpack(source, folder))
            try:
                await self._build(request, context, tell, tags)
            finally:
                self._discard(context)
        finally:
            self._running.pop(build_id, None)

    def _discard(self, context: Context) -> None:
        """Remove a context's files behind the client's back: thousands of them take a while.

        What an engine's end interrupts, the next one's start removes: it empties tmp/.
        """
        task = asyncio.create_task(asyncio.to_thread(context.discard), name="discard a context")
        self._discarding.add(task)
        task.add_done_callback(self._discarding.discard)

    async def _sweep(self) -> None:
        """Before the first build: remove what builds of a killed engine left."""
        async with self._sweeping:
            if not self._swept:
                await asyncio.to_thread(snapshots.sweep, self._rooms.store)
                self._swept = True

    def cancel(self, build_id: str) -> None:
        """End a running build; one that is not running is no error."""
        task = self._running.get(build_id)
        if task is not None:
            task.cancel()

    async def prune(self, *, until_ns: int = 0) -> Pruned:
        """Forget cached steps, and remove the images that only they needed.

        Args:
            until_ns: only those not used since then; 0 for all.
        """
        images = self._rooms.store.images
        gone: list[str] = []
        candidates: list[str] = []
        for key, record in self._rooms.cache.records():
            if until_ns and record.used_ns > until_ns:
                continue
            gone.append(key)
            candidates.append(record.image_id)
        await self._rooms.cache.forget(gone)
        freed = 0
        # Newest first: an image goes before the one it stands on.
        for image_id in reversed(candidates):
            image = images.get(image_id)
            if image is None or not images.is_dangling(image_id):
                continue
            with suppress(Conflict, NotFound):
                removal = await images.remove(image_id, users=self._users, prune_parents=False)
                freed += removal.freed_bytes
        return Pruned(keys=tuple(gone), freed_bytes=freed)

    def records(self) -> list[tuple[str, CacheRecord]]:
        """The cached steps, for `system df`."""
        return self._rooms.cache.records()

    async def _build(
        self,
        request: BuildRequest,
        context: Context,
        tell: progress.Listener,
        tags: tuple[Reference, ...],
    ) -> None:
        text = await asyncio.to_thread(contexts.read_dockerfile, context, request.dockerfile)
        if not text:
            name = request.dockerfile or "Dockerfile"
            raise InvalidRequest(f"the Dockerfile ({name}) cannot be empty")
        try:
            read = parse(text)
        except DockerfileError as error:
            if error.reason == "file with no instructions":
                raise InvalidRequest(
                    f"failed to parse Dockerfile: {error.reason}", hint=error.hint
                ) from None
            raise
        for finding in lint(read):
            tell(progress.Linted(finding))
        context = await asyncio.to_thread(contexts.without_ignored, context)
        builder = Builder(rooms=self._rooms, request=request, context=context, read=read, tell=tell)
        image = await builder.build()
        for tag in tags:
            await self._rooms.store.images.tag(image.id, tag)
            self._events.emit("image", "tag", image.id, {"name": tag.familiar})
        tell(progress.Built(image.id, tuple(tag.familiar for tag in tags)))


def _tag(text: str) -> Reference:
    """Check a reference for the result, and complete it."""
    reference = names.parse(text)
    if reference.digest:
        raise InvalidRequest("build tag cannot contain a digest")
    return reference.complete()
