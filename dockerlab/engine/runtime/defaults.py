"""The isolation every container gets when nobody asks, as tables.

Knows:   Docker's default mounts, masked and read-only paths, environment.
Refuses: to decide; `runtime/translate.py` applies a container's wishes to these.
Source:  moby daemon/pkg/oci/defaults.go; daemon/container/env.go.
"""

from __future__ import annotations

from dockerlab.engine.runtime.spec import Mount

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DEFAULT_SHM_BYTES = 64 * 1024 * 1024

MASKED_PATHS = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
)
READONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")

PROC = Mount(kind="proc", source="proc", target="/proc", options=("nosuid", "noexec", "nodev"))
DEV = Mount(
    kind="tmpfs",
    source="tmpfs",
    target="/dev",
    options=("nosuid", "strictatime", "mode=755", "size=65536k"),
)
PTS = Mount(
    kind="devpts",
    source="devpts",
    target="/dev/pts",
    options=("nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"),
)
SYS = Mount(
    kind="sysfs", source="sysfs", target="/sys", options=("nosuid", "noexec", "nodev", "ro")
)
MQUEUE = Mount(
    kind="mqueue", source="mqueue", target="/dev/mqueue", options=("nosuid", "noexec", "nodev")
)


def shm(size_bytes: int) -> Mount:
    """The shared memory of a private IPC namespace."""
    return Mount(
        kind="tmpfs",
        source="shm",
        target="/dev/shm",  # noqa: S108 - a path inside the container
        options=("nosuid", "noexec", "nodev", "mode=1777", f"size={size_bytes}"),
    )
