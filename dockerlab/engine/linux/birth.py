"""When this machine booted and when a process began: what makes a pid mean one process.

Knows:   two files of /proc. Light: every shim carries it, and `engine start` waits for it.
Refuses: everything else about the machine; `machine.py`.
Source:  man 5 proc_pid_stat.
"""

from __future__ import annotations


def boot_id() -> str:
    """The id of this boot: tells a reboot from a restart of the engine."""
    return _text("/proc/sys/kernel/random/boot_id").strip()


def start_ticks(pid: int) -> int:
    """When a process started, in clock ticks since boot; 0 when it is gone.

    A pid comes back some day; a pid with its start time does not.
    """
    # The command's name, in brackets, may hold spaces and brackets itself.
    _, _, rest = _text(f"/proc/{pid}/stat").rpartition(")")
    fields = rest.split()
    return int(fields[19]) if len(fields) > 19 and fields[0] != "Z" else 0


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
