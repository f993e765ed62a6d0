"""Our own endpoints, /dockerlab/v1: what Docker's API has no words for.

Knows:   the engine about itself, the files of an image's layers, an end on request.
Refuses: anything that a Docker host offers too; notebooks must work against those.
"""

from __future__ import annotations

import asyncio
import functools
import os
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeAlias

import msgspec

from dockerlab.engine.api.reply import JSON_TYPE, Bytes, Json, Reply
from dockerlab.engine.api.request import Request
from dockerlab.engine.api.routes import Route
from dockerlab.engine.model.image import Image, Layer
from dockerlab.engine.model.overview import About
from dockerlab.oci import dive_report, layer_report
from dockerlab.oci.documents import History
from dockerlab.oci.layer_stack import LayerChange, LayerStack
from dockerlab.oci.layer_tar import Entry
from dockerlab.wire.times import rfc3339

_Images: TypeAlias = list[Image]  # inside a class with a method `list`, the word means that


class Identity(Protocol):
    """Who this engine is."""

    def about(self) -> About: ...


class ImageSource(Protocol):
    """Finds images."""

    def resolve(self, name: str) -> Image: ...
    def list(self) -> _Images: ...
    def tags_of(self, image_id: str) -> Sequence[str]: ...


class LayerSource(Protocol):
    """Reads the indexes of layers."""

    def entries(self, layer: Layer) -> Sequence[Entry]: ...
    def digests_of(self, layer: Layer) -> Callable[[int], str]: ...


class Storage(Protocol):
    """What these routes need of the store."""

    @property
    def images(self) -> ImageSource: ...
    @property
    def layers(self) -> LayerSource: ...


class Stop(Protocol):
    """Ends the engine."""

    def __call__(self, *, clean: bool = False) -> None: ...


class _LayerDocument(msgspec.Struct, frozen=True, kw_only=True):
    digest: str
    size: int
    instruction: str
    created: str
    entries: list[LayerChange]


def routes(
    identity: Identity, storage: Storage, stop: Stop, doctor: Callable[[], Awaitable[Any]]
) -> list[Route]:
    """List the routes."""
    handlers = _Handlers(identity, storage, stop, doctor)
    return [
        Route("GET", "/dockerlab/v1/engine", handlers.engine),
        Route("GET", "/dockerlab/v1/doctor", handlers.doctor),
        Route("GET", "/dockerlab/v1/images/{name}/layers", handlers.layers),
        Route("GET", "/dockerlab/v1/images/{name}/ledger", handlers.ledger),
        Route("POST", "/dockerlab/v1/shutdown", handlers.shutdown),
    ]


class _Handlers:
    def __init__(
        self, identity: Identity, storage: Storage, stop: Stop, doctor: Callable[[], Awaitable[Any]]
    ) -> None:
        self._identity, self._storage, self._stop = identity, storage, stop
        self._doctor = doctor

    async def engine(self, request: Request) -> Reply:
        del request
        about = self._identity.about()
        return Json(
            {
                "id": about.id,
                "pid": os.getpid(),
                "version": about.version,
                "mode": about.machine.mode.value,
                "root": about.root,
                "started": rfc3339(about.started_ns),
            }
        )

    async def doctor(self, request: Request) -> Reply:
        del request
        return Json(await self._doctor())

    async def layers(self, request: Request) -> Reply:
        image = self._storage.images.resolve(request.params["name"])
        return Bytes(
            body=await asyncio.to_thread(_layers, image, self._storage.layers),
            content_type=JSON_TYPE,
        )

    async def ledger(self, request: Request) -> Reply:
        image = self._storage.images.resolve(request.params["name"])
        return Bytes(
            body=await asyncio.to_thread(_ledger, image, self._storage),
            content_type=JSON_TYPE,
        )

    async def shutdown(self, request: Request) -> Reply:
        clean = request.query.flag("clean")
        # After the answer is on its way.
        asyncio.get_running_loop().call_later(0.05, lambda: self._stop(clean=clean))
        return Json({"pid": os.getpid(), "clean": clean})


def _layers(image: Image, source: LayerSource) -> bytes:
    stack = LayerStack()
    steps = [step for step in image.document.history if not step.empty_layer]
    documents = [
        _LayerDocument(
            digest=layer.diff_id,
            size=layer.size,
            instruction=_step(steps, number).created_by,
            created=_step(steps, number).created,
            entries=stack.add(source.entries(layer)),
        )
        for number, layer in enumerate(image.layers)
    ]
    return msgspec.json.encode({"id": image.id, "layers": documents})


def _ledger(image: Image, storage: Storage) -> bytes:
    entries = [storage.layers.entries(layer) for layer in image.layers]
    # Few images have files of one size and path in two layers: an index is read when one has.
    digests_of = functools.cache(lambda number: storage.layers.digests_of(image.layers[number]))
    digest_of = functools.cache(lambda layer, number: digests_of(layer)(number))
    known = [
        [layer.diff_id for layer in other.layers]
        for other in storage.images.list()
        if storage.images.tags_of(other.id)
    ]
    report = layer_report.report(
        entries,
        digest_of,
        base_layers=layer_report.base_layer_count([one.diff_id for one in image.layers], known),
    )
    return msgspec.json.encode(
        {"report": report.shown(), "dive": dive_report.report(entries).shown()}
    )


def _step(steps: Sequence[History], number: int) -> History:
    return steps[number] if number < len(steps) else History()
