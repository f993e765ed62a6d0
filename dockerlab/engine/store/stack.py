"""What shows through a stack of layers at a path, without mounting anything.

Knows:   overlayfs' rules: whiteouts, opaque directories, what hides what.
Refuses: to write; links are answered, not followed.
Source:  Linux filesystems/overlayfs.rst.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass

OPAQUE_XATTRS = ("trusted.overlay.opaque", "user.overlay.opaque")
_WALK = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Seen:
    """The thing at a path: `folder` (a descriptor, borrowed) and `base` open it."""

    status: os.stat_result
    folder: int
    base: bytes


def is_whiteout(status: os.stat_result) -> bool:
    """Tell whether this is how overlayfs says "deleted"."""
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def is_opaque(descriptor: int) -> bool:
    """Tell whether nothing from below shows in an open directory."""
    for name in OPAQUE_XATTRS:
        with suppress(OSError):
            if os.getxattr(descriptor, name) == b"y":
                return True
    return False


class Stack:
    """Open layer directories, topmost first."""

    def __init__(self, roots: Sequence[int]) -> None:
        """Take descriptors (O_RDONLY) of the layers' `fs`; they stay the caller's."""
        self._roots = list(roots)

    @contextmanager
    def look(self, path: bytes) -> Iterator[Seen | None]:
        """Find what shows at a path (no link on the way is followed); None when nothing does."""
        with ExitStack() as opened:
            yield self._look(path, opened)

    def exists(self, path: bytes) -> os.stat_result | None:
        """Return the status of what shows at a path."""
        with self.look(path) as seen:
            return seen.status if seen else None

    def children(self, path: bytes) -> set[bytes]:
        """List the names that show in a directory; nothing when there is none."""
        with ExitStack() as opened:
            here = self._roots
            for part in path.split(b"/") if path else ():
                here = self._below(here, part, opened)
            shown: dict[bytes, bool] = {}
            for folder in here:
                for name in os.listdir(folder):
                    base = os.fsencode(name)
                    if base not in shown:
                        shown[base] = not is_whiteout(os.lstat(base, dir_fd=folder))
            return {name for name, visible in shown.items() if visible}

    def names(self) -> list[bytes]:
        """List every name at the root of any layer."""
        found = {os.fsencode(name) for root in self._roots for name in os.listdir(root)}
        return sorted(found)

    def _look(self, path: bytes, opened: ExitStack) -> Seen | None:
        here = self._roots
        if not path:
            return Seen(os.fstat(here[0]), here[0], b".") if here else None
        *folders, last = path.split(b"/")
        for part in folders:
            here = self._below(here, part, opened)
            if not here:
                return None
        for folder in here:
            status = _lstat(folder, last)
            if status is not None:
                return None if is_whiteout(status) else Seen(status, folder, last)
        return None

    def _below(self, here: Sequence[int], part: bytes, opened: ExitStack) -> list[int]:
        """List the directories of that name that merge, topmost first."""
        merged: list[int] = []
        for folder in here:
            status = _lstat(folder, part)
            if status is None:
                continue
            if not stat.S_ISDIR(status.st_mode):
                break
            descriptor = os.open(part, _WALK, dir_fd=folder)
            opened.callback(os.close, descriptor)
            merged.append(descriptor)
            if is_opaque(descriptor):
                break
        return merged


def _lstat(folder: int, base: bytes) -> os.stat_result | None:
    try:
        return os.lstat(base, dir_fd=folder)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return None
        raise
