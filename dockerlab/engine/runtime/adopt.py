"""Find the shims of an earlier engine.

Knows:   where a shim listens, and what remains of one that is gone.
Refuses: to decide what becomes of the container (`services/`).
Source:  docs/architecture.md, "Walk 3: the engine is killed".
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress


def connect(run_dir: str) -> socket.socket | None:
    """Connect to the shim that listens in `run_dir`; None when nobody does."""
    try:
        place = os.open(run_dir, os.O_PATH | os.O_DIRECTORY)
    except OSError:
        return None
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        # Through the descriptor: the path of a socket ends at 107 bytes.
        connection.connect(f"/proc/self/fd/{place}/s")
    except OSError:
        connection.close()
        return None
    finally:
        os.close(place)
    return connection


def clear_run_dir(run_dir: str) -> None:
    """Remove what a dead shim left in its directory, and the directory."""
    for name in ("s", "pid"):
        with suppress(OSError):
            os.unlink(f"{run_dir}/{name}")
    with suppress(OSError):
        os.rmdir(run_dir)
