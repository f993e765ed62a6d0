"""Find the control groups this engine may use, and say how.

Knows:   /proc/self/mountinfo and /proc/self/cgroup, and which version they amount to.
Refuses: file names and limits; `cgroups_v1.py` and `cgroups_v2.py` know them.
Source:  man 7 cgroups; man 5 proc_pid_mountinfo.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dockerlab.engine.linux import cgroup_files as files
from dockerlab.engine.linux.cgroup_values import (
    FEATURES,
    OUR_FOLDER,
    Cgroup,
    CgroupPlan,
    Figures,
    Hierarchy,
    missing,
)
from dockerlab.engine.linux.cgroups_v1 import HierarchyV1
from dockerlab.engine.linux.cgroups_v2 import HierarchyV2
from dockerlab.engine.model.limits import Resources
from dockerlab.errors import Unsupported

__all__ = [
    "FEATURES", "Cgroup", "CgroupPlan", "Figures", "Hierarchy", "NoCgroups", "Tree", "detect",
    "look", "own_places", "trees",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Tree:
    """One mounted cgroup tree: where, which part of it, and its controllers ("" for v2)."""

    mountpoint: str
    root: str
    controllers: tuple[str, ...]
    version: int


def trees(mountinfo: str) -> list[Tree]:
    """Read the cgroup mounts out of a /proc/PID/mountinfo; pure."""
    found: dict[tuple[str, ...], Tree] = {}
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        fields, tail = left.split(" "), right.split(" ")
        if len(fields) < 6 or tail[0] not in ("cgroup", "cgroup2"):
            continue
        root, mountpoint = (_plain(text) for text in fields[3:5])
        if tail[0] == "cgroup2":
            tree = Tree(mountpoint, root, (), 2)
        else:
            # Super options say the controllers, beside a few words of the tree itself.
            words = tail[2].split(",")
            names = tuple(w for w in words if w.startswith("name=") or w in _CONTROLLERS)
            tree = Tree(mountpoint, root, names, 1)
        # A tree may be mounted twice (in a container's own folder, say): the first is the usual.
        found.setdefault(tree.controllers, tree)
    return list(found.values())


_CONTROLLERS = frozenset((
    "cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids", "net_cls",
    "net_prio", "perf_event", "hugetlb", "rdma", "misc",
))  # fmt: skip


def _plain(text: str) -> str:
    """Undo the octal escapes of mountinfo."""
    for code in ("040", "011", "012", "134"):
        text = text.replace("\\" + code, chr(int(code, 8)))
    return text


def own_places(cgroup: str) -> dict[str, str]:
    """Controller ("" for v2) to the path in /proc/PID/cgroup; pure."""
    places = {}
    for line in cgroup.splitlines():
        _, names, path = line.split(":", 2)
        for name in names.split(","):
            places[name] = path
    return places


def _directory(tree: Tree, path: str) -> str:
    """Where our own place in a tree is seen from here."""
    if tree.root != "/":
        # In a container without a cgroup namespace only a part of the tree is mounted.
        path = path[len(tree.root) :] if f"{path}/".startswith(f"{tree.root}/") else "/"
    if "/.." in path:
        # Outside of our cgroup namespace: what is mounted is the nearest we can have.
        path = "/"
    place = tree.mountpoint + path.rstrip("/")
    return place if Path(place).is_dir() else tree.mountpoint


class NoCgroups:
    """Nothing to be had: containers run without limits, and each limit asked for is a warning."""

    version = 0
    supports: frozenset[str] = frozenset()
    place = ""
    parents: dict[str, str] = {}  # noqa: RUF012 - never written to

    def prepare(self) -> None:
        """Nothing to make."""

    def plan(
        self, name: str, resources: Resources, *, private: bool = True, writable: bool = False
    ) -> CgroupPlan:
        """An empty plan."""
        del name, resources, private, writable
        return CgroupPlan()

    def group(self, name: str) -> Cgroup:
        """A group that cannot do anything."""
        del name
        return _NoGroup()

    def warnings(self, resources: Resources) -> list[str]:
        """Docker's sentences for every limit asked for."""
        return missing(resources, self.supports)


class _NoGroup:
    def update(self, resources: Resources) -> None:
        del resources

    def pids(self) -> list[int]:
        return []

    def freeze(self, timeout_s: float = 10.0) -> None:
        del timeout_s
        raise Unsupported(
            "pausing needs control groups, and this engine has none to use",
            hint="dockerlab doctor says what would give them.",
        )

    def thaw(self, timeout_s: float = 10.0) -> None:
        del timeout_s

    def frozen(self) -> bool:
        return False

    def kill(self, number: int = signal.SIGKILL) -> None:
        del number

    def oom_kills(self) -> int:
        return 0

    def stats(self) -> Figures:
        return Figures(version=0)

    def close(self) -> None:
        pass

    def remove(self, timeout_s: float = 5.0) -> None:
        del timeout_s


def look(before: Mapping[str, str] | None = None) -> Hierarchy:
    """Say which control groups are here; changes nothing.

    A machine that has both versions mounted counts as v1 as long as memory or cpu are there.

    Args:
        before: `parents` of an earlier engine, whose containers may live on there. Taken as long
            as our folder is in all of them; otherwise our own place counts.
    """
    places = own_places(files.read("/proc/self/cgroup"))
    # Not through `files.read`: a machine of many mounts has more than one buffer of them.
    mounted = trees(Path("/proc/self/mountinfo").read_text("utf-8", "surrogateescape"))
    kept = before if before and all(Path(p, OUR_FOLDER).is_dir() for p in before.values()) else {}
    parents: dict[str, str] = {}
    joined: dict[str, str] = {}
    for tree in mounted:
        for name in tree.controllers:
            directory = kept.get(name) or _directory(tree, places.get(name, "/"))
            if os.access(directory, os.W_OK):
                parents[name] = directory
                joined[name] = Path(tree.mountpoint).name
    if parents.keys() & {"memory", "cpu", "pids"}:
        return HierarchyV1(parents, joined)
    for tree in mounted:
        own = kept.get("") or _directory(tree, places.get("", "/"))
        if tree.version == 2 and _writable(own):
            hierarchy = HierarchyV2(tree.mountpoint, own)
            # A bare tree beside version 1 has no controllers: nothing to limit by.
            if files.read(f"{hierarchy.source()}/cgroup.controllers"):
                return hierarchy
    return NoCgroups()


def _writable(directory: str) -> bool:
    return os.access(directory, os.W_OK) and os.access(f"{directory}/cgroup.procs", os.W_OK)


def detect(memory: Path | None = None) -> Hierarchy:
    """Find the control groups and make the engine's own place ready; NoCgroups if it cannot.

    Args:
        memory: a file in the run folder that tells the next engine where this one's containers
            live: it may be started from another session, that is from another group.
    """
    hierarchy = look(_remembered(memory))
    try:
        hierarchy.prepare()
    except OSError:
        return NoCgroups()
    if memory is not None:
        fresh = memory.with_name(f"{memory.name}.new")
        fresh.write_text(json.dumps(hierarchy.parents), "utf-8")
        fresh.replace(memory)
    return hierarchy


def _remembered(memory: Path | None) -> Mapping[str, str]:
    try:
        found = json.loads(memory.read_text("utf-8")) if memory is not None else {}
    except (OSError, ValueError):
        return {}
    plain = isinstance(found, dict) and all(isinstance(one, str) for one in found.values())
    return found if plain else {}
