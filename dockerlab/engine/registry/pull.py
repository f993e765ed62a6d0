"""Pulling: all layers of an image at once, each downloaded, verified and unpacked as it comes.

Knows:   jobs that several pulls share, their order, progress in Docker's words, giving up.
Refuses: HTTP (transport.py), names and tags (services decide what a pulled image is called).
Source:  moby distribution/pull_v2.go for the words; registry-and-images "Redirects and transfers".
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final, TypeVar, overload

from dockerlab.engine.model.image import Layer
from dockerlab.engine.registry.download import (
    Cancelled,
    Download,
    Patience,
    Report,
    StaleDownload,
)
from dockerlab.engine.registry.resolve import Resolved, fetch_config
from dockerlab.engine.registry.transport import Registry
from dockerlab.engine.store.blobs import Blobs
from dockerlab.engine.store.layers import Layers
from dockerlab.errors import Failed
from dockerlab.oci import digests
from dockerlab.oci.documents import Descriptor, ImageConfig
from dockerlab.oci.names import Reference

DOWNLOADS: Final = 3
UNPACKS: Final = 3

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulled:
    """An image's parts, all of them in the store; the image itself is not made yet."""

    config_raw: bytes
    config: ImageConfig
    layers: tuple[Layer, ...]


class _Below(Sequence[Layer]):
    """The layers below one that is on its way; looking at them waits for them."""

    def __init__(self, found: Sequence[Layer], jobs: Sequence[_Job]) -> None:
        self._found, self._jobs = found, jobs

    def _layers(self) -> list[Layer]:
        return [*self._found, *(job.result() for job in self._jobs)]

    def __len__(self) -> int:
        return len(self._found) + len(self._jobs)

    @overload
    def __getitem__(self, index: int) -> Layer: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Layer]: ...
    def __getitem__(self, index: int | slice) -> Layer | Sequence[Layer]:
        return self._layers()[index]

    def __iter__(self) -> Iterator[Layer]:
        return iter(self._layers())


@dataclass(slots=True, eq=False)
class _Job:
    """One layer of one stack on its way; every pull that wants it watches it."""

    key: str
    blob: Descriptor
    diff_id: str
    reports: list[Report] = field(default_factory=list)
    last: tuple[str, int, int] = ("Pulling fs layer", 0, 0)
    download: Download | None = None
    task: asyncio.Task[Layer] | None = None
    given_up: bool = False
    _done: threading.Event = field(default_factory=threading.Event)
    layer: Layer | None = None

    @property
    def id(self) -> str:
        return digests.short(self.blob.digest)

    def report(self, status: str, current: int = 0, total: int = 0) -> None:
        self.last = status, current, total
        for report in tuple(self.reports):
            report(self.id, status, current, total)

    def finish(self, layer: Layer | None) -> None:
        self.layer = layer
        self._done.set()

    def result(self) -> Layer:
        """Wait in a worker thread."""
        self._done.wait()
        if self.layer is None:
            raise Failed(f"a layer below failed: {self.blob.digest}")
        return self.layer


