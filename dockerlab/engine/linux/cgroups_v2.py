"""Control groups, version 2: one tree, controllers handed down level by level.

Knows:   delegation (no processes in inner nodes), the file names, share and weight formulas.
Refuses: to make a container's group: the plan says how and a shim does it.
Source:  Linux admin-guide/cgroup-v2; runc's conversion of cpu.shares since 2025.
"""

from __future__ import annotations

import contextlib
import math
import os
import select
import signal
import time
from pathlib import Path

from dockerlab.engine.linux import cgroup_files as files
from dockerlab.engine.linux import device_filter, device_rules
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
_WANTED = ("cpu", "cpuset", "io", "memory", "pids", "hugetlb")
_ENGINE_LEAF = "dockerlab-engine"


def cpu_weight(shares: int) -> int:
    """Translate Docker's CPU shares (2..262144; 1024) to cpu.weight (1..10000; 100).

    The curve of 2025, through (2, 1), (1024, 100) and (262144, 10000). The straight line before it
    gave 39 to a container with the default 1024, less than a neighbour that had said nothing.
    """
    if shares <= 2:
        return 1
    if shares >= 262144:
        return 10000
    power = math.log2(shares)
    return math.ceil(10 ** ((power * power + 125 * power) / 612 - 7 / 34))


def io_weight(blkio_weight: int) -> int:
    """Translate Docker's block weight (10..1000) to io.weight (1..10000)."""
    return 1 + (blkio_weight - 10) * 9999 // 990


def limit_writes(group: str, resources: Resources, supports: frozenset[str]) -> Writes:
    """The files of a new or running group and what to write, in order."""
    r, total = resources, swap_total(resources)
    # Docker counts memory and swap together, v2 swap alone.
    swap = "max" if total < 0 else str(max(0, total - max(r.memory, 0))) if total else ""
    time_us, period_us = quota(r)
    cpu_max = f"{time_us if time_us > 0 else 'max'} {period_us or 100_000}"
    bfq = "io.bfq.weight" in supports
    weight = r.blkio_weight if bfq or not r.blkio_weight else io_weight(r.blkio_weight)
    rows: list[tuple[str, str, object]] = [
        ("cpuset", "cpuset.cpus", r.cpuset_cpus),
        ("cpuset", "cpuset.mems", r.cpuset_mems),
        ("memory", "memory.max", r.memory if r.memory >= 0 else "max"),
        ("swap", "memory.swap.max", swap),
        ("memory_reservation", "memory.low", r.memory_reservation),
        ("cpu_shares", "cpu.weight", r.cpu_shares and cpu_weight(r.cpu_shares)),
        ("cpu_cfs", "cpu.max", cpu_max if time_us or period_us else ""),
        ("pids", "pids.max", r.pids_limit if r.pids_limit >= 0 else "max"),
        ("blkio_weight", "io.bfq.weight" if bfq else "io.weight", weight),
    ]
    for devices, key in (
        (r.read_bps, "rbps"), (r.write_bps, "wbps"), (r.read_iops, "riops"), (r.write_iops, "wiops")
    ):  # fmt: skip
        rows += [("blkio_throttle", "io.max", _rate(device, key)) for device in devices]
    return [
        (f"{group}/{name}", str(value), True)
        for feature, name, value in rows
        if value and feature in supports
    ]


def _rate(device: ThrottleDevice, key: str) -> str:
    return f"{device.major}:{device.minor} {key}={device.rate}"


