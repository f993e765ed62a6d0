"""What a process in a container shall be: the values between `services/` and `runtime/plan`.

Knows:   everything a start needs, with every default already decided.
Refuses: the kernel, the disk and the API's words; `runtime/plan.py` turns a `Spec` into steps.
Source:  OCI runtime-spec config.md and config-linux.md, for the meaning of each field.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from dockerlab.engine.model.limits import Resources, ThrottleDevice
from dockerlab.engine.model.mount import Mount
from dockerlab.engine.model.rootfs import Rootfs

# Part of a Spec, kept in model/ because linux/ needs the words too; re-exported for readers of it.
__all__ = [
    "Device", "LogTarget", "Mount", "Namespaces", "ProcessKind", "Resources", "Rlimit", "Spec",
    "ThrottleDevice",
]  # fmt: skip


class ProcessKind(StrEnum):
    """Who waits for the process; decides what adoption does with it after an engine's death."""

    CONTAINER = "container"
    EXEC = "exec"
    BUILD = "build"


@dataclass(frozen=True, slots=True, kw_only=True)
class Namespaces:
    """Where each namespace comes from.

    Each value is "private" (a new one), "host" (the engine's own) or "/proc/PID/ns/KIND" to join.
    The mount namespace is always new for a container. The network kind also knows "none": a new one
    that nobody wires.
    """

    pid: str = "private"
    net: str = "private"
    ipc: str = "private"
    uts: str = "private"
    cgroup: str = "private"


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A device node to appear in the container; numbers are those of the host node."""

    path: str
    kind: Literal["c", "b"]
    major: int
    minor: int
    mode: int = 0o666
    access: str = "rwm"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rlimit:
    """A resource limit by its ulimit name ("nofile"); -1 is unlimited.

    Clamped, with a warning, where the engine may not raise it.
    """

    name: str
    soft: int
    hard: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LogTarget:
    """Where output is kept.

    Attributes:
        driver: "json-file", "local" or "none".
        path: absolute path of the active file; rotated ones get ".1", ".2", ...
        max_bytes: rotate beyond it; 0 never.
        max_files: how many files are kept, the active one included.
        attrs: constant key/value pairs written with each record (labels, env, tag).
    """

    driver: str = "none"
    path: str = ""
    max_bytes: int = 0
    max_files: int = 1
    attrs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """A process, its isolation and what happens to its streams.

    Attributes:
        id: 64 hex digits; of the container, the exec or the build step.
        cgroup: name of the cgroup below the engine's own, usually the container's id.
        args: argv; args[0] is looked up in the PATH of `env`, inside the container.
        env: "K=V" in order; HOME is added by init where it is missing or empty.
        user: "[user|uid][:[group|gid]]" as given, resolved by init in the container's /etc/passwd.
        cwd: absolute; created where missing (containers), an error where missing (exec).
        capabilities: numbers of the bounding set; permitted and effective follow for uid 0.
        seccomp: a BPF program (struct sock_filter array), or None for unconfined.
        join_pid: exec only: host pid of the container's init, whose namespaces and root are joined.
        exit_path: absolute path of the exit record the shim writes; "" for none.
        run_dir: directory for the shim's socket `s` and pid file `pid`.
        stdin_open: keep a stdin; otherwise it is /dev/null.
        stdin_once: stdin closes with the first attacher that had it.
    """

    id: str
    kind: ProcessKind = ProcessKind.CONTAINER
    rootfs: Rootfs | None = None
    cgroup: str = ""
    args: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    cwd: str = "/"
    user: str = ""
    groups_add: tuple[str, ...] = ()
    hostname: str = ""
    domainname: str = ""
    tty: bool = False
    console_size: tuple[int, int] = (0, 0)
    stdin_open: bool = False
    stdin_once: bool = False
    use_init: bool = False
    namespaces: Namespaces = Namespaces()
    capabilities: tuple[int, ...] = ()
    no_new_privileges: bool = False
    seccomp: bytes | None = None
    apparmor_profile: str = ""
    mounts: tuple[Mount, ...] = ()
    devices: tuple[Device, ...] = ()
    masked_paths: tuple[str, ...] = ()
    readonly_paths: tuple[str, ...] = ()
    readonly_rootfs: bool = False
    privileged: bool = False
    resources: Resources = field(default_factory=Resources)
    rlimits: tuple[Rlimit, ...] = ()
    sysctls: Mapping[str, str] = field(default_factory=dict)
    oom_score_adj: int = 0
    log: LogTarget = LogTarget()
    join_pid: int = 0
    exit_path: str = ""
    run_dir: str = ""
    stop_signal: int = 15
