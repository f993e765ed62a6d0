"""What a layer borrows from those below it, filled in so that its directory stands alone.

Knows:   implied directories take mode, owner and attributes from below; content below a linked
         parent goes where the link leads; hard link targets of lower layers are copied up.
Refuses: the archive; it was read already.
Source:  OCI image-spec layer.md. Docker's overlay2 does none of this, and loses /tmp's 1777.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from dockerlab.engine.store.stack import Seen, Stack
from dockerlab.engine.store.tree import join
from dockerlab.engine.store.unpack import LayerTree
from dockerlab.errors import InvalidRequest
from dockerlab.oci import layer_tar
from dockerlab.oci.layer_tar import Entry
from dockerlab.oci.tar_fields import bad, shown

_READ = 1 << 20
_MAX_LINKS = 40


class _FileContent:
    """The bytes of an open file as a payload."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def pieces(self, size: int) -> Iterator[memoryview]:
        while size and (data := os.read(self._descriptor, min(size, _READ))):
            size -= len(data)
            yield memoryview(data)


def needs_parents(tree: LayerTree) -> bool:
    """Tell whether a freshly read layer is not self-contained."""
    return bool(tree.implied or tree.missing_links or b"" in tree.opaque)


def fill_in(tree: LayerTree, stack: Stack) -> None:
    """Complete a layer from what is below it.

    Raises:
        InvalidRequest: a hard link leads nowhere, or links lead in circles.
    """
    if b"" in tree.opaque:
        _hide_root(tree, stack)
    _settle_all(tree, stack)
    for path, entry in list(tree.missing_links.items()):
        _copy_up_and_link(tree, stack, path, entry)
    tree.missing_links.clear()


def entry_of(name: bytes, seen: Seen) -> Entry:
    """Describe a file or directory of a lower layer as an entry."""
    status = seen.status
    kind = layer_tar.DIRECTORY if stat.S_ISDIR(status.st_mode) else layer_tar.FILE
    size = 0 if kind == layer_tar.DIRECTORY else status.st_size
    return Entry(
        name,
        kind,
        status.st_mode & 0o7777,
        size=size,
        payload=size,
        uid=status.st_uid,
        gid=status.st_gid,
        mtime_ns=status.st_mtime_ns,
        xattrs=_xattrs(seen),
    )


def _xattrs(seen: Seen) -> dict[bytes, bytes]:
    descriptor = os.open(
        seen.base, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=seen.folder
    )
    try:
        names = [name for name in os.listxattr(descriptor) if ".overlay." not in name]
        return {os.fsencode(name): os.getxattr(descriptor, name) for name in names}
    except OSError:
        return {}
    finally:
        os.close(descriptor)


def _hidden(tree: LayerTree, path: bytes) -> bool:
    """Tell whether this layer lets nothing from below show at a path."""
    folder = path.rpartition(b"/")[0]
    while folder:
        if folder in tree.opaque:
            return True
        folder = folder.rpartition(b"/")[0]
    return b"" in tree.opaque


def _hide_root(tree: LayerTree, stack: Stack) -> None:
    """Hide all that is below: overlayfs does not look at the mark of a layer's root."""
    for base in stack.names():
        try:
            os.mknod(base, stat.S_IFCHR | 0o600, 0, dir_fd=tree.root)
            tree.whiteouts.add(base)
        except FileExistsError:
            if stat.S_ISDIR(os.lstat(base, dir_fd=tree.root).st_mode):
                tree.opaque.add(base)


def _settle(tree: LayerTree, stack: Stack, path: bytes) -> None:
    """Decide what an implied directory is: a copy of one below, or the way through a link."""
    if _hidden(tree, path) or path in tree.opaque:
        return
    with stack.look(path) as seen:
        if seen is None:
            return
        if stat.S_ISDIR(seen.status.st_mode):
            tree.directories[path] = entry_of(path, seen)
            tree.implied.discard(path)
            return
        if not stat.S_ISLNK(seen.status.st_mode):
            return
        target = os.readlink(seen.base, dir_fd=seen.folder)
    where = _resolve(tree, stack, path.rpartition(b"/")[0], target, [0])
    if where == path or where.startswith(path + b"/"):
        raise bad("too many levels of symbolic links", path)
    _move_content(tree, path, where)
    implied = where
    while implied and implied in tree.implied:
        _settle(tree, stack, implied)
        implied = implied.rpartition(b"/")[0]


