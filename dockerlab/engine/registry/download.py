"""One blob on its way from a registry into the store, and readers that follow it.

Knows:   resuming by Range, retrying, verification, and that one download serves many pulls.
Refuses: to unpack; whoever unpacks reads behind the download and meets its end after the check.
Source:  RFC 9110 section 14 (ranges); moby distribution/pull_v2.go for the words of progress.
"""

from __future__ import annotations

import io
import os
import re
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import requests

from dockerlab.engine.registry.remote_errors import RegistryAnswer, answer_of
from dockerlab.engine.registry.transport import BrokenConnection, Registry
from dockerlab.engine.store.blobs import Blobs, BlobWriter
from dockerlab.errors import Failed
from dockerlab.oci.documents import Descriptor
from dockerlab.oci.names import Reference

CHUNK_BYTES: Final = 256 << 10

Progress = Callable[[str, int, int], None]
"""Told a state in Docker's words, bytes so far, bytes in all (0: no figure for this state)."""

Report = Callable[[str, str, int, int], None]
"""Told an id, a status in Docker's words, bytes so far, bytes in all. Called from any thread."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How often a blob is tried, and how much longer each pause is."""

    tries: int = 5
    step_s: int = 5


class Cancelled(Exception):
    """Nobody wants these bytes any more."""


class StaleDownload(Failed):
    """What was read so far came from a bad part; the download began anew: read anew."""


