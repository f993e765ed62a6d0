"""Byte streams: compressed ones by their magic, and a thread that reads and hashes ahead.

Knows:   gzip, zstd, bzip2, xz and plain; that isal, zstd and sha256 release the GIL.
Refuses: to know what the bytes mean.
Source:  reference of each format for its magic; RFC 8878 section 3.1.2 for skippable frames.
"""

from __future__ import annotations

import bz2
import hashlib
import io
import lzma
import queue
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Protocol, Self

from isal import igzip

from dockerlab.errors import InvalidRequest

try:
    from compression import zstd as zstd  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0414
except ImportError:
    from backports import zstd as zstd  # noqa: PLC0414 - others take it from here

CHUNK = 1 << 20
_AHEAD = 8

_BROKEN = (zlib.error, lzma.LZMAError, zstd.ZstdError, igzip.BadGzipFile, EOFError)


class Source(Protocol):
    """What can be read; short reads are fine, b"" is the end."""

    def read(self, size: int = -1, /) -> bytes: ...


class _Peeked(io.RawIOBase):
    """A source with its first bytes put back."""

    def __init__(
        self, first: bytes, source: Source, progress: Callable[[int], None] | None
    ) -> None:
        self._first, self._source, self._progress = first, source, progress
        self._count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        data = self._first[: len(buffer)] or self._source.read(len(buffer))
        self._first = self._first[len(data) :] if self._first else b""
        buffer[: len(data)] = data
        self._count += len(data)
        if self._progress is not None:
            self._progress(self._count)
        return len(data)


def sniff(first: bytes) -> str:
    """Name the compression that some first bytes announce: gzip, zstd, bzip2, xz or "" (plain)."""
    if first.startswith(b"\x1f\x8b\x08"):
        return "gzip"
    if first.startswith(b"\x28\xb5\x2f\xfd") or (
        first[1:4] == b"\x2a\x4d\x18" and first[:1] and first[0] & 0xF0 == 0x50
    ):
        return "zstd"
    if first.startswith(b"BZh"):
        return "bzip2"
    if first.startswith(b"\xfd7zXZ\x00"):
        return "xz"
    return ""


def decompressed(
    source: Source, progress: Callable[[int], None] | None = None
) -> tuple[Source, str]:
    """Open a stream by its magic.

    Args:
        source: compressed or plain bytes.
        progress: told how many bytes of `source` were used so far.

    Returns:
        A reader of the plain bytes, and the name of the compression.
    """
    first = b""
    while len(first) < 6 and (more := source.read(6 - len(first))):
        first += more
    kind = sniff(first)
    raw = io.BufferedReader(_Peeked(first, source, progress), 256 * 1024)
    if kind == "gzip":
        return igzip.GzipFile(fileobj=raw, mode="rb"), kind  # type: ignore[no-untyped-call]
    if kind == "zstd":
        return zstd.ZstdFile(raw), kind
    if kind == "bzip2":
        return bz2.BZ2File(raw), kind
    if kind == "xz":
        return lzma.LZMAFile(raw), kind
    return raw, kind


class ReadAhead:
    """Reads, decompresses and hashes in a thread of its own, which ends with the `with` block.

    Attributes:
        count: plain bytes handed out so far.
        compression: name of the compression found.
    """

    def __init__(self, source: Source, progress: Callable[[int], None] | None = None) -> None:
        self._source, self._progress = source, progress
        self._chunks: queue.Queue[bytes | BaseException] = queue.Queue(_AHEAD)
        self._hash = hashlib.sha256()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="read ahead", daemon=True)
        self._buffer = b""
        self._position = 0
        self._ended = False
        self.count = 0
        self.compression = ""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        while self._thread.is_alive():
            try:
                self._chunks.get_nowait()
            except queue.Empty:
                self._thread.join(0.01)

    @property
    def digest(self) -> str:
        """The digest of the plain bytes; whole once the end was read."""
        return "sha256:" + self._hash.hexdigest()

    def _run(self) -> None:
        try:
            stream, self.compression = decompressed(self._source, self._progress)
            while not self._stop.is_set():
                chunk = stream.read(CHUNK)
                self._hash.update(chunk)
                self._chunks.put(chunk)
                if not chunk:
                    return
        except BaseException as error:  # noqa: BLE001 - it is raised in the reading thread
            self._chunks.put(error)

    def _fill(self) -> bool:
        if self._ended:
            return False
        chunk = self._chunks.get()
        if isinstance(chunk, BaseException):
            self._ended = True
            if isinstance(chunk, _BROKEN):
                raise InvalidRequest(f"invalid compressed data: {chunk}") from chunk
            raise chunk
        self._buffer, self._position = chunk, 0
        self._ended = not chunk
        return bool(chunk)

    def read(self, size: int) -> bytes:
        """Return exactly `size` bytes, or fewer at the end."""
        end = self._position + size
        if end <= len(self._buffer):
            data = self._buffer[self._position : end]
            self._position = end
            self.count += size
            return data
        parts = [self._buffer[self._position :]]
        missing = size - len(parts[0])
        self._position = len(self._buffer)
        while missing and self._fill():
            part = self._buffer[:missing]
            self._position = len(part)
            missing -= len(part)
            parts.append(part)
        self.count += size - missing
        return b"".join(parts)

    def pieces(self, size: int) -> Iterable[memoryview]:
        """Hand out the next `size` bytes without copying; fewer when the stream ends early."""
        end = self._position + size
        if end <= len(self._buffer):
            piece = memoryview(self._buffer)[self._position : end]
            self._position = end
            self.count += size
            return (piece,) if size else ()
        return self._pieces(size)

    def _pieces(self, size: int) -> Iterator[memoryview]:
        while size:
            if self._position == len(self._buffer) and not self._fill():
                return
            piece = memoryview(self._buffer)[self._position : self._position + size]
            self._position += len(piece)
            self.count += len(piece)
            size -= len(piece)
            yield piece


class IterableSource:
    """Lets an iterator of bytes be read."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._rest = b""

    def read(self, size: int = -1, /) -> bytes:
        """Return up to `size` bytes."""
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return b""
            self._rest = chunk
        if size < 0 or size >= len(self._rest):
            data, self._rest = self._rest, b""
            return data
        data, self._rest = self._rest[:size], self._rest[size:]
        return data


def compress(chunks: Iterable[bytes], kind: str, level: int | None = None) -> Iterator[bytes]:
    """Compress a stream as "gzip" or "zstd"; the same bytes for the same input and version."""
    if kind == "gzip":
        from isal import isal_zlib  # noqa: PLC0415 - only pushes compress

        packer = isal_zlib.compressobj(2 if level is None else level, wbits=31)
    else:
        packer = zstd.ZstdCompressor(3 if level is None else level)
    for chunk in chunks:
        if packed := packer.compress(chunk):
            yield packed
    yield packer.flush()
