"""Control groups, version 1: one tree for each controller, under limits file by file.

Knows:   the file names and orders of writing, Docker's view at /sys/fs/cgroup.
Refuses: to make a container's group: the plan says how and a shim does it.
Source:  Linux admin-guide/cgroup-v1 (memory, cpusets, devices, freezer, blkio).
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from dockerlab.engine.linux import cgroup_files as files
from dockerlab.engine.linux import device_rules
from dockerlab.engine.linux.cgroup_values import (
    OUR_FOLDER,
    CgroupPlan,
    Figures,
    missing,
    quota,
    swap_total,
)
from dockerlab.engine.model.limits import Resources, ThrottleDevice
from dockerlab.engine.model.mount import Mount
from dockerlab.errors import Failed

Writes = list[tuple[str, str, bool]]

# What a file's presence says about the kernel; `devices` and `freezer` have no optional parts.
_SIGNS = {
    "memory": ("memory", "memory.limit_in_bytes"),
    "swap": ("memory", "memory.memsw.limit_in_bytes"),
    "memory_reservation": ("memory", "memory.soft_limit_in_bytes"),
    "swappiness": ("memory", "memory.swappiness"),
    "oom_kill_disable": ("memory", "memory.oom_control"),
    "pids": ("pids", "cgroup.procs"),
    "cpu_shares": ("cpu", "cpu.shares"),
    "cpu_cfs": ("cpu", "cpu.cfs_quota_us"),
    "cpu_realtime": ("cpu", "cpu.rt_runtime_us"),
    "cpuset": ("cpuset", "cpuset.cpus"),
    "blkio_throttle": ("blkio", "blkio.throttle.read_bps_device"),
    "devices": ("devices", "devices.allow"),
    "freezer": ("freezer", "cgroup.procs"),
}


def limit_writes(
    group: Mapping[str, str], resources: Resources, supports: frozenset[str]
) -> Writes:
    """The files of a new or running group and what to write, in order; devices apart.

    Args:
        group: controller to directory.
        resources: 0 and None write nothing.
        supports: features of the kernel; others are left out.
    """
    r = resources
    time_us, period_us = quota(r)
    pids = r.pids_limit if r.pids_limit >= 0 else "max"
    swappiness = None if r.memory_swappiness in (None, -1) else str(r.memory_swappiness)
    rows: list[tuple[str, str, str, object]] = [
        ("cpuset", "cpuset", "cpuset.cpus", r.cpuset_cpus),
        ("cpuset", "cpuset", "cpuset.mems", r.cpuset_mems),
        ("memory", "memory", "memory.limit_in_bytes", r.memory),
        ("swap", "memory", "memory.memsw.limit_in_bytes", swap_total(r)),
        ("memory_reservation", "memory", "memory.soft_limit_in_bytes", r.memory_reservation),
        ("swappiness", "memory", "memory.swappiness", swappiness),
        ("oom_kill_disable", "memory", "memory.oom_control", int(r.oom_kill_disable)),
        ("cpu_shares", "cpu", "cpu.shares", r.cpu_shares),
        ("cpu_cfs", "cpu", "cpu.cfs_period_us", period_us),
        ("cpu_cfs", "cpu", "cpu.cfs_quota_us", time_us),
        ("cpu_realtime", "cpu", "cpu.rt_period_us", r.cpu_realtime_period),
        ("cpu_realtime", "cpu", "cpu.rt_runtime_us", r.cpu_realtime_runtime),
        ("pids", "pids", "pids.max", pids),
        # The plain file went with the CFQ scheduler; BFQ brought its own.
        ("blkio.weight", "blkio", "blkio.weight", r.blkio_weight),
        ("blkio.bfq.weight", "blkio", "blkio.bfq.weight", r.blkio_weight),
    ]
    for devices, name in (
        (r.read_bps, "read_bps"), (r.write_bps, "write_bps"),
        (r.read_iops, "read_iops"), (r.write_iops, "write_iops"),
    ):  # fmt: skip
        rows += [
            ("blkio_throttle", "blkio", f"blkio.throttle.{name}_device", _rate(device))
            for device in devices
        ]
    return [
        (f"{group[controller]}/{name}", str(value), True)
        for feature, controller, name, value in rows
        if value and feature in supports
    ]


def _rate(device: ThrottleDevice) -> str:
    return f"{device.major}:{device.minor} {device.rate}"


class HierarchyV1:
    """The machine's trees, each with the engine's own place in it as parent."""

    version = 1

    def __init__(self, parents: Mapping[str, str], joined: Mapping[str, str]) -> None:
        """Look at the trees.

        Args:
            parents: controller (or "name=systemd") to the engine's own directory in its tree.
            joined: the same keys to the name of the mounted folder, for example "cpu,cpuacct".
        """
        self._parents = dict(parents)
        self._joined = dict(joined)
        found = {
            feature
            for feature, (controller, name) in _SIGNS.items()
            if controller in parents and Path(parents[controller], name).exists()
        }
        # The root group of some controllers shows no limits; their groups have them all the same.
        found |= {"blkio_throttle"} if "blkio" in parents else set()
        weights = {
            name
            for name in ("blkio.weight", "blkio.bfq.weight")
            if "blkio" in parents and Path(parents["blkio"], name).exists()
        }
        self.supports = frozenset(found | weights | ({"blkio_weight"} if weights else set()))

    @property
    def place(self) -> str:
        """Where the engine's folder is in the memory tree, or in the first there is."""
        parent = self._parents.get("memory") or next(iter(self._parents.values()))
        return f"{parent}/{OUR_FOLDER}"

    @property
    def parents(self) -> dict[str, str]:
        """Where the engine's own folder is made, by controller."""
        return dict(self._parents)

    def prepare(self) -> None:
        """Make our folder in every tree and give its cpuset what the engine itself has."""
        for parent in self._trees():
            Path(parent, OUR_FOLDER).mkdir(mode=0o755, exist_ok=True)
        for path, text, _ in self._filled("", Resources()):
            files.write(path, text)

    def plan(
        self, name: str, resources: Resources, *, private: bool = True, writable: bool = False
    ) -> CgroupPlan:
        """Decide how a process enters the group `name`; see `Hierarchy`."""
        # v1 shows the container its own part by binds, whatever cgroup namespace it lives in.
        del private
        group = self._directories(name)
        trees = list(dict.fromkeys(group.values()))
        ours = [f"{parent}/{OUR_FOLDER}" for parent in self._trees()]
        writes = [*self._filled("", resources), *self._filled(name, resources)]
        writes += limit_writes(group, resources, self.supports)
        if "devices" in group:
            writes.append((f"{group['devices']}/devices.deny", "a", True))
            # In a container the parent may have less to give: what it lacks stays closed.
            writes += [
                (f"{group['devices']}/devices.allow", text.removesuffix(" *:* rwm")
                 if text[0] == "a" else text, False)
                for text in device_rules.texts(resources)
            ]  # fmt: skip
        mounts, links = self._mounts(group, writable=writable)
        return CgroupPlan(
            directories=(*ours, *trees),
            writes=tuple(writes),
            tasks=tuple(f"{directory}/tasks" for directory in trees),
            mounts=mounts,
            links=links,
            oom_events=f"{group['memory']}/memory.oom_control" if "memory" in group else "",
        )

    def group(self, name: str) -> CgroupV1:
        """The group of that name."""
        return CgroupV1(self._directories(name), self.supports)

    def warnings(self, resources: Resources) -> list[str]:
        """Docker's sentences for what this kernel lacks."""
        return missing(resources, self.supports)

    def _trees(self) -> list[str]:
        return list(dict.fromkeys(self._parents.values()))

    def _directories(self, name: str) -> dict[str, str]:
        return {c: f"{parent}/{OUR_FOLDER}/{name}" for c, parent in self._parents.items()}

    def _filled(self, name: str, resources: Resources) -> Writes:
        """Writes that give a cpuset its parents' CPUs and nodes: empty, it takes no process."""
        parent = self._parents.get("cpuset")
        if parent is None:
            return []
        target = f"{parent}/{OUR_FOLDER}" + (f"/{name}" if name else "")
        out = Writes()
        for key, given in (("cpus", resources.cpuset_cpus), ("mems", resources.cpuset_mems)):
            wanted = given if name else ""
            if not wanted and not files.read(f"{target}/cpuset.{key}").strip():
                wanted = files.read(f"{parent}/cpuset.effective_{key}") or files.read(
                    f"{parent}/cpuset.{key}"
                )
                out.append((f"{target}/cpuset.{key}", wanted, True))
        return out

    def _mounts(
        self, group: Mapping[str, str], *, writable: bool
    ) -> tuple[tuple[Mount, ...], tuple[tuple[str, str], ...]]:
        base, flags = "/sys/fs/cgroup", ("nosuid", "noexec", "nodev")
        mounts = [Mount(kind="tmpfs", source="tmpfs", target=base, options=(*flags, "mode=755"))]
        links = []
        for controller, directory in group.items():
            folder = self._joined[controller]
            target = f"{base}/{folder}"
            if not any(mount.target == target for mount in mounts):
                mode = () if writable else ("ro",)
                mounts.append(
                    Mount(kind="bind", source=directory, target=target,
                          options=("bind", "rprivate", *flags, *mode))
                )  # fmt: skip
            if "," in folder and not controller.startswith("name="):
                links.append((folder, f"{base}/{controller}"))
        if not writable:
            mounts.append(
                Mount(kind="remount", source="", target=base, options=("bind", "ro", *flags))
            )
        return tuple(mounts), tuple(links)


