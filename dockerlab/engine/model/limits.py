"""What a process may use of the machine; values only, in the units of Docker's HostConfig.

Knows:   the limits and what "not limited" means for each.
Refuses: the kernel's file names; `linux/cgroups_v1.py` and `linux/cgroups_v2.py` translate.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ThrottleDevice:
    """A limit on one block device: bytes or operations a second."""

    major: int
    minor: int
    rate: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """Limits, in Docker's HostConfig units; None and 0 mean "not limited" unless said otherwise.

    Attributes:
        memory, memory_reservation: bytes.
        memory_swap: bytes of memory and swap together; -1 unlimited.
        nano_cpus: billionths of a CPU.
        cpu_period, cpu_quota: microseconds.
        cpu_shares: relative to 1024.
        pids_limit: count; 0 or -1 unlimited.
        blkio_weight: 10..1000.
        device_rules: cgroup device rules in order ("c 1:3 rwm"), after the default allow-list.
        privileged: every device is allowed.
    """

    memory: int = 0
    memory_swap: int = 0
    memory_reservation: int = 0
    memory_swappiness: int | None = None
    oom_kill_disable: bool = False
    nano_cpus: int = 0
    cpu_shares: int = 0
    cpu_period: int = 0
    cpu_quota: int = 0
    cpu_realtime_period: int = 0
    cpu_realtime_runtime: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    pids_limit: int = 0
    blkio_weight: int = 0
    read_bps: tuple[ThrottleDevice, ...] = ()
    write_bps: tuple[ThrottleDevice, ...] = ()
    read_iops: tuple[ThrottleDevice, ...] = ()
    write_iops: tuple[ThrottleDevice, ...] = ()
    device_rules: tuple[str, ...] = ()
    privileged: bool = False
