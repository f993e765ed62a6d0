"""When this machine booted and when a process began: what makes a pid mean one process.

Knows:   two files of /proc. Light, as `dockerlab engine start` waits for its imports.
Refuses: everything else about the machine; `machine.py`.
Source:  man 5 proc_pid_stat.
"""

from __future__ import annotations

from pathlib import Path


def boot_id() -> str:
    """The id of this boot: tells a reboot from a restart of the engine."""
    return _text(Path("/proc/sys/kernel/random/boot_id")).strip()


def start_ticks(pid: int) -> int:
    """When a process started, in clock ticks since boot; 0 when it is gone.

    A pid comes back some day; a pid with its start time does not.
    """
    # The command's name, in brackets, may hold spaces and brackets itself.
    _, _, rest = _text(Path(f"/proc/{pid}/stat")).rpartition(")")
    fields = rest.split()
    return int(fields[19]) if len(fields) > 19 and fields[0] != "Z" else 0


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""