class Puller:
    """Brings images' parts into a store. Lives on the loop; the work is done in its threads."""

    def __init__(self, blobs: Blobs, layers: Layers, patience: Patience | None = None) -> None:
        self._blobs, self._layers = blobs, layers
        self._patience = patience or Patience()
        self._jobs: dict[str, _Job] = {}
        self._downloads = asyncio.Semaphore(DOWNLOADS)
        self._unpacks = asyncio.Semaphore(UNPACKS)
        # Not the loop's own threads: there a wait for a layer below could starve that layer.
        self._threads = ThreadPoolExecutor(2 * (DOWNLOADS + UNPACKS), "pull")

    async def close(self) -> None:
        """Give up what is on its way; parts of downloads stay for the next engine."""
        jobs = list(self._jobs.values())
        for job in jobs:
            _give_up(job)
        await asyncio.gather(*(job.task for job in jobs if job.task), return_exceptions=True)
        self._threads.shutdown()

    async def pull(
        self,
        registry: Registry,
        reference: Reference,
        resolved: Resolved,
        *,
        report: Report,
        keep: Callable[[Pulled], T],
    ) -> T:
        """Bring the config and every layer of a resolved image, and have an image made of them.

        When the caller is cancelled, layers that nobody else wants are given up.

        Args:
            registry: where from.
            reference: the name it has there.
            resolved: what the name means for this machine.
            report: told of every layer's state.
            keep: makes the image, in a worker thread; until it returns nobody removes a layer.

        Raises:
            Failed: a layer is not to be had, or is not what its digests say.
        """
        manifest = resolved.manifest
        raw, config = await self._in_thread(fetch_config, registry, reference, manifest)
        wanted = list(zip(manifest.layers, config.rootfs.diff_ids, strict=True))
        jobs: list[_Job] = []
        try:
            with self._layers.lease():
                found = self._present(config.rootfs.diff_ids)
                for blob, _ in wanted[: len(found)]:
                    report(digests.short(blob.digest), "Already exists", 0, 0)
                await self._bring_all(
                    wanted, found, jobs, registry=registry, reference=reference, report=report
                )
                layers = (*found, *(job.result() for job in jobs))
                pulled = Pulled(config_raw=raw, config=config, layers=layers)
                return await self._in_thread(keep, pulled)
        except BaseException:
            # Layers that came whole have no image to belong to.
            whole = [job.layer.number for job in jobs if job.layer is not None]
            await self._in_thread(self._layers.collect, whole)
            raise

    async def _bring_all(
        self,
        wanted: Sequence[tuple[Descriptor, str]],
        found: Sequence[Layer],
        jobs: list[_Job],
        *,
        registry: Registry,
        reference: Reference,
        report: Report,
    ) -> None:
        keys = digests.chain_ids([diff_id for _, diff_id in wanted])
        try:
            for key, (blob, diff_id) in list(zip(keys, wanted, strict=True))[len(found) :]:
                job = self._watch(key, blob, diff_id, report)
                if job.task is None:
                    work = self._run(job, _Below(found, tuple(jobs)), registry, reference)
                    job.task = asyncio.create_task(work, name=f"pull layer {job.id}")
                jobs.append(job)
            await _all([job.task for job in jobs if job.task])
        finally:
            for job in reversed(jobs):
                job.reports.remove(report)
                if not job.reports:
                    _give_up(job)
            leaving = [job.task for job in jobs if job.task and not job.reports]
            # What is given up must be gone before we say so.
            await asyncio.gather(*leaving, return_exceptions=True)

    def _present(self, diff_ids: Sequence[str]) -> list[Layer]:
        """The layers at the bottom that are here already."""
        found: list[Layer] = []
        for diff_id in diff_ids:
            layer = self._layers.find(diff_id, found)
            if layer is None:
                break
            found.append(layer)
        return found

    def _watch(self, key: str, blob: Descriptor, diff_id: str, report: Report) -> _Job:
        job = self._jobs.get(key)
        if job is None or job.given_up:
            job = self._jobs[key] = _Job(key, blob, diff_id)
        job.reports.append(report)
        report(job.id, *job.last)
        return job

    async def _run(
        self, job: _Job, below: _Below, registry: Registry, reference: Reference
    ) -> Layer:
        layer = None
        try:
            layer = await self._bring(job, below, registry, reference)
        finally:
            job.finish(layer)
            if self._jobs.get(job.key) is job:
                del self._jobs[job.key]
        return layer

    async def _bring(
        self, job: _Job, below: _Below, registry: Registry, reference: Reference
    ) -> Layer:
        if self._downloads.locked():
            job.report("Waiting")
        await self._downloads.acquire()
        job.download = download = Download(
            self._blobs,
            registry,
            reference,
            job.blob,
            progress=job.report,
            patience=self._patience,
        )
        fetching = asyncio.ensure_future(self._in_thread(download.run))
        fetching.add_done_callback(lambda _: self._downloads.release())
        try:
            async with self._unpacks:
                layer = await self._in_thread(self._unpack, job, download, below)
        except BaseException as error:
            download.cancel()
            await asyncio.gather(fetching, return_exceptions=True)
            problem = None if fetching.cancelled() else fetching.exception()
            # Why the bytes did not come says more than that they ended.
            if isinstance(problem, Exception) and isinstance(error, Exception):
                raise problem from error
            raise
        await fetching
        job.report("Pull complete")
        return layer

    def _unpack(self, job: _Job, download: Download, below: _Below) -> Layer:
        total = job.blob.size
        shown = 0.0

        def progress(count: int) -> None:
            nonlocal shown
            now = time.monotonic()
            if now - shown > 0.1 and download.finished:
                shown = now
                job.report("Extracting", count, total)

        for _ in range(2):
            with download.reader() as source:
                try:
                    return self._layers.unpack(
                        source, diff_id=job.diff_id, parents=below, progress=progress
                    )
                except StaleDownload:
                    continue
        raise Failed(f"filesystem layer verification failed for digest {job.blob.digest}")

    async def _in_thread(self, work: Callable[..., T], *arguments: object) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, work, *arguments)


def _give_up(job: _Job) -> None:
    """Nobody wants a layer any more. Its thread ends soon; what came is kept."""
    job.given_up = True
    if job.task is None or job.task.done():
        return
    if job.download is None:
        job.task.cancel()
    else:
        job.download.cancel()


async def _all(tasks: Sequence[asyncio.Task[Layer]]) -> None:
    """Wait for all, or for the first that fails; they go on when the caller is cancelled."""
    if not tasks:
        return
    await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    for task in tasks:
        if task.cancelled():
            raise Cancelled
        if task.done() and (error := task.exception()) is not None:
            raise error
