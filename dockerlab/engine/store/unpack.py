"""Unpacks one layer archive into its folder: `fs/` as overlayfs wants it, and the index.

Knows:   whiteouts in either order, opaque directories, payloads that later entries replace.
Refuses: to look at other layers; what a layer borrows from below, `borrow.py` fills in.
Source:  OCI image-spec layer.md; Linux filesystems/overlayfs.rst.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from dockerlab.engine.store.layer_index import IndexWriter
from dockerlab.engine.store.stack import is_whiteout
from dockerlab.engine.store.streams import ReadAhead
from dockerlab.engine.store.tree import Tree, join
from dockerlab.errors import InvalidRequest
from dockerlab.oci import layer_tar
from dockerlab.oci.changes import Marker, marker_of
from dockerlab.oci.layer_tar import Entry


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one layer may ask for; far above what real ones need."""

    entries: int = 2_000_000
    tar_bytes: int = 1 << 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What was found in an archive."""

    entries: int
    size: int
    tar_size: int
    diff_id: str
    root: tuple[int, int, int] | None = None


class LayerTree(Tree):
    """The `fs/` of one layer, and what is still open about it.

    Attributes:
        missing_links: hard links whose target this layer does not have, by their real path.
        whiteouts: real paths that are marked as deleted.
        opaque: real paths of directories that let nothing from below show.
    """

    def __init__(self, folder: Path, opaque_xattr: str) -> None:
        self._folder = folder
        (folder / "fs").mkdir(mode=0o755)
        super().__init__(os.open(folder / "fs", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        self.missing_links: dict[bytes, Entry] = {}
        self.whiteouts: set[bytes] = set()
        self.opaque: set[bytes] = set()
        self.index = IndexWriter(folder)
        self.tail = b""
        self._opaque_xattr = opaque_xattr
        self._places: dict[bytes, int] = {}

    def close(self) -> None:
        """Let go of every descriptor."""
        super().close()
        self.index.close()
        os.close(self.root)

    def take(self, entry: Entry, raw: bytes, content: ReadAhead) -> None:
        """Write one entry of the archive and note it in the index."""
        marker, name = marker_of(entry.name)
        if marker is not Marker.NONE:
            self._mark(marker, name)
            self.index.add(entry, raw, self._keep(entry, content))
            return
        if entry.kind == layer_tar.HARDLINK:
            self._link(entry)
            self.index.add(entry, raw)
            return
        path = self.put(entry, content)
        self.missing_links.pop(path, None)
        number = self.index.add(entry, raw, b"fs/" + path if entry.payload else b"")
        if entry.payload:
            self._places[path] = number

    def _keep(self, entry: Entry, content: ReadAhead) -> bytes:
        """Store the payload of something that is no file of the tree."""
        if not entry.payload:
            return b""
        kept = self._kept_name()
        with (self._folder / os.fsdecode(kept)).open("xb") as file:
            if entry.pieces is not None:
                file.truncate(entry.size)
            for offset, length in entry.pieces or ((0, entry.payload),):
                file.seek(offset)
                for piece in content.pieces(length):
                    file.write(piece)
        return kept

    def _kept_name(self) -> bytes:
        (self._folder / "kept").mkdir(mode=0o700, exist_ok=True)
        return b"kept/%d" % len(self.index.records)

    def _link(self, entry: Entry) -> None:
        """Make a hard link, now if its target is here, else when the layers below are known."""
        folder, _, base = entry.name.rpartition(b"/")
        real = self.directory(folder)[1]
        path = join(real, base)
        if path == entry.target:
            raise InvalidRequest(f"invalid hardlink target: {entry.path} is its own target")
        if self.is_here(entry.target):
            self.missing_links.pop(path, None)
            self.put(entry, _NOTHING)
        else:
            self.missing_links[path] = entry

    def is_here(self, target: bytes) -> bool:
        """Tell whether this layer itself has something at a path."""
        folder, _, base = target.rpartition(b"/")
        try:
            descriptor = self.directory(folder, create=False)[0]
            return not is_whiteout(os.lstat(base, dir_fd=descriptor))
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR):
                return False
            raise

    # Whiteouts

    def _mark(self, marker: Marker, name: bytes) -> None:
        if marker is Marker.OPAQUE:
            self.opaque.add(self.directory(name)[1])
        elif marker is Marker.WHITEOUT:
            folder, _, base = name.rpartition(b"/")
            descriptor, real = self.directory(folder)
            path = join(real, base)
            try:
                os.mknod(base, stat.S_IFCHR | 0o600, 0, dir_fd=descriptor)
                self.whiteouts.add(path)
            except FileExistsError:
                # Never hides this layer's own entry; a directory loses what is below it.
                if stat.S_ISDIR(os.lstat(base, dir_fd=descriptor).st_mode):
                    self.opaque.add(path)

    def gives_way(self, path: bytes, status: os.stat_result) -> bool:
        """Let a directory appear where this layer said "deleted"."""
        del status
        return path in self.whiteouts

    def clear(self, parent: int, base: bytes, path: bytes) -> None:
        """Replace; a directory over its own whiteout is an opaque directory."""
        hidden = path in self.whiteouts
        super().clear(parent, base, path)
        self.opaque.discard(path)
        for below in _at_or_below(self.missing_links, path + b"/"):
            del self.missing_links[below]
        if hidden:
            self.opaque.add(path)

    def unlink(self, parent: int, base: bytes, path: bytes) -> None:
        """Remove a name; the payload of an earlier entry is kept for the tar."""
        self.whiteouts.discard(path)
        number = self._places.pop(path, None)
        if number is None:
            super().unlink(parent, base, path)
            return
        record = self.index.records[number]
        (self._folder / "kept").mkdir(mode=0o700, exist_ok=True)
        record.place = b"kept/%d" % number
        os.rename(base, os.fsencode(self._folder) + b"/" + record.place, src_dir_fd=parent)

    def moved(self, before: bytes, after: bytes) -> None:
        """Note that what was at one real path is at another, with all below it."""
        for old in _at_or_below(self._places, before):
            number = self._places.pop(old)
            self._places[after + old[len(before) :]] = number
            self.index.records[number].place = b"fs/" + after + old[len(before) :]
        for paths in (self.implied, self.whiteouts, self.opaque):
            for old in _at_or_below(paths, before):
                paths.discard(old)
                paths.add(after + old[len(before) :])
        for old in _at_or_below(self.directories, before):
            self.directories[after + old[len(before) :]] = self.directories.pop(old)
        for old in _at_or_below(self.missing_links, before):
            self.missing_links[after + old[len(before) :]] = self.missing_links.pop(old)

    def drop_whiteout(self, path: bytes) -> None:
        """Unmake a whiteout that hides nothing."""
        folder, _, base = path.rpartition(b"/")
        self.whiteouts.discard(path)
        os.unlink(base, dir_fd=self.directory(folder, create=False)[0])

    def finish(self) -> None:
        """Mark opaque directories, dress all of them, write the index."""
        for path in self.opaque & (self.directories.keys() | self.implied):
            descriptor = self.open_listable(path)
            try:
                os.setxattr(descriptor, self._opaque_xattr, b"y")
            finally:
                os.close(descriptor)
        for path in self.implied - self.directories.keys():
            # Nobody says when; a clock would make equal layers differ.
            self.directories[path] = Entry(path, layer_tar.DIRECTORY, 0o755)
        if b"" not in self.directories:
            self.directories[b""] = Entry(b"", layer_tar.DIRECTORY, 0o755)
        super().finish()
        self.index.finish(self.tail)


def _at_or_below(paths: Iterable[bytes], path: bytes) -> list[bytes]:
    below = path if path.endswith(b"/") else path + b"/"
    return [p for p in paths if p == path or p.startswith(below)]


class _Nothing:
    def pieces(self, size: int) -> list[memoryview]:
        del size
        return []


_NOTHING = _Nothing()


def fill(tree: LayerTree, content: ReadAhead, limits: Limits) -> Figures:
    """Write every entry of an archive into the tree.

    Raises:
        InvalidRequest: naming the entry that may not be.
    """
    reader = layer_tar.Reader(content.read)
    size = count = 0
    while (entry := reader.next()) is not None:
        count += 1
        size += entry.size
        if count > limits.entries:
            raise InvalidRequest(f"layer has more than {limits.entries} entries")
        if content.count + entry.payload > limits.tar_bytes:
            raise InvalidRequest(f"layer is larger than {limits.tar_bytes} bytes")
        tree.take(entry, reader.raw, content)
    tree.tail = reader.tail
    root = tree.directories.get(b"")
    return Figures(
        entries=count,
        size=size,
        tar_size=content.count,
        diff_id=content.digest,
        root=(root.mode, root.uid, root.gid) if root else None,
    )
