"""Reading and writing the small files of a control group tree.

Knows:   one read or write per call, files kept open for readings, removal bottom-up.
Refuses: what the texts mean; `cgroups_v1.py` and `cgroups_v2.py` do.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

_LARGEST = 65536


def read(path: str) -> str:
    """The whole text of a kernel file, without the last newline; "" where there is no such file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as problem:
        if problem.errno in (errno.ENOENT, errno.ENODEV, errno.EACCES, errno.EOPNOTSUPP):
            return ""
        raise
    try:
        return os.read(descriptor, _LARGEST).decode().rstrip("\n")
    except OSError as problem:
        if problem.errno in (errno.ENODEV, errno.EOPNOTSUPP, errno.EINVAL):
            return ""
        raise
    finally:
        os.close(descriptor)


def write(path: str, text: str) -> None:
    """Write a text in one call, as the kernel parses each call by itself.

    Not through a buffered file: that would report a refusal at close, or never.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    except OSError as problem:
        problem.filename = path
        raise
    finally:
        os.close(descriptor)


def folders(top: str) -> Iterator[str]:
    """Every group at and below `top`, children before their parents."""
    try:
        with os.scandir(top) as entries:
            below = [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return
    for path in below:
        yield from folders(path)
    yield top


def remove_tree(top: str) -> bool:
    """Remove a group and those below; True once nothing is left.

    False means busy: a process that was killed may hold its group for some milliseconds.
    """
    for path in folders(top):
        try:
            Path(path).rmdir()
        except FileNotFoundError:
            continue
        except OSError as problem:
            if problem.errno in (errno.EBUSY, errno.ENOTEMPTY):
                return False
            raise
    return True


def keyed(text: str) -> dict[str, int]:
    """Lines of "KEY NUMBER" as a mapping; other lines are left out."""
    pairs = (line.split() for line in text.splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}


class OpenFiles:
    """Files kept open and read again from their start: a third of the cost of opening anew."""

    def __init__(self) -> None:
        self._descriptors: dict[str, int] = {}

    def read(self, path: str) -> str:
        """The present text of `path`; "" where there is none or the group is gone."""
        descriptor = self._descriptors.get(path)
        if descriptor is None:
            try:
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                return ""
            self._descriptors[path] = descriptor
        try:
            return os.pread(descriptor, _LARGEST, 0).decode()
        except OSError:
            # ENODEV: the group was removed under us.
            return ""

    def close(self) -> None:
        """Close every file."""
        while self._descriptors:
            os.close(self._descriptors.popitem()[1])
