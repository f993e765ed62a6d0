"""Look at the machine: what `docker info` says of it.

Knows:   the few files of /proc, /sys and /etc that tell.
Refuses: to try anything; `probe.py` tries, and finds out which mode the engine can have.
"""

from __future__ import annotations

import os
from pathlib import Path

from dockerlab.engine.linux.cgroups import look
from dockerlab.engine.model.machine import Machine, Mode

_CAP_SYS_ADMIN = 21


def read(*, mode: Mode = Mode.FULL, no_containers: str = "") -> Machine:
    """Read the machine's facts; cheap, changes nothing."""
    name = os.uname()
    release = _pairs(Path("/etc/os-release"), Path("/usr/lib/os-release"))
    hierarchy = look()
    return Machine(
        kernel=name.release,
        architecture=name.machine,
        operating_system=release.get("PRETTY_NAME", "Linux"),
        os_version=release.get("VERSION_ID", ""),
        hostname=name.nodename,
        cpus=len(os.sched_getaffinity(0)),
        memory_bytes=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        cgroup_version=hierarchy.version,
        cgroup_supports=frozenset(hierarchy.supports),
        seccomp="seccomp" in _text(Path("/proc/self/status")).lower(),
        apparmor=_text(Path("/sys/module/apparmor/parameters/enabled")).strip() == "Y",
        cgroup_namespaces=Path("/proc/self/ns/cgroup").exists(),
        forwarding=_text(Path("/proc/sys/net/ipv4/ip_forward")).strip() == "1",
        mode=mode,
        no_containers=no_containers,
    )


def may_administer() -> bool:
    """Whether this process has CAP_SYS_ADMIN, without which no namespace can be made."""
    for line in _text(Path("/proc/self/status")).splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> _CAP_SYS_ADMIN & 1)
    return False


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""


def _pairs(*paths: Path) -> dict[str, str]:
    for path in paths:
        text = _text(path)
        if text:
            lines = (line.partition("=") for line in text.splitlines() if "=" in line)
            return {key: value.strip().strip("\"'") for key, _, value in lines}
    return {}
