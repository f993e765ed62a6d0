"""Who serves a run folder: written by the engine, read by whoever looks for it.

Knows:   that a pid alone proves nothing; start time and boot id go with it.
Refuses: to signal; `control.py` does, through a pidfd.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from dockerlab.engine.linux.machine import boot_id, start_ticks


class EngineRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One running engine.

    Attributes:
        start_ticks: of the process, in clock ticks since boot.
        started_ns: when it began to serve.
    """

    pid: int
    start_ticks: int
    boot_id: str
    root: str
    socket: str
    started_ns: int

    @property
    def alive(self) -> bool:
        """Whether that very process still runs."""
        return self.boot_id == boot_id() and start_ticks(self.pid) == self.start_ticks


def write(path: Path, *, root: Path, socket: Path, started_ns: int) -> None:
    """Say that this process serves."""
    record = EngineRecord(
        pid=os.getpid(),
        start_ticks=start_ticks(os.getpid()),
        boot_id=boot_id(),
        root=str(root),
        socket=str(socket),
        started_ns=started_ns,
    )
    half = path.with_name(f"{path.name}.new")
    half.write_bytes(msgspec.json.encode(record))
    half.replace(path)


def read(path: Path) -> EngineRecord | None:
    """Find the engine of a run folder; None when none runs."""
    try:
        record = msgspec.json.decode(path.read_bytes(), type=EngineRecord)
    except (OSError, msgspec.MsgspecError):
        return None
    return record if record.alive else None
