"""Who serves a run folder: written by the engine, read by whoever looks for it.

Knows:   that a pid alone proves nothing; start time and boot id go with it.
Refuses: to signal; `control.py` does, through a pidfd.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from dockerlab.engine.linux.birth import boot_id, start_ticks


@dataclass(frozen=True, kw_only=True)
class EngineRecord:
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
    half.write_text(json.dumps(asdict(record)), "utf-8")
    half.replace(path)


def read(path: Path) -> EngineRecord | None:
    """Find the engine of a run folder; None when none runs."""
    try:
        record = EngineRecord(**json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError):
        return None
    return record if record.alive else None
