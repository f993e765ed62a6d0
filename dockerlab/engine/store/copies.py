"""Writable layers as plain directories, where the file system cannot carry an overlay.

Knows:   laying layers over each other by copying, and finding what a container changed since.
Refuses: to be chosen by hand; `snapshots.py` probes the file system.
Source:  moby graphdriver/vfs, for the idea.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress

from dockerlab.engine.store import pack
from dockerlab.engine.store.stack import Stack
from dockerlab.engine.store.tree import Tree, join
from dockerlab.oci import changes, layer_tar
from dockerlab.oci.changes import Change, Kind, Marker, marker_of
from dockerlab.oci.layer_tar import Entry

_LIST = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def lay(target: int, layers: Iterable[int]) -> None:
    """Copy layers (descriptors of their `fs`, bottom first) over each other into a directory."""
    tree = Tree(target)
    try:
        for layer in layers:
            for item in pack.Walk(layer, overlay=True).items():
                marker, name = marker_of(item.entry.name)
                if marker is Marker.WHITEOUT:
                    _remove(tree, name)
                elif marker is Marker.OPAQUE:
                    _empty(tree, name)
                else:
                    tree.put(item.entry, pack.Payload(item.chunks))
        tree.finish()
    finally:
        tree.close()


def _remove(tree: Tree, path: bytes) -> None:
    folder, _, base = path.rpartition(b"/")
    with suppress(FileNotFoundError):
        tree.clear(tree.directory(folder, create=False)[0], base, path)


def _empty(tree: Tree, path: bytes) -> None:
    descriptor = tree.open_listable(path)
    try:
        for name in os.listdir(descriptor):
            base = os.fsencode(name)
            tree.clear(descriptor, base, join(path, base))
    finally:
        os.close(descriptor)


def diff(root: int, stack: Stack) -> list[Change]:
    """List what differs between a tree and the layers it was copied from, sorted by path."""
    found = dict(_below(root, b"", stack))
    for path, kind in list(found.items()):
        parent = path.rpartition(b"/")[0]
        if kind is not Kind.MODIFIED and parent:
            found.setdefault(parent, Kind.MODIFIED)
    ordered = sorted(found.items(), key=lambda item: item[0].split(b"/"))
    return [Change("/" + os.fsdecode(path), kind) for path, kind in ordered]


def _below(folder: int, path: bytes, stack: Stack) -> Iterator[tuple[bytes, Kind]]:
    here = {os.fsencode(name) for name in os.listdir(folder)}
    for base in sorted(stack.children(path) - here):
        yield join(path, base), Kind.DELETED
    for base in sorted(here):
        where = join(path, base)
        status = os.lstat(base, dir_fd=folder)
        below = stack.exists(where)
        if below is None:
            yield where, Kind.ADDED
        elif not _same(status, below):
            yield where, Kind.MODIFIED
        if stat.S_ISDIR(status.st_mode):
            descriptor = os.open(base, _LIST, dir_fd=folder)
            try:
                yield from _below(descriptor, where, stack)
            finally:
                os.close(descriptor)


def _same(status: os.stat_result, below: os.stat_result) -> bool:
    if (status.st_mode, status.st_uid, status.st_gid) != (
        below.st_mode,
        below.st_uid,
        below.st_gid,
    ):
        return False
    if stat.S_ISDIR(status.st_mode):
        return True
    # Copies have whole seconds, as archives do.
    return (
        status.st_size == below.st_size
        and status.st_mtime_ns // 1_000_000_000 == below.st_mtime_ns // 1_000_000_000
    )


def changed_items(root: int, found: Iterable[Change]) -> Iterator[pack.Item]:
    """Make the layer archive of a diff: entries for what is there, whiteouts for what is gone."""
    kinds = {os.fsencode(change.path.lstrip("/")): change.kind for change in found}
    for path, kind in kinds.items():
        if kind is Kind.DELETED:
            yield pack.Item(Entry(changes.whiteout_name(path), layer_tar.FILE, 0o600))
    for item in pack.Walk(root).items():
        name = item.entry.name
        if name in kinds or (item.entry.target in kinds and item.entry.kind == layer_tar.HARDLINK):
            yield item