class Download:
    """Fetches one blob. `run` blocks in a worker thread; `cancel` may come from any."""

    def __init__(
        self,
        blobs: Blobs,
        registry: Registry,
        reference: Reference,
        blob: Descriptor,
        *,
        progress: Progress,
        patience: Patience | None = None,
    ) -> None:
        self._blobs, self._registry, self._reference = blobs, registry, reference
        self._blob, self._progress = blob, progress
        self._patience = patience or Patience()
        self._cancelled = threading.Event()
        self._changed = threading.Condition()
        self._round = 0  # readers of an earlier round are stale
        self._available = False
        self._finished = False
        self._problem: BaseException | None = None
        self._answer: requests.Response | None = None

    @property
    def finished(self) -> bool:
        """Whether all bytes are here and verified."""
        return self._finished

    def cancel(self) -> None:
        """End soon. What came is kept for the next attempt."""
        self._cancelled.set()
        answer = self._answer
        # The thread may be waiting for a registry that has stalled. Before 2.3 urllib3 can't
        # do this (AttributeError); then its time limit ends the wait.
        with suppress(AttributeError, OSError, RuntimeError, ValueError):
            if answer is not None:
                answer.raw.shutdown()

    def run(self) -> None:
        """Fetch and verify.

        Raises:
            Failed: not to be had, or not what the digest says.
            Cancelled: as asked.
        """
        try:
            # A part of an earlier attempt may be bad; then once more from nothing.
            if not self._run_round():
                self._run_round()
        except BaseException as error:
            with self._changed:
                self._problem = error
                self._changed.notify_all()
            raise
        with self._changed:
            self._finished = True
            self._changed.notify_all()

    def reader(self) -> FollowingReader:
        """Wait for the first bytes, and open what there is.

        Raises:
            Failed: the download ended before it began.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._available or self._finished or self._problem)
            if self._problem is not None:
                raise Failed(str(self._problem)) from self._problem
            path = self._blobs.partial_path(self._blob.digest)
            if self._finished or not path.exists():
                path = self._blobs.path(self._blob.digest)
            return FollowingReader(self, os.open(path, os.O_RDONLY | os.O_CLOEXEC), self._round)

    def _run_round(self) -> bool:
        with self._blobs.writer(self._blob.digest, self._blob.size) as writer:
            if self._blobs.has(self._blob.digest):  # somebody else was first
                return True
            with self._changed:
                self._available, self._round = True, self._round + 1
                self._changed.notify_all()
            self._fill(writer)
            self._progress("Verifying Checksum", 0, 0)
            resumed = writer.resumed_bytes > 0
            with self._changed:  # the name changes under readers who are just opening
                try:
                    writer.commit()
                except Failed:
                    self._available = False
                    if not resumed:
                        raise
                    return False
                self._finished = True
        self._progress("Download complete", 0, 0)
        return True

    def _fill(self, writer: BlobWriter) -> None:
        failures = 0
        while writer.count < self._blob.size or failures == 0:
            before = writer.count
            try:
                self._fetch(writer)
            except BrokenConnection as error:
                # Whoever makes progress may go on for as long as it takes.
                failures = 1 if writer.count > before else failures + 1
                if failures >= self._patience.tries:
                    raise
                self._wait(self._patience.step_s * failures, error)
            else:
                if writer.count == self._blob.size:
                    return

    def _fetch(self, writer: BlobWriter) -> None:
        path = f"/v2/{self._reference.path}/blobs/{self._blob.digest}"
        headers = {"Range": f"bytes={writer.count}-"} if writer.count else {}
        scopes = (f"repository:{self._reference.path}:pull",)
        with self._registry.open("GET", path, scopes=scopes, headers=headers) as response:
            self._answer = response
            if self._cancelled.is_set():
                raise Cancelled
            self._begin(writer, response)
            shown = 0.0
            while data := response.raw.read(CHUNK_BYTES, decode_content=False):
                if self._cancelled.is_set():
                    raise Cancelled
                writer.write(data)
                with self._changed:
                    self._changed.notify_all()
                if time.monotonic() - shown > 0.1:
                    shown = time.monotonic()
                    self._progress("Downloading", writer.count, self._blob.size)
        if writer.count < self._blob.size:
            raise BrokenConnection("unexpected EOF")

    def _begin(self, writer: BlobWriter, response: requests.Response) -> None:
        """Look at the head of an answer: does it go on where we are, or begin anew?"""
        status = response.status_code
        if status == 206 and writer.count:
            found = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
            if found is not None and int(found[1]) == writer.count:
                return
            writer.restart()
            raise BrokenConnection("the registry sent another range than was asked for")
        if status == 416:
            writer.restart()
            raise BrokenConnection("the registry refused to go on with an interrupted download")
        if status != 200:
            raise _refusal(answer_of(response, response.raw.read(64 << 10, decode_content=True)))
        if writer.count:
            writer.restart()
        length = response.headers.get("Content-Length", "")
        if length.isascii() and length.isdigit() and int(length) != self._blob.size:
            raise Failed(
                f"filesystem layer verification failed for digest {self._blob.digest}",
                hint=f"The manifest promises {self._blob.size} bytes, the registry has {length}.",
            )

    def _wait(self, seconds: int, error: BrokenConnection) -> None:
        seconds = max(seconds, int(getattr(error, "retry_after_s", 0)))
        for left in range(min(seconds, 120), 0, -1):
            unit = "second" if left == 1 else "seconds"
            self._progress(f"Retrying in {left} {unit}", 0, 0)
            if self._cancelled.wait(1.0):
                raise Cancelled
        if self._cancelled.is_set():
            raise Cancelled


class BusyRegistry(BrokenConnection):
    """The registry is there, and asks to come back later."""

    def __init__(self, answer: RegistryAnswer) -> None:
        super().__init__(answer.text)
        self.retry_after_s = answer.retry_after_s


def _refusal(answer: RegistryAnswer) -> Failed:
    if answer.status == 429 or answer.status >= 500:
        return BusyRegistry(answer)
    return Failed(answer.text, hint="The registry does not hand out this layer.")


class FollowingReader(io.RawIOBase):
    """Reads a blob while it is written. Its end comes only after the digest was found right."""

    def __init__(self, download: Download, descriptor: int, number: int) -> None:
        self._download, self._descriptor, self._number = download, descriptor, number
        self._position = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        download = self._download
        while True:
            count = os.preadv(self._descriptor, [buffer], self._position)
            if count:
                self._position += count
                return count
            with download._changed:  # noqa: SLF001 - two halves of one thing
                if download._problem is not None:  # noqa: SLF001
                    raise Failed(str(download._problem)) from download._problem  # noqa: SLF001
                if download._round != self._number or not download._available:  # noqa: SLF001
                    raise StaleDownload("the download began anew")
                if not os.preadv(self._descriptor, [buffer], self._position):
                    if download._finished:  # noqa: SLF001
                        return 0
                    download._changed.wait(1.0)  # noqa: SLF001

    def close(self) -> None:
        if not self.closed:
            os.close(self._descriptor)
        super().close()
