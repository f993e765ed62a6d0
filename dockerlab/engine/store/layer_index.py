"""The index of a layer: every entry of its tar, its raw header blocks, and the tail.

Knows:   two files: `index` (entries, for views) and `headers` (raw blocks, for the tar itself).
Refuses: to interpret header blocks; they come back as they were, whoever wrote them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from dockerlab.engine.store.streams import zstd
from dockerlab.errors import Failed
from dockerlab.oci.layer_tar import Entry

_MAGIC = b"dockerlab-index-1\n"
_READ = 256 * 1024
_FLUSH = 256


class Record(msgspec.Struct, array_like=True, gc=False):
    """One entry, and where its payload is.

    Attributes:
        raw_bytes: length of the blocks before the payload in `headers`.
        place: the file that holds the payload, below the layer's folder ("fs/..." or "kept/N");
            b"" when there is no payload.
    """

    entry: Entry
    raw_bytes: int
    place: bytes = b""


class _Index(msgspec.Struct, array_like=True):
    records: list[Record]


class IndexWriter:
    """Writes the index of a layer while its entries come."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._headers = (folder / "headers").open("xb")
        self._packer = zstd.ZstdCompressor(1)
        self._waiting: list[bytes] = []
        self.records: list[Record] = []

    def add(self, entry: Entry, raw: bytes, place: bytes = b"") -> int:
        """Append an entry; return its number."""
        self._waiting.append(raw)
        if len(self._waiting) >= _FLUSH:
            self._flush()
        self.records.append(Record(entry, len(raw), place))
        return len(self.records) - 1

    def finish(self, tail: bytes) -> None:
        """Write what is left; `tail` is all that follows the last payload."""
        self._waiting.append(tail)
        self._flush()
        self._headers.write(self._packer.flush())
        self.close()
        with (self._folder / "index").open("xb") as file:
            file.write(_MAGIC)
            file.write(msgspec.msgpack.encode(_Index(self.records)))

    def _flush(self) -> None:
        self._headers.write(self._packer.compress(b"".join(self._waiting)))
        self._waiting.clear()

    def close(self) -> None:
        """Let go of the file; nothing more is written."""
        self._headers.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def load(folder: Path) -> list[Record]:
    """Read the entries of a layer, in the order of its tar.

    Raises:
        Failed: the index is not ours, or damaged.
    """
    data = (folder / "index").read_bytes()
    if not data.startswith(_MAGIC):
        raise Failed(f"the index of layer {folder.name} is damaged")
    try:
        index = msgspec.msgpack.decode(memoryview(data)[len(_MAGIC) :], type=_Index)
    except msgspec.MsgspecError as error:
        raise Failed(f"the index of layer {folder.name} is damaged") from error
    return index.records


def rebuild(folder: Path) -> Iterator[bytes]:
    """Give back the layer's uncompressed tar, byte for byte.

    Raises:
        Failed: a file of the layer is missing or was changed.
    """
    records = load(folder)
    root = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    try:
        with zstd.ZstdFile(folder / "headers") as headers:
            pending: list[bytes] = []
            for record in records:
                pending.append(headers.read(record.raw_bytes))
                if record.place:
                    yield b"".join(pending)
                    pending = []
                    yield from _payload(root, record)
                elif len(pending) >= _FLUSH:
                    yield b"".join(pending)
                    pending = []
            pending.append(headers.read())
            yield b"".join(pending)
    finally:
        os.close(root)


def _payload(root: int, record: Record) -> Iterator[bytes]:
    entry = record.entry
    try:
        descriptor = os.open(record.place, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=root)
    except OSError as error:
        raise Failed(f"layer file {record.entry.path} is missing: {error.strerror}") from error
    try:
        for offset, length in entry.pieces if entry.pieces is not None else ((0, entry.payload),):
            position, end = offset, offset + length
            while position < end:
                data = os.pread(descriptor, min(_READ, end - position), position)
                if not data:
                    raise Failed(f"layer file {entry.path} is shorter than it was")
                position += len(data)
                yield data
    finally:
        os.close(descriptor)