class HierarchyV2:
    """The machine's tree and the engine's own place in it."""

    version = 2

    def __init__(self, root: str, own: str) -> None:
        """Look at the tree.

        Args:
            root: where it is mounted.
            own: the engine's own directory in it, `root` or below.
        """
        if own.endswith(f"/{_ENGINE_LEAF}"):
            # Born of a shell that an earlier engine moved: the containers live beside the leaf.
            own = own.removesuffix(f"/{_ENGINE_LEAF}")
        self._root, self._own = root, own
        self._base = f"{own}/{OUR_FOLDER}"
        self._filters = False
        self.supports = self._look()

    @property
    def place(self) -> str:
        """The folder that holds every container's."""
        return self._base

    @property
    def parents(self) -> dict[str, str]:
        """Where the engine's own folder is made; the only tree has no name."""
        return {"": self._own}

    def _look(self) -> frozenset[str]:
        """What the controllers that reach our place, or will once it is prepared, can do."""
        given = set(files.read(f"{self.source()}/cgroup.controllers").split())
        if Path(self._base).is_dir():
            given &= set(files.read(f"{self._base}/cgroup.controllers").split())
        by_controller = {
            "memory": ("memory", "memory_reservation"),
            "pids": ("pids",),
            "cpu": ("cpu_shares", "cpu_cfs"),
            "cpuset": ("cpuset",),
            "io": ("blkio_throttle",),
        }
        found = {f for c, features in by_controller.items() if c in given for f in features}
        base = self._base
        # Only groups below the root show these, so they are known once our folder is there.
        signs = {"swap": "memory.swap.max", "blkio_weight": "io.weight",
                 "io.bfq.weight": "io.bfq.weight", "freezer": "cgroup.freeze"}  # fmt: skip
        found |= {feature for feature, name in signs.items() if Path(base, name).exists()}
        if "io.bfq.weight" in found:
            found.add("blkio_weight")
        return frozenset(found | ({"devices"} if self._filters else set()))

    def source(self) -> str:
        """Where controllers come from: the tree's root if we may hand them down, else our place."""
        handing = f"{self._root}/cgroup.subtree_control"
        return self._root if os.access(handing, os.W_OK) else self._own

    def prepare(self) -> None:
        """Make our folder and hand every controller down to it.

        A group with processes cannot hand controllers down (but the root), so whoever is where we
        were born, and that is us, first moves into a leaf beside the containers.
        """
        for level in self._levels():
            self._hand_down(level)
        Path(self._base).mkdir(mode=0o755, exist_ok=True)
        self._hand_down(self._base)
        try:
            os.close(device_filter.load(device_rules.program([])))
            self._filters = True
        except OSError:
            self._filters = False
        self.supports = self._look()

    def _levels(self) -> list[str]:
        """Directories from the mounted root down to our own place."""
        below = os.path.relpath(self._own, self._root)
        names = [] if below == "." else below.split("/")
        return ["/".join((self._root, *names[:depth])) for depth in range(len(names) + 1)]

    def _hand_down(self, directory: str) -> None:
        have = set(files.read(f"{directory}/cgroup.controllers").split())
        active = set(files.read(f"{directory}/cgroup.subtree_control").split())
        wanted = [name for name in _WANTED if name in have and name not in active]
        if wanted and directory == self._own != self._root:
            self._vacate()
        for name in wanted:
            # One by one: a single refused controller must not cost the others.
            with contextlib.suppress(OSError):
                files.write(f"{directory}/cgroup.subtree_control", f"+{name}")

    def _vacate(self) -> None:
        """Move every process of our own place into a leaf of it."""
        if not files.read(f"{self._own}/cgroup.type"):
            # The real root of the tree has no type, and may keep its processes.
            return
        leaf = f"{self._own}/{_ENGINE_LEAF}"
        Path(leaf).mkdir(mode=0o755, exist_ok=True)
        for pid in files.read(f"{self._own}/cgroup.procs").split():
            with contextlib.suppress(ProcessLookupError):
                files.write(f"{leaf}/cgroup.procs", pid)

    def plan(
        self, name: str, resources: Resources, *, private: bool = True, writable: bool = False
    ) -> CgroupPlan:
        """Decide how a process enters the group `name`; see `Hierarchy`."""
        group = f"{self._base}/{name}"
        rules = [device_rules.parse_rule(text) for text in device_rules.texts(resources)]
        filtering = self._filters and not resources.privileged
        flags = ("nosuid", "noexec", "nodev", *(() if writable else ("ro",)))
        if private:
            mount = Mount(kind="cgroup2", source="cgroup", target="/sys/fs/cgroup", options=flags)
        else:
            mount = Mount(kind="bind", source=self._root, target="/sys/fs/cgroup",
                          options=("rbind", "rprivate", *flags))  # fmt: skip
        return CgroupPlan(
            directories=(self._base, group),
            writes=tuple(limit_writes(group, resources, self.supports)),
            clone_into=group,
            device_filter=device_rules.program(rules) if filtering else b"",
            mounts=(mount,),
            oom_events=f"{group}/memory.events" if "memory" in self.supports else "",
        )

    def group(self, name: str) -> CgroupV2:
        """The group of that name."""
        return CgroupV2(f"{self._base}/{name}", self.supports)

    def warnings(self, resources: Resources) -> list[str]:
        """Docker's sentences for what this kernel lacks."""
        return missing(resources, self.supports)


