"""The files that a client sends along with a build.

Knows:   unpacking the archive into a folder of the store's, the Dockerfile in it, and what
         `.dockerignore` leaves out; the digest of each file, taken while it is unpacked.
Refuses: names that climb out, and to open anything that is not a regular file.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from dockerlab.dockerfile.ignore import Ignore, parse_ignore
from dockerlab.dockerfile.lines import decode
from dockerlab.engine.build.sources import LIST, resolve
from dockerlab.engine.linux.inside import regular
from dockerlab.engine.store.streams import ReadAhead, Source
from dockerlab.engine.store.tree import Tree
from dockerlab.errors import Failed, InvalidRequest
from dockerlab.oci.layer_tar import FILE, HARDLINK, Entry, Reader

MAX_DOCKERFILE_BYTES = 16 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """An unpacked context.

    Attributes:
        folder: where it is; gone when the build ends.
        ignore: what was left out, for messages.
        digests: sha256 of files' content by name, as far as known.
    """

    folder: Path
    ignore: Ignore = field(default_factory=Ignore)
    digests: dict[bytes, str] = field(default_factory=dict)

    @contextmanager
    def root(self) -> Iterator[int]:
        """Open the folder."""
        descriptor = os.open(self.folder, LIST)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def discard(self) -> None:
        """Remove it from the disk."""
        shutil.rmtree(self.folder, ignore_errors=True)


def unpack(source: Source, folder: Path) -> Context:
    """Unpack a context archive, plain or compressed, into a folder that does not exist yet.

    Nothing remains when it fails.

    Raises:
        InvalidRequest: it is no archive, ends too early, or leads outside.
        Failed: the disk is full.
    """
    # Bound into steps, whoever they run as; the store above it is closed to others.
    folder.mkdir(mode=0o755, parents=True)
    context = Context(folder=folder)
    try:
        with context.root() as root, ReadAhead(source) as stream:
            _unpack(root, stream, context.digests)
    except BaseException:
        context.discard()
        raise
    return context


def read_dockerfile(context: Context, name: str) -> str:
    """Read the Dockerfile of a context.

    Raises:
        Failed: there is none (Docker's status for it, too).
        InvalidRequest: its name leads outside, or it is no file.
    """
    candidates = [name or "Dockerfile"]
    if candidates[0] == "Dockerfile":
        candidates.append("dockerfile")
    for candidate in candidates:
        data = _read(context, candidate)
        if data is not None:
            return decode(data)
    raise Failed(
        f"Cannot locate specified Dockerfile: {candidates[0]}",
        hint="Name it with -f, relative to the folder that is sent.",
    )


def without_ignored(context: Context) -> Context:
    """Apply the context's own `.dockerignore`: what it excludes is removed from the folder."""
    data = _read(context, ".dockerignore")
    if data is None:
        return context
    ignore = parse_ignore(decode(data))
    if ignore.patterns:
        with context.root() as root:
            _prune(root, "", ignore)
    return replace(context, ignore=ignore)


class _Hashed:
    """Passes content on, and hashes it."""

    def __init__(self, stream: ReadAhead) -> None:
        self._stream = stream
        self.hash = hashlib.sha256()

    def pieces(self, size: int) -> Iterator[memoryview]:
        for piece in self._stream.pieces(size):
            self.hash.update(piece)
            yield piece

    def read(self, size: int) -> bytes:
        data = self._stream.read(size)
        self.hash.update(data)
        return data


def _unpack(root: int, stream: ReadAhead, digests: dict[bytes, str]) -> None:
    tree = Tree(root)
    reader = Reader(stream.read)
    try:
        while (entry := reader.next()) is not None:
            content = _Hashed(stream)
            path = tree.put(entry, content)
            _remember(path, entry, content, digests)
        tree.finish()
    finally:
        tree.close()


def _remember(path: bytes, entry: Entry, content: _Hashed, digests: dict[bytes, str]) -> None:
    digests.pop(path, None)
    if entry.kind == FILE and entry.pieces is None:
        digests[path] = content.hash.hexdigest()
    elif entry.kind == HARDLINK and entry.target in digests:
        digests[path] = digests[entry.target]


def _read(context: Context, name: str) -> bytes | None:
    """Read a regular file by a name that may hold links; None when there is none."""
    path = _inside(name)
    with context.root() as root:
        tree = Tree(root)
        try:
            real = resolve(tree, path).path
            folder, _, base = real.rpartition(b"/")
            parent, _ = tree.directory(folder, create=False)
            node = os.open(base or b".", os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        except (OSError, InvalidRequest):
            return None
        finally:
            tree.close()
    descriptor = regular(node)
    if descriptor < 0:
        raise InvalidRequest(f"failed to read dockerfile: {name} is not a regular file")
    with os.fdopen(descriptor, "rb") as file:
        data = file.read(MAX_DOCKERFILE_BYTES + 1)
    if len(data) > MAX_DOCKERFILE_BYTES:
        raise InvalidRequest(
            f"failed to read dockerfile: {name} is larger than {MAX_DOCKERFILE_BYTES} bytes"
        )
    return data


def _inside(name: str) -> bytes:
    normal = os.path.normpath(name.lstrip("/"))
    if normal == ".." or normal.startswith("../") or "\0" in name:
        raise InvalidRequest(
            f"forbidden path outside the build context: {name} ()",
            hint="Only files below the folder that is sent can be used.",
        )
    return os.fsencode(normal)


def _prune(folder: int, prefix: str, ignore: Ignore) -> None:
    for name in os.listdir(folder):
        path = f"{prefix}{name}"
        is_folder = stat.S_ISDIR(os.lstat(name, dir_fd=folder).st_mode)
        excluded = ignore.excludes(path)
        if is_folder and (not excluded or ignore.may_include_below(path)):
            below = os.open(name, LIST, dir_fd=folder)
            try:
                _prune(below, f"{path}/", ignore)
                if excluded and not os.listdir(below):
                    os.rmdir(name, dir_fd=folder)
            finally:
                os.close(below)
        elif is_folder:
            shutil.rmtree(name, dir_fd=folder)
        elif excluded:
            os.unlink(name, dir_fd=folder)
