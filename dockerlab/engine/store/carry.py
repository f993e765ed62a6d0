"""A part of a tree becomes a tar and a tar a part of a tree: the two directions of `docker cp`.

Knows:   Docker's rules for trailing "/" and "/.", rebased names, what may replace what.
Refuses: to leave the tree, whatever its links, the archive or a program in it are up to.
Source:  moby daemon/archive_unix.go; go-archive copy.go, archive.go (Unpack).
"""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec

from dockerlab.engine.linux.inside import open_inside, real_path
from dockerlab.engine.model.path_stat import PathStat
from dockerlab.engine.store import pack
from dockerlab.engine.store.streams import ReadAhead, Source
from dockerlab.engine.store.tree import Tree, join
from dockerlab.errors import Failed, InvalidRequest
from dockerlab.oci import layer_tar
from dockerlab.oci.layer_tar import Entry
from dockerlab.oci.tar_fields import shown

_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_LIST = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def absolute(path: str) -> str:
    """Clean a path as the user wrote it; a trailing "/" or "/." keeps its meaning."""
    cleaned = "/" + posixpath.normpath(f"/{path}").lstrip("/")
    last = path.rpartition("/")[2]
    if last == "." or not path:
        return f"{cleaned.rstrip('/')}/."
    return cleaned if last or cleaned == "/" else f"{cleaned}/"


def look(root: int, path: str) -> PathStat:
    """Look at a path of the tree; a link is looked at itself unless the path ends in "/".

    Raises:
        FileNotFoundError: it is not there. Failed: a part of it is no directory.
    """
    wanted = absolute(path)
    with _parent(root, wanted) as (parent, base):
        status = os.lstat(base or ".", dir_fd=parent)
    return PathStat(
        name=base or posixpath.basename(wanted.rstrip("/")) or "/",
        size=status.st_size,
        mode=status.st_mode,
        mtime_ns=status.st_mtime_ns,
        link_target=real_path(root, wanted) if stat.S_ISLNK(status.st_mode) else "",
    )


def tar(root: int, path: str) -> Iterator[bytes]:
    """Give what is at a path as a tar whose names begin with the path's last part."""
    wanted = absolute(path)
    with _parent(root, wanted) as (parent, base):
        status = os.lstat(base or ".", dir_fd=parent)
        name = os.fsencode(base or posixpath.basename(wanted.rstrip("/")))
        if stat.S_ISDIR(status.st_mode):
            folder = os.open(base or ".", _LIST | os.O_NOFOLLOW, dir_fd=parent)
            try:
                yield from pack.stream(_rebased(pack.Walk(folder, with_root=True), name))
            finally:
                os.close(folder)
        else:
            # Only a directory answers to "" and ".", so this has a name.
            yield from pack.stream(pack.Walk(parent).one(parent, name))


def check_landing(root: int, path: str) -> str:
    """Say where an archive for `path` would be unpacked, links followed.

    Raises:
        FileNotFoundError: nowhere. InvalidRequest: it is no directory.
    """
    wanted = absolute(path)
    try:
        found = open_inside(root, wanted, os.O_PATH)
        try:
            is_directory = stat.S_ISDIR(os.fstat(found).st_mode)
        finally:
            os.close(found)
    except NotADirectoryError:
        is_directory = False
    if not is_directory:
        raise InvalidRequest("extraction point is not a directory")
    return real_path(root, wanted)


def untar(
    root: int,
    landing: str,
    source: Source,
    *,
    owner: tuple[int, int] | None = None,
    keep_kinds: bool = False,
) -> None:
    """Unpack an archive, compressed or not, into a directory of the tree.

    Args:
        root: of the tree; what links in it mean is decided from here.
        landing: as `check_landing` found it.
        source: the archive.
        owner: of everything, in place of what the archive says.
        keep_kinds: a directory is never replaced by a file, nor the other way round.

    Raises:
        InvalidRequest: the archive is broken, or asks for what may not be.
        Failed: the disk is full, or the place is read-only.
    """
    target = _Landing(root, os.fsencode(landing), owner=owner, keep_kinds=keep_kinds)
    try:
        with ReadAhead(source) as content:
            reader = layer_tar.Reader(content.read)
            while (entry := reader.next()) is not None:
                target.take(entry, content)
            target.finish()
    finally:
        target.close()


class _Landing(Tree):
    """The tree of a container, written to below one of its directories."""

    def __init__(
        self, root: int, landing: bytes, *, owner: tuple[int, int] | None, keep_kinds: bool
    ) -> None:
        super().__init__(root, owner=owner)
        self._landing, self._keep_kinds = landing, keep_kinds
        self._is_directory = False

    def take(self, entry: Entry, content: ReadAhead) -> None:
        """Write one entry; one for the landing place itself says nothing new."""
        if not entry.name:
            for _ in content.pieces(entry.payload):
                pass
            return
        self._is_directory = entry.kind == layer_tar.DIRECTORY
        here = self._landing.strip(b"/")
        name = join(here, entry.name)
        target = entry.target
        if entry.kind == layer_tar.HARDLINK:
            target = join(here, target)
        elif entry.kind == layer_tar.SYMLINK:
            self._check_link(name, target)
        self.put(msgspec.structs.replace(entry, name=name, target=target), content)

    def _check_link(self, name: bytes, target: bytes) -> None:
        """Refuse a link out of the landing place, as Docker does, though nobody would follow it."""
        leads_to = posixpath.normpath(b"/" + posixpath.dirname(name) + b"/" + target)
        leads_to = b"/" + leads_to.lstrip(b"/")
        if not leads_to.startswith(self._landing):
            raise InvalidRequest(f"invalid symlink {shown(b'/' + name)} -> {shown(target)}")

    def clear(self, parent: int, base: bytes, path: bytes) -> None:
        """Replace what is there, unless it is of the other kind and that was forbidden."""
        if self._keep_kinds:
            is_directory = stat.S_ISDIR(os.lstat(base, dir_fd=parent).st_mode)
            if is_directory != self._is_directory:
                there, comes = ("directory", "non-directory")[:: 1 if is_directory else -1]
                raise InvalidRequest(
                    f"cannot overwrite {there} {shown(b'/' + path)} with {comes} "
                    f"{shown(self._landing)}"
                )
        super().clear(parent, base, path)


@contextmanager
def _parent(root: int, wanted: str) -> Iterator[tuple[int, str]]:
    """Open the directory above; the last part is "" or "." where the path's end is followed."""
    folder, _, base = wanted.rpartition("/")
    try:
        parent = open_inside(root, f"{folder}/", _FOLDER)
    except NotADirectoryError:
        raise Failed(f"lstat {wanted}: not a directory") from None
    try:
        yield parent, base
    finally:
        os.close(parent)


def _rebased(walk: pack.Walk, top: bytes) -> Iterator[pack.Item]:
    """Put the names of a walk below another; b"" gives the absolute names that "/" has."""
    rename = _renaming(top)
    for item in walk.items():
        entry = item.entry
        target = rename(entry.target) if entry.kind == layer_tar.HARDLINK else entry.target
        named = msgspec.structs.replace(entry, name=rename(entry.name), target=target)
        yield pack.Item(named, item.chunks, item.place)


def _renaming(top: bytes) -> Callable[[bytes], bytes]:
    def rename(name: bytes) -> bytes:
        return top + b"/" + name if name or not top else top

    return rename