class CgroupV2:
    """One container's directory."""

    def __init__(self, directory: str, supports: frozenset[str]) -> None:
        self._directory = directory
        self._supports = supports
        self._open = files.OpenFiles()

    def update(self, resources: Resources) -> None:
        """Apply limits to the running group; see `Cgroup`."""
        for path, text, _ in limit_writes(self._directory, resources, self._supports):
            files.write(path, text)

    def pids(self) -> list[int]:
        """Every process in the group and below."""
        found: list[int] = []
        for folder in files.folders(self._directory):
            found += map(int, files.read(f"{folder}/cgroup.procs").split())
        return found

    def freeze(self, timeout_s: float = 10.0) -> None:
        """Stop every process and wait for it."""
        files.write(f"{self._directory}/cgroup.freeze", "1")
        if not self._wait("frozen", 1, timeout_s):
            files.write(f"{self._directory}/cgroup.freeze", "0")
            raise Failed("timeout waiting for the freezer to reach FROZEN")

    def thaw(self, timeout_s: float = 10.0) -> None:
        """Undo `freeze`."""
        files.write(f"{self._directory}/cgroup.freeze", "0")
        if not self._wait("frozen", 0, timeout_s):
            raise Failed("timeout waiting for the freezer to reach THAWED")

    def frozen(self) -> bool:
        """Tell whether the group stands still."""
        return files.read(f"{self._directory}/cgroup.freeze") == "1"

    def _wait(self, key: str, value: int, timeout_s: float) -> bool:
        """Wait for a line of cgroup.events; the kernel raises POLLPRI at each change."""
        try:
            descriptor = os.open(f"{self._directory}/cgroup.events", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return key == "populated" and value == 0
        try:
            waiter = select.poll()
            waiter.register(descriptor, select.POLLPRI)
            deadline = time.monotonic() + timeout_s
            while True:
                # The read comes first: it also arms the next event.
                text = os.pread(descriptor, 4096, 0).decode()
                if files.keyed(text).get(key) == value:
                    return True
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                waiter.poll(left * 1000)
        except OSError:
            # ENODEV: removed under us.
            return key == "populated" and value == 0
        finally:
            os.close(descriptor)

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Signal every process."""
        if number == signal.SIGKILL:
            try:
                # One write, atomic against forks, and it reaches frozen groups; Linux 5.14.
                files.write(f"{self._directory}/cgroup.kill", "1")
            except FileNotFoundError:
                pass
            else:
                return
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        if number == signal.SIGKILL:
            with contextlib.suppress(FileNotFoundError):
                files.write(f"{self._directory}/cgroup.freeze", "0")

    def oom_kills(self) -> int:
        """How many processes ended for want of memory, in groups below too."""
        return files.keyed(files.read(f"{self._directory}/memory.events")).get("oom_kill", 0)

    def stats(self) -> Figures:
        """Read the figures."""
        read = self._read
        cpu = files.keyed(read("cpu.stat"))
        sizes, operations = _io(read("io.stat"))
        return Figures(
            version=2,
            cpu_total_ns=cpu.get("usage_usec", 0) * 1000,
            cpu_user_ns=cpu.get("user_usec", 0) * 1000,
            cpu_kernel_ns=cpu.get("system_usec", 0) * 1000,
            periods=cpu.get("nr_periods", 0),
            throttled_periods=cpu.get("nr_throttled", 0),
            throttled_ns=cpu.get("throttled_usec", 0) * 1000,
            memory_usage=_number(read("memory.current")),
            memory_limit=_number(read("memory.max")),
            memory_failures=files.keyed(read("memory.events")).get("max", 0),
            memory_stat=files.keyed(read("memory.stat")),
            pids=_number(read("pids.current")),
            pids_limit=_number(read("pids.max")),
            io=sizes,
            io_operations=operations,
        )

    def _read(self, name: str) -> str:
        return self._open.read(f"{self._directory}/{name}")

    def close(self) -> None:
        """Let go of the open files."""
        self._open.close()

    def remove(self, timeout_s: float = 5.0) -> None:
        """End what is left inside and remove the directory."""
        self.close()
        deadline = time.monotonic() + timeout_s
        killed = False
        while not files.remove_tree(self._directory):
            if not killed and self.pids():
                killed = True
                self.kill()
            left = deadline - time.monotonic()
            if left <= 0 or not self._wait("populated", 0, left):
                raise Failed(
                    f"control group {self._directory} still has processes {self.pids()[:5]}",
                    hint="A process in uninterruptible sleep, often on a network disk, holds it.",
                )


def _number(text: str) -> int:
    return int(text) if text.strip().isdigit() else 0


def _io(text: str) -> tuple[tuple[tuple[int, int, str, int], ...], ...]:
    sizes: list[tuple[int, int, str, int]] = []
    operations: list[tuple[int, int, str, int]] = []
    for line in text.splitlines():
        device, *words = line.split()
        pairs = dict(word.split("=", 1) for word in words if "=" in word)
        major, _, minor = device.partition(":")
        if not major.isdigit() or not minor.isdigit():
            continue
        place = int(major), int(minor)
        for op, key, rows in (
            ("read", "rbytes", sizes), ("write", "wbytes", sizes),
            ("read", "rios", operations), ("write", "wios", operations),
        ):  # fmt: skip
            rows.append((*place, op, int(pairs.get(key, 0))))
    return tuple(sizes), tuple(operations)
