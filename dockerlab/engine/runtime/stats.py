"""What a container uses, as Docker's stats document.

Knows:   the document of both cgroup versions, the machine's CPU time, counters of interfaces.
Refuses: when to read and for whom; a reading costs about 0.2 ms, all files stay open.
Source:  Docker's API, ContainerStats; man 5 proc (stat, net/dev).
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dockerlab.engine.linux.cgroup_files import OpenFiles
from dockerlab.engine.linux.cgroups import Cgroup, Figures
from dockerlab.engine.runtime.log_writer import time_text

Document = dict[str, Any]
"""JSON as builtins."""

_NEVER = "0001-01-01T00:00:00Z"
_UNLIMITED_PIDS = (1 << 64) - 1
_DEVICE_LISTS = (
    "io_service_bytes_recursive", "io_serviced_recursive", "io_queue_recursive",
    "io_service_time_recursive", "io_wait_time_recursive", "io_merged_recursive",
    "io_time_recursive", "sectors_recursive",
)  # fmt: skip
# Columns of /proc/net/dev behind the interface's name.
_COUNTERS = {
    "rx_bytes": 0, "rx_packets": 1, "rx_errors": 2, "rx_dropped": 3,
    "tx_bytes": 8, "tx_packets": 9, "tx_errors": 10, "tx_dropped": 11,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One reading.

    Attributes:
        system_ns: CPU time of the whole machine, idle included.
        networks: interface in the container to counters; empty without a network of its own.
    """

    read_ns: int
    figures: Figures
    system_ns: int
    online_cpus: int
    networks: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


class StatsReader:
    """Reads one running container again and again; whoever made it closes it."""

    def __init__(self, cgroup: Cgroup, pid: int = 0) -> None:
        """Prepare.

        Args:
            cgroup: of the container; closed together with this.
            pid: of its init, for its interfaces; 0 if it has no network of its own.
        """
        self._cgroup, self._pid = cgroup, pid
        self._open = OpenFiles()

    def sample(self) -> Sample:
        """Read everything now."""
        system_ns, cpus = machine_time(self._open.read("/proc/stat"))
        networks = (
            interfaces(self._open.read(f"/proc/{self._pid}/net/dev")) if self._pid > 0 else {}
        )
        return Sample(
            read_ns=time.time_ns(),
            figures=self._cgroup.stats(),
            system_ns=system_ns,
            online_cpus=cpus,
            networks=networks,
        )

    def close(self) -> None:
        """Close every file."""
        self._open.close()
        self._cgroup.close()


def machine_time(stat: str) -> tuple[int, int]:
    """CPU time of the machine in nanoseconds, and how many CPUs are online, of /proc/stat."""
    lines = stat.split("\nintr", 1)[0].splitlines()
    # user nice system idle iowait irq softirq steal; guest time is part of user already.
    ticks = sum(map(int, lines[0].split()[1:9])) if lines else 0
    return ticks * 1_000_000_000 // os.sysconf("SC_CLK_TCK"), max(0, len(lines) - 1)


def interfaces(net_dev: str) -> dict[str, dict[str, int]]:
    """Counters of each interface but loopback, of /proc/PID/net/dev."""
    found = {}
    for line in net_dev.splitlines()[2:]:
        name, _, rest = line.partition(":")
        numbers = rest.split()
        if name.strip() != "lo" and len(numbers) >= 16:
            found[name.strip()] = {key: int(numbers[at]) for key, at in _COUNTERS.items()}
    return found


def machine_memory() -> int:
    """RAM in bytes; what an unlimited container is said to be limited to."""
    first = Path("/proc/meminfo").read_text("ascii").split(None, 2)
    return int(first[1]) * 1024


def document(
    sample: Sample | None, previous: Sample | None, *, container_id: str, name: str
) -> Document:
    """Docker's document of one reading.

    Args:
        sample: None for a container that does not run.
        previous: the reading before, for the CLI's percentages; None in the first of a stream.
        container_id: 64 hex digits.
        name: without its leading slash or with it.
    """
    figures = sample.figures if sample else None
    out: Document = {
        "name": f"/{name.lstrip('/')}",
        "id": container_id,
        "read": time_text(sample.read_ns).decode() if sample else _NEVER,
        "preread": time_text(previous.read_ns).decode() if previous else _NEVER,
        "pids_stats": _pids(figures) if figures else {},
        "blkio_stats": _blkio(figures),
        "num_procs": 0,
        "storage_stats": {},
        "cpu_stats": _cpu(sample),
        "precpu_stats": _cpu(previous),
        "memory_stats": _memory(figures) if figures else {},
    }
    if sample and sample.networks:
        out["networks"] = {key: dict(counters) for key, counters in sample.networks.items()}
    return out


def _cpu(sample: Sample | None) -> Document:
    figures = sample.figures if sample else Figures(version=0)
    usage: Document = {
        "total_usage": figures.cpu_total_ns,
        "usage_in_kernelmode": figures.cpu_kernel_ns,
        "usage_in_usermode": figures.cpu_user_ns,
    }
    if figures.cpu_each_ns:
        usage["percpu_usage"] = list(figures.cpu_each_ns)
    out: Document = {
        "cpu_usage": usage,
        "throttling_data": {
            "periods": figures.periods,
            "throttled_periods": figures.throttled_periods,
            "throttled_time": figures.throttled_ns,
        },
    }
    if sample:
        out |= {"system_cpu_usage": sample.system_ns, "online_cpus": sample.online_cpus}
    return out


def _memory(figures: Figures) -> Document:
    out: Document = {
        "usage": figures.memory_usage,
        "stats": dict(figures.memory_stat),
        "limit": figures.memory_limit or machine_memory(),
    }
    if figures.memory_max_usage:
        out["max_usage"] = figures.memory_max_usage
    if figures.memory_failures:
        out["failcnt"] = figures.memory_failures
    return out


def _pids(figures: Figures) -> Document:
    limit = figures.pids_limit or (_UNLIMITED_PIDS if figures.version == 2 else 0)
    return {"current": figures.pids} | ({"limit": limit} if limit else {})


def _blkio(figures: Figures | None) -> Document:
    out: Document = dict.fromkeys(_DEVICE_LISTS)
    if figures is None or not figures.version:
        return out
    if figures.version == 1:
        out |= {key: [] for key in _DEVICE_LISTS}
        out["io_serviced_recursive"] = _devices(figures.io_operations)
    out["io_service_bytes_recursive"] = _devices(figures.io)
    return out


def _devices(rows: tuple[tuple[int, int, str, int], ...]) -> list[Document]:
    return [
        {"major": major, "minor": minor, "op": op, "value": value}
        for major, minor, op, value in rows
    ]