class CgroupV1:
    """One container's directories, one in each tree."""

    def __init__(self, group: Mapping[str, str], supports: frozenset[str]) -> None:
        self._group = dict(group)
        self._supports = supports
        self._open = files.OpenFiles()

    def update(self, resources: Resources) -> None:
        """Apply limits to the running group; see `Cgroup`."""
        writes = limit_writes(self._group, resources, self._supports)
        memory = self._group.get("memory")
        raising = memory is not None and resources.memory > int(
            files.read(f"{memory}/memory.limit_in_bytes") or 0
        )
        if raising:
            # The kernel keeps memory <= memory+swap at every instant.
            writes.sort(key=lambda write: not write[0].endswith("memsw.limit_in_bytes"))
        retry = []
        for path, text, _ in writes:
            try:
                files.write(path, text)
            except OSError as problem:
                # A new period may be too short for the old quota: again once that is written.
                if problem.errno != errno.EINVAL or not path.endswith("cfs_period_us"):
                    raise
                retry.append((path, text))
        for path, text in retry:
            files.write(path, text)

    def pids(self) -> list[int]:
        """Every process in the group and below."""
        for controller in ("freezer", "pids", "memory", *self._group):
            if controller in self._group:
                return _pids(self._group[controller])
        return []

    def freeze(self, timeout_s: float = 10.0) -> None:
        """Stop every process and wait for it."""
        self._turn("FROZEN", timeout_s)

    def thaw(self, timeout_s: float = 10.0) -> None:
        """Undo `freeze`."""
        self._turn("THAWED", timeout_s)

    def frozen(self) -> bool:
        """Tell whether the group stands still."""
        return self._state() in ("FROZEN", "FREEZING")

    def _state(self) -> str:
        return files.read(f"{self._group['freezer']}/freezer.state") if self._freezes else ""

    @property
    def _freezes(self) -> bool:
        return "freezer" in self._group

    def _turn(self, state: str, timeout_s: float) -> None:
        path = f"{self._group['freezer']}/freezer.state" if self._freezes else ""
        if not path:
            raise Failed(
                "this machine has no freezer control group, so nothing can be paused",
                hint="docker stop ends the container instead.",
            )

        def turned() -> bool:
            # Written again each time: a fork during FREEZING can leave the group half frozen.
            files.write(path, state)
            return files.read(path) == state

        if not _until(turned, timeout_s):
            files.write(path, "THAWED")
            raise Failed(f"timeout waiting for the freezer to reach {state}")

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Signal every process; frozen meanwhile, so that none forks away."""
        held = self._freezes and not self.frozen()
        if held:
            # A process in uninterruptible sleep can't be frozen; it can still be signalled.
            with contextlib.suppress(Failed, FileNotFoundError):
                self.freeze(timeout_s=0.2)
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        if self._freezes and (held or number == signal.SIGKILL):
            with contextlib.suppress(FileNotFoundError):
                self.thaw()

    def oom_kills(self) -> int:
        """How many processes ended for want of memory, in groups below too."""
        return sum(
            files.keyed(files.read(f"{folder}/memory.oom_control")).get("oom_kill", 0)
            for folder in files.folders(self._group.get("memory", "/nonexistent"))
        )

    def stats(self) -> Figures:
        """Read the figures."""
        read = self._reader
        scheduler = files.keyed(read("cpu", "cpu.stat"))
        ticks = files.keyed(read("cpuacct", "cpuacct.stat"))
        tick_ns = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
        limit = read("pids", "pids.max").strip()
        return Figures(
            version=1,
            cpu_total_ns=_number(read("cpuacct", "cpuacct.usage")),
            cpu_user_ns=ticks.get("user", 0) * tick_ns,
            cpu_kernel_ns=ticks.get("system", 0) * tick_ns,
            cpu_each_ns=tuple(map(int, read("cpuacct", "cpuacct.usage_percpu").split())),
            periods=scheduler.get("nr_periods", 0),
            throttled_periods=scheduler.get("nr_throttled", 0),
            throttled_ns=scheduler.get("throttled_time", 0),
            memory_usage=_number(read("memory", "memory.usage_in_bytes")),
            memory_max_usage=_number(read("memory", "memory.max_usage_in_bytes")),
            memory_limit=_limit(_number(read("memory", "memory.limit_in_bytes"))),
            memory_failures=_number(read("memory", "memory.failcnt")),
            memory_stat=files.keyed(read("memory", "memory.stat")),
            pids=_number(read("pids", "pids.current")),
            pids_limit=0 if limit == "max" else _number(limit),
            io=_io(read("blkio", "blkio.throttle.io_service_bytes_recursive")),
            io_operations=_io(read("blkio", "blkio.throttle.io_serviced_recursive")),
        )

    def _reader(self, controller: str, name: str) -> str:
        directory = self._group.get(controller)
        return self._open.read(f"{directory}/{name}") if directory else ""

    def close(self) -> None:
        """Let go of the open files."""
        self._open.close()

    def remove(self, timeout_s: float = 5.0) -> None:
        """End what is left inside and remove the directories in all trees."""
        self.close()
        left = list(dict.fromkeys(self._group.values()))
        left = [directory for directory in left if not files.remove_tree(directory)]
        if left and self.pids():
            self.kill()

        def gone() -> bool:
            left[:] = [directory for directory in left if not files.remove_tree(directory)]
            return not left

        if left and not _until(gone, timeout_s):
            raise Failed(
                f"control group {left[0]} still has processes {_pids(left[0])[:5]}",
                hint="A process in uninterruptible sleep, often on a network disk, holds it.",
            )


def _pids(top: str) -> list[int]:
    found: list[int] = []
    for folder in files.folders(top):
        found += map(int, files.read(f"{folder}/cgroup.procs").split())
    return found


def _until(done: Callable[[], bool], timeout_s: float) -> bool:
    """Ask again until true. v1 has no event to wait for, so: 0.2 ms, growing to 10 ms."""
    deadline, pause = time.monotonic() + timeout_s, 0.0002
    while not done():
        if time.monotonic() > deadline:
            return False
        time.sleep(pause)
        pause = min(pause * 2, 0.01)
    return True


def _number(text: str) -> int:
    return int(text) if text.strip().isdigit() else 0


def _limit(value: int) -> int:
    # "No limit" is the largest multiple of a page below 2**63.
    return 0 if value >= 1 << 62 else value


def _io(text: str) -> tuple[tuple[int, int, str, int], ...]:
    rows: list[tuple[int, int, str, int]] = []
    for line in text.splitlines():
        words: Sequence[str] = line.split()
        if len(words) == 3 and ":" in words[0]:
            major, minor = words[0].split(":")
            rows.append((int(major), int(minor), words[1], int(words[2])))
    return tuple(rows)