def _resolve(tree: LayerTree, stack: Stack, where: bytes, target: bytes, links: list[int]) -> bytes:
    """Follow a link in the merged view of this layer over the stack, inside the root."""
    links[0] += 1
    if links[0] > _MAX_LINKS:
        raise bad("too many levels of symbolic links", target)
    where = b"" if target.startswith(b"/") else where
    for part in target.split(b"/"):
        if part in (b"", b"."):
            continue
        if part == b"..":
            where = where.rpartition(b"/")[0]
            continue
        following = join(where, part)
        link = _link_at(tree, stack, following)
        where = following if link is None else _resolve(tree, stack, where, link, links)
    return where


def _link_at(tree: LayerTree, stack: Stack, path: bytes) -> bytes | None:
    folder, _, base = path.rpartition(b"/")
    try:
        descriptor = tree.directory(folder, create=False)[0]
        status = os.lstat(base, dir_fd=descriptor)
        if stat.S_ISLNK(status.st_mode):
            return os.readlink(base, dir_fd=descriptor)
        if path not in tree.implied:
            return None
    except OSError:
        if _hidden(tree, path):
            return None
    except InvalidRequest:
        return None
    with stack.look(path) as seen:
        if seen is not None and stat.S_ISLNK(seen.status.st_mode):
            return os.readlink(seen.base, dir_fd=seen.folder)
    return None


def _move_content(tree: LayerTree, path: bytes, where: bytes) -> None:
    """Move everything below an implied directory to where the link in its place leads."""
    source = tree.open_listable(path)
    try:
        destination = tree.directory(where)[0]
        for child in sorted(os.listdir(source)):
            base = os.fsencode(child)
            _move(tree, source, join(path, base), destination, join(where, base))
    finally:
        os.close(source)
    folder, _, base = path.rpartition(b"/")
    tree.clear(tree.directory(folder, create=False)[0], base, path)


def _move(tree: LayerTree, source: int, old: bytes, destination: int, new: bytes) -> None:
    base = new.rpartition(b"/")[2]
    moving = os.lstat(base, dir_fd=source)
    try:
        there: os.stat_result | None = os.lstat(base, dir_fd=destination)
    except FileNotFoundError:
        there = None
    if there is not None and stat.S_ISDIR(there.st_mode) and stat.S_ISDIR(moving.st_mode):
        _move_content(tree, old, new)
        return
    if there is not None:
        tree.clear(destination, base, new)
    tree.forget(old)
    os.rename(base, base, src_dir_fd=source, dst_dir_fd=destination)
    tree.moved(old, new)


def _copy_up_and_link(tree: LayerTree, stack: Stack, path: bytes, entry: Entry) -> None:
    """Bring the target of a hard link up from below, then link."""
    folder, _, base = entry.target.rpartition(b"/")
    place = join(_resolve(tree, stack, b"", b"/" + folder, [0]), base)
    if not tree.is_here(place):
        with stack.look(place) as seen:
            if seen is None or not stat.S_ISREG(seen.status.st_mode) or _hidden(tree, place):
                raise InvalidRequest(
                    f"invalid hardlink target {shown(entry.target)} of {shown(entry.name)}"
                )
            descriptor = os.open(seen.base, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=seen.folder)
            try:
                copied = path if place in tree.whiteouts else place
                tree.put(entry_of(copied, seen), _FileContent(descriptor))
            finally:
                os.close(descriptor)
        _settle_all(tree, stack)
        if copied == path:
            return
    link = Entry(path, layer_tar.HARDLINK, entry.mode, target=place)
    tree.put(link, _FileContent(-1))


def _settle_all(tree: LayerTree, stack: Stack) -> None:
    for path in sorted(tree.implied):
        if path in tree.implied:
            _settle(tree, stack, path)
