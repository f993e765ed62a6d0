"""blobs/: bytes named by their digest, verified before the name exists.

Knows:   writing, resuming an interrupted download, one writer for one digest.
Refuses: to know what the bytes mean, or who still needs them; `check.py` asks the tables.
Source:  OCI image-layout.md "Blobs".
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from dockerlab.engine.store.durable import Durable
from dockerlab.errors import Failed, NotFound
from dockerlab.oci import digests

_CHUNK = 1 << 20


class BlobWriter:
    """A blob on its way in. Leaving the `with` block without `commit()` keeps the part.

    Attributes:
        resumed_bytes: how much was here already; ask the other side for what follows.
    """

    def __init__(self, blobs: Blobs, digest: str, size: int | None) -> None:
        self._blobs, self._digest, self._size = blobs, digest, size
        self._path = blobs.partial_path(digest)
        self._file = self._path.open("a+b")
        self._hash = digests.hasher(digest)
        self._count = 0
        self._done = False
        self._take_up()
        self.resumed_bytes = self._count

    def _take_up(self) -> None:
        """Hash what an earlier attempt left; too much of it cannot be right."""
        self._file.seek(0)
        while chunk := self._file.read(_CHUNK):
            self._hash.update(chunk)
            self._count += len(chunk)
        if self._size is not None and self._count > self._size:
            self.restart()

    @property
    def count(self) -> int:
        """Bytes held so far, the resumed ones included."""
        return self._count

    def restart(self) -> None:
        """Forget what is here: the other side begins from 0."""
        self._file.truncate(0)
        self._file.seek(0)
        self._hash = digests.hasher(self._digest)
        self._count = self.resumed_bytes = 0

    def write(self, data: bytes | memoryview) -> None:
        """Add bytes.

        Raises:
            Failed: more than was promised.
        """
        self._count += len(data)
        if self._size is not None and self._count > self._size:
            self.restart()
            raise Failed(
                f"filesystem layer verification failed for digest {self._digest}",
                hint=f"More than the promised {self._size} bytes came. Try again.",
            )
        self._hash.update(data)
        self._file.write(data)

    def commit(self) -> str:
        """Verify and give the bytes their name.

        Raises:
            Failed: digest or size is not the promised one; the part is dropped.
        """
        actual = f"{self._digest.partition(':')[0]}:{self._hash.hexdigest()}"
        if actual != self._digest or self._size not in {None, self._count}:
            count = self._count
            self.restart()
            self._path.unlink(missing_ok=True)
            raise Failed(
                f"filesystem layer verification failed for digest {self._digest}",
                hint=f"{count} bytes came, with the digest {actual}. Try again.",
            )
        self._file.flush()
        self._blobs.adopt(self._path, self._digest)
        self._done = True
        return self._digest

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()
        if not self._done and self._path.exists() and self._path.stat().st_size == 0:
            self._path.unlink(missing_ok=True)
        self._blobs.release(self._digest)


class Blobs:
    """The folder `blobs/` with its `partial/` and `tmp/`."""

    def __init__(self, root: Path, durable: Durable | None = None) -> None:
        self._durable = durable
        self._root = root / "blobs"
        self._partial = root / "partial"
        self._tmp = root / "tmp"
        for folder in (self._root, self._root / "sha256", self._partial, self._tmp):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = threading.Condition()
        self._writing: set[str] = set()

    def path(self, digest: str) -> Path:
        """Return where a blob is or would be."""
        algorithm, _, digits = digests.parse(digest).partition(":")
        return self._root / algorithm / digits

    def partial_path(self, digest: str) -> Path:
        """Return where an unfinished download of it is kept."""
        return self._partial / digests.parse(digest).replace(":", "-")

    def has(self, digest: str) -> bool:
        """Tell whether the whole blob is here."""
        return self.path(digest).is_file()

    def size(self, digest: str) -> int:
        """Return its size in bytes.

        Raises:
            NotFound: it is not here.
        """
        try:
            return self.path(digest).stat().st_size
        except FileNotFoundError as error:
            raise NotFound(f"blob {digest} not found") from error

    def open(self, digest: str) -> BinaryIO:
        """Open it for reading.

        Raises:
            NotFound: it is not here.
        """
        try:
            return self.path(digest).open("rb", buffering=0)
        except FileNotFoundError as error:
            raise NotFound(f"blob {digest} not found") from error

    def read(self, digest: str) -> bytes:
        """Return all of a small blob: a manifest, a configuration."""
        with self.open(digest) as file:
            return file.read()

    def add_bytes(self, data: bytes) -> str:
        """Keep a small document; return its digest."""
        digest = digests.of(data)
        if not self.has(digest):
            with self.spool() as spool:
                spool.write(data)
                spool.keep()
        return digest

    @contextmanager
    def writer(self, digest: str, size: int | None = None) -> Iterator[BlobWriter]:
        """Write the blob named `digest`, going on where an interrupted attempt ended.

        A second writer of the same digest waits for the first; ask `has()` again inside.
        """
        digest = digests.parse(digest)
        with self._lock:
            self._lock.wait_for(lambda: digest not in self._writing)
            self._writing.add(digest)
        try:
            writer = BlobWriter(self, digest, size)
        except BaseException:
            self.release(digest)
            raise
        with writer:
            yield writer

    @contextmanager
    def spool(self) -> Iterator[Spool]:
        """Write bytes whose digest is not known yet; they vanish unless kept."""
        spool = Spool(self, self._tmp)
        try:
            yield spool
        finally:
            spool.discard()

    def adopt(self, path: Path, digest: str) -> None:
        """Move a finished, verified file to its name."""
        target = self.path(digest)
        target.parent.mkdir(mode=0o700, exist_ok=True)
        if self._durable is not None:
            self._durable.note(f"blob:{digest}")
        path.rename(target)

    def release(self, digest: str) -> None:
        """Let the next writer of a digest begin."""
        with self._lock:
            self._writing.discard(digest)
            self._lock.notify_all()

    def remove(self, digest: str) -> int:
        """Remove a blob that nobody needs any more; return the bytes freed."""
        path = self.path(digest)
        try:
            freed = path.stat().st_size
            path.unlink()
        except FileNotFoundError:
            return 0
        return freed

    def partials(self) -> Iterator[Path]:
        """Name every unfinished download."""
        yield from self._partial.iterdir()

    def list(self) -> Iterator[str]:
        """Name every blob here."""
        for folder in self._root.iterdir():
            for file in folder.iterdir():
                digest = f"{folder.name}:{file.name}"
                if digests.is_digest(digest):
                    yield digest


class Spool:
    """Bytes under tmp/, hashed while they come."""

    def __init__(self, blobs: Blobs, folder: Path) -> None:
        self._blobs = blobs
        descriptor, name = tempfile.mkstemp(dir=folder, prefix="blob-")
        self.path = Path(name)
        self._file = os.fdopen(descriptor, "w+b", buffering=0)
        self._hash = digests.hasher()
        self.size = 0

    @property
    def digest(self) -> str:
        """The digest of what came so far."""
        return "sha256:" + self._hash.hexdigest()

    def write(self, data: bytes | memoryview) -> None:
        """Add bytes."""
        self._hash.update(data)
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]
        self.size += len(data)

    def close(self) -> None:
        """All is written; an archive may have thousands of files, and a process few descriptors."""
        self._file.close()

    def keep(self) -> str:
        """Make it a blob; return its digest."""
        digest = self.digest
        self._blobs.adopt(self.path, digest)
        return digest

    def discard(self) -> None:
        """Close; remove what was not kept."""
        self.close()
        self.path.unlink(missing_ok=True)
