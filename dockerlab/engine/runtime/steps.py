"""The steps of a start, written down: what `trace` prints and what shim and init perform.

Knows:   every step's facts, its sentence for people, and its encoding to plain lists.
Refuses: to perform. `shim.py` performs the steps of `Plan.shim`, `init.py` all others, each in
         the function of the step's class name; a step added here needs its function there.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_NAMESPACES = {
    "mnt": 0x00020000,
    "cgroup": 0x02000000,
    "uts": 0x04000000,
    "ipc": 0x08000000,
    "pid": 0x20000000,
    "net": 0x40000000,
}
"""Kinds as /proc/PID/ns spells them, and the kernel's CLONE_NEW* bits."""


def namespace_flags(kinds: tuple[str, ...]) -> int:
    """The CLONE_NEW* bits of some namespaces."""
    return sum(_NAMESPACES[kind] for kind in kinds)


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that will be done."""

    def describe(self) -> str:
        """Say it in one line."""
        raise NotImplementedError

    def encode(self) -> list[Any]:
        """Give the class name and the facts, as JSON can carry them."""
        names: tuple[str, ...] = self.__match_args__
        return [type(self).__name__, *(_plain(getattr(self, name)) for name in names)]


def _plain(value: Any) -> Any:
    if type(value) is bytes:
        return base64.b64encode(value).decode()
    return value


@dataclass(frozen=True, slots=True)
class MakeCgroup(Step):
    path: str

    def describe(self) -> str:
        return f"make the control group {self.path}"


@dataclass(frozen=True, slots=True)
class WriteCgroup(Step):
    path: str
    text: str
    required: bool

    def describe(self) -> str:
        return f"write {self.text!r} to {self.path}{'' if self.required else ', if it lets us'}"


@dataclass(frozen=True, slots=True)
class FilterDevices(Step):
    directory: str
    program: bytes

    def describe(self) -> str:
        return f"let only the allowed devices be used below {self.directory}"


@dataclass(frozen=True, slots=True)
class JoinPidNamespace(Step):
    path: str

    def describe(self) -> str:
        return f"have children in the pid namespace {self.path or 'of the container'}"


@dataclass(frozen=True, slots=True)
class EnterCgroup(Step):
    tasks: tuple[str, ...]

    def describe(self) -> str:
        return f"enter the control groups {', '.join(self.tasks)}"


@dataclass(frozen=True, slots=True)
class JoinNamespace(Step):
    flag: int
    path: str

    def describe(self) -> str:
        return f"join {self.path}"


@dataclass(frozen=True, slots=True)
class JoinProcess(Step):
    pid: int
    flags: int

    def describe(self) -> str:
        kinds = " ".join(kind for kind, bit in _NAMESPACES.items() if self.flags & bit)
        return f"join the namespaces of process {self.pid}: {kinds}"


@dataclass(frozen=True, slots=True)
class Unshare(Step):
    flags: int

    def describe(self) -> str:
        kinds = " ".join(kind for kind, bit in _NAMESPACES.items() if self.flags & bit)
        return f"unshare {kinds}"


@dataclass(frozen=True, slots=True)
class TakeTree(Step):
    source: str

    def describe(self) -> str:
        return f"take {self.source} while it still shares mounts with the host"


@dataclass(frozen=True, slots=True)
class TakeForeignTree(Step):
    namespace: str
    source: str

    def describe(self) -> str:
        return f"take {self.source} of the mount namespace {self.namespace}"


@dataclass(frozen=True, slots=True)
class Propagate(Step):
    word: str

    def describe(self) -> str:
        return f"make / {self.word}: our mounts stay ours"


@dataclass(frozen=True, slots=True)
class MountOverlay(Step):
    layers_dir: str
    target: str
    work: str
    data: str

    def describe(self) -> str:
        return f"mount overlay at {self.target} from {self.layers_dir}: {self.data}"


@dataclass(frozen=True, slots=True)
class BindRoot(Step):
    path: str

    def describe(self) -> str:
        return f"take {self.path} as root"


@dataclass(frozen=True, slots=True)
class MountAt(Step):
    kind: str
    source: str
    target: str
    flags: int
    propagation: int
    recursive: int
    data: str
    make_source: str
    within: str
    words: str

    def describe(self) -> str:
        return f"mount {self.kind} {self.source} at {self.target} ({self.words})"

    def encode(self) -> list[Any]:
        return Step.encode(self)[:-1]  # the words are for people


@dataclass(frozen=True, slots=True)
class MakeNode(Step):
    path: str
    kind: str
    major: int
    minor: int
    mode: int

    def describe(self) -> str:
        return f"make the device {self.path}, {self.kind} {self.major}:{self.minor} {self.mode:04o}"


@dataclass(frozen=True, slots=True)
class MakeLink(Step):
    path: str
    target: str
    needs: str = ""

    def describe(self) -> str:
        condition = f", if the host has {self.needs}" if self.needs else ""
        return f"link {self.path} to {self.target}{condition}"


@dataclass(frozen=True, slots=True)
class Mask(Step):
    path: str

    def describe(self) -> str:
        return f"hide {self.path}"


@dataclass(frozen=True, slots=True)
class MakeReadOnly(Step):
    path: str

    def describe(self) -> str:
        return f"make {self.path} read-only"


@dataclass(frozen=True, slots=True)
class SetHostname(Step):
    name: str

    def describe(self) -> str:
        return f"set the hostname {self.name}"


@dataclass(frozen=True, slots=True)
class SetDomainname(Step):
    name: str

    def describe(self) -> str:
        return f"set the domain name {self.name}"


@dataclass(frozen=True, slots=True)
class SetSysctl(Step):
    name: str
    value: str

    def describe(self) -> str:
        return f"set {self.name} = {self.value}"


@dataclass(frozen=True, slots=True)
class ReplayNetlink(Step):
    def describe(self) -> str:
        return "set up the network inside, as the engine says"


@dataclass(frozen=True, slots=True)
class OpenAppArmor(Step):
    profile: str

    def describe(self) -> str:
        return f"take the AppArmor profile {self.profile} with the exec"


@dataclass(frozen=True, slots=True)
class SetOomScore(Step):
    value: int

    def describe(self) -> str:
        return f"set oom_score_adj {self.value}"


@dataclass(frozen=True, slots=True)
class PivotRoot(Step):
    def describe(self) -> str:
        return "make it the root, and let go of the host's"


@dataclass(frozen=True, slots=True)
class MakeDirectory(Step):
    path: str

    def describe(self) -> str:
        return f"make the directory {self.path}, if it is missing"


@dataclass(frozen=True, slots=True)
class OpenConsole(Step):
    height: int
    width: int
    bind: bool

    def describe(self) -> str:
        return "open a terminal" + (", also as /dev/console" if self.bind else "")


@dataclass(frozen=True, slots=True)
class SealRoot(Step):
    def describe(self) -> str:
        return "make the root read-only"


@dataclass(frozen=True, slots=True)
class JoinKeyring(Step):
    name: str

    def describe(self) -> str:
        return f"take a new session keyring {self.name}"


@dataclass(frozen=True, slots=True)
class SetRlimit(Step):
    number: int
    soft: int
    hard: int
    name: str

    def describe(self) -> str:
        return f"limit {self.name} to {self.soft}:{self.hard}"


@dataclass(frozen=True, slots=True)
class BecomeUser(Step):
    user: str
    groups: tuple[str, ...]

    def describe(self) -> str:
        more = f" with groups {', '.join(self.groups)}" if self.groups else ""
        return f"become user {self.user or '0'}{more}"


@dataclass(frozen=True, slots=True)
class DropBounding(Step):
    """Comes before the change of user, as it needs CAP_SETPCAP."""

    keep: tuple[int, ...]

    def describe(self) -> str:
        return f"keep {len(self.keep)} capabilities in the bounding set"


@dataclass(frozen=True, slots=True)
class SetCapabilities(Step):
    keep: tuple[int, ...]

    def describe(self) -> str:
        return f"hold no capability outside {sum(1 << one for one in self.keep):016x}"


@dataclass(frozen=True, slots=True)
class EnterDirectory(Step):
    path: str

    def describe(self) -> str:
        return f"change to {self.path}"


@dataclass(frozen=True, slots=True)
class NoNewPrivileges(Step):
    def describe(self) -> str:
        return "gain no privileges by exec from here on"


@dataclass(frozen=True, slots=True)
class Seccomp(Step):
    program: bytes

    def describe(self) -> str:
        return f"filter system calls ({len(self.program) // 8} instructions)"


@dataclass(frozen=True, slots=True)
class Execute(Step):
    args: tuple[str, ...]
    env: tuple[str, ...]
    reap: bool

    def describe(self) -> str:
        how = "run under our own init" if self.reap else "execute"
        return f"{how} {' '.join(self.args)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One start from the fork of the shim to the exec of the program.

    Attributes:
        streams: what the shim does with input, output and the end; plain JSON.
        shim: before the clone; namespaces and cgroup: the clone itself.
        enter: init, at once; start: init, once the engine says go.
    """

    streams: Mapping[str, Any]
    shim: tuple[Step, ...] = ()
    namespaces: tuple[str, ...] = ()
    cgroup: str = ""
    enter: tuple[Step, ...] = ()
    start: tuple[Step, ...] = ()

    def describe(self) -> list[str]:
        """Say every step in order, with who performs it."""
        where = f" into {self.cgroup}" if self.cgroup else ""
        new = f" with new namespaces {' '.join(self.namespaces)}" if self.namespaces else ""
        return [
            *(f"shim: {step.describe()}" for step in self.shim),
            f"shim: clone init{where}{new}",
            *(f"init: {step.describe()}" for step in self.enter),
            "init: wait for go",
            *(f"init: {step.describe()}" for step in self.start),
        ]

    def encode(self) -> dict[str, Any]:
        """Give what goes to the zygote as JSON."""
        return {
            "streams": dict(self.streams),
            "shim": [step.encode() for step in self.shim],
            "namespaces": namespace_flags(self.namespaces),
            "cgroup": self.cgroup,
            "enter": [step.encode() for step in self.enter],
            "start": [step.encode() for step in self.start],
        }
