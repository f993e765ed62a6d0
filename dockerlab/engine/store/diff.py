"""docker diff: what an upper directory says about the layers below it.

Knows:   added, modified, deleted; a directory that is there only for what is below it.
Refuses: to compare contents: what was copied up counts as modified, as it does for Docker.
Source:  go-archive changes_linux.go, overlayDeletedFile and changes.go.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from dockerlab.engine.store.stack import Stack, is_opaque, is_whiteout
from dockerlab.engine.store.tree import join
from dockerlab.oci.changes import Change, Kind

_LIST = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def changes(upper: int, stack: Stack) -> list[Change]:
    """List the changes of an upper directory (a descriptor), sorted by path."""
    found = dict(_below(upper, b"", stack, hidden=False))
    for path, kind in list(found.items()):
        parent = path.rpartition(b"/")[0]
        if kind is not Kind.MODIFIED and parent:
            found.setdefault(parent, Kind.MODIFIED)
    return [
        Change("/" + os.fsdecode(path), kind)
        for path, kind in sorted(found.items(), key=lambda item: item[0].split(b"/"))
    ]


def _below(folder: int, path: bytes, stack: Stack, *, hidden: bool) -> Iterator[tuple[bytes, Kind]]:
    for name in os.listdir(folder):
        base = os.fsencode(name)
        here = join(path, base)
        status = os.lstat(base, dir_fd=folder)
        below = None if hidden else stack.exists(here)
        if is_whiteout(status):
            if below is not None:
                yield here, Kind.DELETED
            continue
        if below is None:
            yield here, Kind.ADDED
        elif not _same_directory(status, below):
            yield here, Kind.MODIFIED
        if stat.S_ISDIR(status.st_mode):
            descriptor = os.open(base, _LIST, dir_fd=folder)
            try:
                opaque = is_opaque(descriptor)
                if opaque and below is not None and not hidden:
                    yield here, Kind.MODIFIED
                yield from _below(descriptor, here, stack, hidden=hidden or opaque)
            finally:
                os.close(descriptor)


def _same_directory(status: os.stat_result, below: os.stat_result) -> bool:
    return (
        stat.S_ISDIR(status.st_mode)
        and stat.S_ISDIR(below.st_mode)
        and status.st_mode == below.st_mode
        and (status.st_uid, status.st_gid) == (below.st_uid, below.st_gid)
        and status.st_mtime_ns == below.st_mtime_ns
    )
