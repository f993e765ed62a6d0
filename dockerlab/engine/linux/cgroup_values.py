"""The values around control groups, and what both versions promise.

Knows:   the plan a shim performs, the figures stats are made of, Docker's warnings for what the
         kernel lacks.
Refuses: the kernel; `cgroups_v1.py` and `cgroups_v2.py` read and write its files.
Source:  Linux admin-guide/cgroup-v1 and cgroup-v2; Docker's texts for create's `Warnings`.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from dockerlab.engine.model.limits import Resources
from dockerlab.engine.model.mount import Mount

OUR_FOLDER = "dockerlab"
"""Containers live in `<the engine's own place>/dockerlab/<name>`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CgroupPlan:
    """What a shim does to put a process under limits; nothing in it needs a decision.

    Attributes:
        directories: to make, in order; one that exists is fine.
        writes: (file, text, required), in order, one write(2) each. A refused write that is not
            required is ignored: the machine lacks something that `warnings()` told about already.
        tasks: v1: the child, while it has one thread, writes "0" into each of these files.
        clone_into: v2: the directory for clone3(CLONE_INTO_CGROUP); "" on v1.
        device_filter: v2: a program for `device_filter.attach(clone_into, ...)`; b"" for none.
        mounts: what appears at /sys/fs/cgroup. The last may be of kind "remount": the mount at
            its target gets these options (v1's tmpfs turns read-only once its folders are in it).
        links: v1: (target, path) symbolic links to make before that remount.
        oom_events: file with a line "oom_kill N", to be read after the end; "" for none.
    """

    directories: tuple[str, ...] = ()
    writes: tuple[tuple[str, str, bool], ...] = ()
    tasks: tuple[str, ...] = ()
    clone_into: str = ""
    device_filter: bytes = b""
    mounts: tuple[Mount, ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    oom_events: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """One reading of a control group. Times in nanoseconds; limits are 0 where there is none.

    Attributes:
        memory_stat: the kernel's own keys, which differ between versions.
        io: (major, minor, op, bytes) and io_operations the same with counts; v1 says "Read",
            "Write", "Sync", "Async", "Discard" and "Total", v2 "read" and "write".
    """

    version: int
    cpu_total_ns: int = 0
    cpu_user_ns: int = 0
    cpu_kernel_ns: int = 0
    cpu_each_ns: tuple[int, ...] = ()
    periods: int = 0
    throttled_periods: int = 0
    throttled_ns: int = 0
    memory_usage: int = 0
    memory_max_usage: int = 0
    memory_limit: int = 0
    memory_failures: int = 0
    memory_stat: Mapping[str, int] = field(default_factory=dict)
    pids: int = 0
    pids_limit: int = 0
    io: tuple[tuple[int, int, str, int], ...] = ()
    io_operations: tuple[tuple[int, int, str, int], ...] = ()


class Cgroup(Protocol):
    """One container's group, alive. Calls may block for milliseconds: use a worker thread."""

    def update(self, resources: Resources) -> None:
        """Apply limits to the running group; 0 and None leave what is there, -1 lifts."""

    def pids(self) -> list[int]:
        """Every process in the group and below, as the host counts them."""

    def freeze(self, timeout_s: float = 10.0) -> None:
        """Stop every process; returns once the kernel says that they stand still."""

    def thaw(self, timeout_s: float = 10.0) -> None:
        """Undo `freeze`."""

    def frozen(self) -> bool:
        """Tell whether the group stands still."""

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Signal every process, those forked meanwhile too."""

    def oom_kills(self) -> int:
        """How many processes the kernel ended here for want of memory."""

    def stats(self) -> Figures:
        """Read the figures; files stay open between calls."""

    def close(self) -> None:
        """Let go of the open files."""

    def remove(self, timeout_s: float = 5.0) -> None:
        """End what is left inside and remove the group; one that is gone is fine."""


class Hierarchy(Protocol):
    """The machine's control groups as this engine may use them.

    Attributes:
        version: 1, 2, or 0 where there are none to use.
        supports: names from `FEATURES`.
        place: where the engine's own folder is, for people.
        parents: where it was made in each tree, for the next engine.
    """

    @property
    def version(self) -> int: ...
    @property
    def supports(self) -> frozenset[str]: ...
    @property
    def place(self) -> str: ...
    @property
    def parents(self) -> dict[str, str]: ...

    def prepare(self) -> None:
        """Make the engine's own folder; called once at the start by `cgroups.detect`."""

    def plan(
        self, name: str, resources: Resources, *, private: bool = True, writable: bool = False
    ) -> CgroupPlan:
        """Decide how a process enters the group `name`.

        Args:
            name: usually the container's id.
            resources: its limits; what the machine lacks is left out (see `warnings`).
            private: the container has a cgroup namespace of its own.
            writable: /sys/fs/cgroup may be written to (privileged).
        """

    def group(self, name: str) -> Cgroup:
        """The group of that name, whether or not it exists right now."""

    def warnings(self, resources: Resources) -> list[str]:
        """Docker's sentences for the limits that will be left out here."""


FEATURES = (
    "memory", "swap", "memory_reservation", "swappiness", "oom_kill_disable", "pids", "cpu_shares",
    "cpu_cfs", "cpu_realtime", "cpuset", "blkio_weight", "blkio_throttle", "devices", "freezer",
)  # fmt: skip

_NOT = "Your kernel does not support"
_OR = "or the cgroup is not mounted."


def missing(resources: Resources, supports: frozenset[str]) -> list[str]:
    """Name, in Docker's words, what was asked for and is not to be had."""
    r = resources
    memory, cfs, rates = r.memory > 0, r.cpu_period or r.cpu_quota or r.nano_cpus, "blkio_throttle"
    rows: tuple[tuple[object, str, str], ...] = (
        (memory, "memory", f"{_NOT} memory limit capabilities {_OR} Limitation discarded."),
        (memory and r.memory_swap != -1 and "memory" in supports, "swap",
         f"{_NOT} swap limit capabilities {_OR} Memory limited without swap."),
        (r.memory_swappiness not in (None, -1), "swappiness",
         f"{_NOT} memory swappiness capabilities {_OR} Memory swappiness discarded."),
        (r.memory_reservation, "memory_reservation",
         f"{_NOT} memory soft limit capabilities {_OR} Limitation discarded."),
        (r.oom_kill_disable, "oom_kill_disable",
         f"{_NOT} OomKillDisable. OomKillDisable discarded."),
        (r.pids_limit > 0, "pids",
         f"{_NOT} PIDs limit capabilities {_OR} PIDs limit discarded."),
        (r.cpu_shares, "cpu_shares", f"{_NOT} CPU shares {_OR} Shares discarded."),
        (cfs, "cpu_cfs", f"{_NOT} CPU CFS scheduler {_OR} CPU period and quota discarded."),
        (r.cpu_realtime_period or r.cpu_realtime_runtime, "cpu_realtime",
         f"{_NOT} CPU real-time scheduler {_OR} Real-time limits discarded."),
        (r.cpuset_cpus or r.cpuset_mems, "cpuset", f"{_NOT} cpuset {_OR} Cpuset discarded."),
        (r.blkio_weight, "blkio_weight", f"{_NOT} Block I/O weight {_OR} Weight discarded."),
        (r.read_bps, rates,
         f"{_NOT} BPS Block I/O read limit {_OR} Block I/O BPS read limit discarded."),
        (r.write_bps, rates,
         f"{_NOT} BPS Block I/O write limit {_OR} Block I/O BPS write limit discarded."),
        (r.read_iops, rates,
         f"{_NOT} IOPS Block read limit {_OR} Block I/O IOPS read limit discarded."),
        (r.write_iops, rates,
         f"{_NOT} IOPS Block write limit {_OR} Block I/O IOPS write limit discarded."),
    )  # fmt: skip
    texts = [text for asked, feature, text in rows if asked and feature not in supports]
    if r.oom_kill_disable and not memory and "oom_kill_disable" in supports:
        texts.append(
            "OOM killer is disabled for the container, but no memory limit is set, "
            "this can result in the system running out of resources."
        )
    return texts


def quota(resources: Resources) -> tuple[int, int]:
    """CPU time in Docker's two spellings as (quota, period) in microseconds; 0 is "not said"."""
    if resources.nano_cpus:
        # 100 ms windows, as Docker has it: billionths of a CPU become microseconds per window.
        return resources.nano_cpus // 10_000, 100_000
    return resources.cpu_quota, resources.cpu_period


def swap_total(resources: Resources) -> int:
    """Memory and swap together, in bytes: 0 not said, -1 no limit; unsaid, twice the memory."""
    if resources.memory > 0 and resources.memory_swap == 0:
        return 2 * resources.memory
    return resources.memory_swap
