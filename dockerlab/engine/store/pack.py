"""Makes tar streams: of a directory tree (export, commit), or of entries somebody thought up.

Knows:   a fixed order, one hard link per inode, whole seconds: equal trees give equal bytes.
Refuses: to follow links or open what is no regular file; sockets have no place in archives.
Source:  OCI image-spec layer.md; moby archive.go, which truncates times as well.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from dockerlab.engine.store.stack import is_opaque, is_whiteout
from dockerlab.engine.store.tree import join
from dockerlab.oci import changes, layer_tar, tar_writer
from dockerlab.oci.layer_tar import Entry

_READ = 1 << 20
_LOOK = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_READ_ONLY = os.O_RDONLY | os.O_CLOEXEC
_KINDS = {
    stat.S_IFREG: layer_tar.FILE,
    stat.S_IFDIR: layer_tar.DIRECTORY,
    stat.S_IFLNK: layer_tar.SYMLINK,
    stat.S_IFCHR: layer_tar.CHARACTER,
    stat.S_IFBLK: layer_tar.BLOCK_DEVICE,
    stat.S_IFIFO: layer_tar.FIFO,
}
_KEPT_XATTRS = ("security.capability", "user.")


@dataclass(frozen=True, slots=True)
class Item:
    """An entry and its payload; `place` is its path in the tree walked."""

    entry: Entry
    chunks: Iterable[bytes] = ()
    place: bytes = b""


def stream(items: Iterable[Item]) -> Iterator[bytes]:
    """Write items as a tar."""
    for item in items:
        yield tar_writer.header(item.entry)
        yield from exactly(item.chunks, item.entry.size)
        yield tar_writer.padding(item.entry.size)
    yield tar_writer.END


def exactly(chunks: Iterable[bytes], size: int) -> Iterator[bytes]:
    """Cut or fill a payload to the size in its header: a file may change while it is read."""
    for chunk in chunks:
        if len(chunk) >= size:
            if size:
                yield chunk[:size]
            return
        size -= len(chunk)
        yield chunk
    while size:
        yield bytes(min(size, _READ))
        size -= min(size, _READ)


class Payload:
    """The chunks of an item as content for a `Tree`."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = chunks

    def pieces(self, size: int) -> Iterator[memoryview]:
        """Give out exactly the size that the entry promises."""
        for chunk in exactly(self._chunks, size):
            yield memoryview(chunk)


class Walk:
    """Walks a directory tree in a fixed order."""

    def __init__(self, root: int, *, overlay: bool = False, with_root: bool = False) -> None:
        """Take a descriptor (O_RDONLY) of the root; it stays the caller's.

        Args:
            root: where to start.
            overlay: it is the upper directory of an overlay: whiteouts become `.wh.` names.
            with_root: an entry for the root itself comes first.
        """
        self._root, self._overlay, self._with_root = root, overlay, with_root
        self._inodes: dict[tuple[int, int], bytes] = {}

    def items(self) -> Iterator[Item]:
        """Yield every entry; payloads must be read before the next item is asked for."""
        if self._with_root:
            yield Item(self._directory_entry(b"", os.fstat(self._root), self._root))
        yield from self._below(self._root, b"")

    def one(self, folder: int, base: bytes) -> Iterator[Item]:
        """Yield the entry of a single name, and what is below it."""
        yield from self._item(folder, base, base, os.lstat(base, dir_fd=folder))

    def _below(self, folder: int, path: bytes) -> Iterator[Item]:
        for name in sorted(os.fsencode(name) for name in os.listdir(folder)):
            try:
                status = os.lstat(name, dir_fd=folder)
            except FileNotFoundError:
                continue
            yield from self._item(folder, name, join(path, name), status)

    def _item(
        self, folder: int, base: bytes, path: bytes, status: os.stat_result
    ) -> Iterator[Item]:
        kind = _KINDS.get(stat.S_IFMT(status.st_mode))
        if kind is None:
            return
        if kind == layer_tar.DIRECTORY:
            with _opened(base, folder, stat.S_ISDIR) as descriptor:
                if descriptor < 0:
                    return
                yield Item(self._directory_entry(path, status, descriptor))
                if self._overlay and is_opaque(descriptor):
                    yield Item(_mark(changes.opaque_name(path), status))
                yield from self._below(descriptor, path)
        elif self._overlay and is_whiteout(status):
            yield Item(_mark(changes.whiteout_name(path), status))
        elif (first := self._first_name(path, status)) is not None:
            yield Item(_entry(path, layer_tar.HARDLINK, status, target=first))
        elif kind == layer_tar.FILE:
            with _opened(base, folder, stat.S_ISREG) as descriptor:
                if descriptor < 0:
                    return
                status = os.fstat(descriptor)
                entry = _entry(path, kind, status, xattrs=_xattrs(descriptor))
                yield Item(entry, _content(descriptor, status.st_size), path)
        else:
            target = os.readlink(base, dir_fd=folder) if kind == layer_tar.SYMLINK else b""
            yield Item(_entry(path, kind, status, target=target))

    def _directory_entry(self, path: bytes, status: os.stat_result, descriptor: int) -> Entry:
        return _entry(path, layer_tar.DIRECTORY, status, xattrs=_xattrs(descriptor))

    def _first_name(self, path: bytes, status: os.stat_result) -> bytes | None:
        if status.st_nlink < 2:
            return None
        first = self._inodes.setdefault((status.st_dev, status.st_ino), path)
        return None if first == path else first


