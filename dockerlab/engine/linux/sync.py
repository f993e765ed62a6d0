"""syncfs: write one file system's waiting data to its disk.

Knows:   the call, without the GIL: it may take seconds.
Refuses: to decide when; `store/durable.py` does.
Source:  man 2 syncfs.
"""

from __future__ import annotations

import ctypes
import os

from dockerlab.engine.linux.syscalls import failed

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syncfs.argtypes = (ctypes.c_int,)


def syncfs(path: str) -> None:
    """Write all waiting data of the file system that holds a directory."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if _libc.syncfs(descriptor) < 0:
            raise failed("syncfs", path)
    finally:
        os.close(descriptor)