@contextmanager
def _opened(base: bytes, folder: int, is_kind: Callable[[int], bool]) -> Iterator[int]:
    """Open by a name that a running container may give to something else meanwhile.

    -1 says that it did: opening a device or a pipe would do more than to look at it.
    """
    try:
        node = os.open(base, _LOOK, dir_fd=folder)
    except FileNotFoundError:
        yield -1
        return
    try:
        descriptor = os.open(f"/proc/self/fd/{node}", _READ_ONLY) if _is(node, is_kind) else -1
    finally:
        os.close(node)
    try:
        yield descriptor
    finally:
        if descriptor >= 0:
            os.close(descriptor)


def _is(node: int, is_kind: Callable[[int], bool]) -> bool:
    return is_kind(os.fstat(node).st_mode)


def _content(descriptor: int, size: int) -> Iterator[bytes]:
    while size > 0 and (chunk := os.read(descriptor, min(size, _READ))):
        size -= len(chunk)
        yield chunk


def _entry(
    name: bytes,
    kind: str,
    status: os.stat_result,
    *,
    target: bytes = b"",
    xattrs: dict[bytes, bytes] | None = None,
) -> Entry:
    size = status.st_size if kind == layer_tar.FILE else 0
    device = (0, 0)
    if kind in (layer_tar.CHARACTER, layer_tar.BLOCK_DEVICE):
        device = (os.major(status.st_rdev), os.minor(status.st_rdev))
    return Entry(
        name,
        kind,
        status.st_mode & 0o7777,
        size=size,
        payload=size,
        uid=status.st_uid,
        gid=status.st_gid,
        mtime_ns=max(0, status.st_mtime_ns // 1_000_000_000 * 1_000_000_000),
        target=target,
        device=device,
        xattrs=xattrs or {},
    )


def _mark(name: bytes, status: os.stat_result) -> Entry:
    """Make the entry of a whiteout; its time is that of the deletion."""
    mtime_ns = max(0, status.st_mtime_ns // 1_000_000_000 * 1_000_000_000)
    return Entry(name, layer_tar.FILE, 0o600, mtime_ns=mtime_ns)


def _xattrs(descriptor: int) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    try:
        for name in sorted(os.listxattr(descriptor)):
            if name.startswith(_KEPT_XATTRS) and ".overlay." not in name:
                found[os.fsencode(name)] = os.getxattr(descriptor, name)
    except OSError:
        return found
    return found
