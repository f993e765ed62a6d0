"""Decide a start: from a `Spec` and a `CgroupPlan` to ordered steps.

Knows:   what every container gets beyond its Spec (device nodes, links), and the one right order.
Refuses: the kernel and the disk; `shim.py` and `init.py` perform what we return.
Source:  OCI runtime-spec config-linux.md; man 2 pivot_root; man 7 capabilities for the order.
"""

from __future__ import annotations

from dockerlab.engine.linux.cgroup_values import CgroupPlan
from dockerlab.engine.linux.mounts import MS_RDONLY, MS_SHARED, parse_options
from dockerlab.engine.model.mount import Mount
from dockerlab.engine.model.rootfs import Overlay, Rootfs
from dockerlab.engine.runtime import steps
from dockerlab.engine.runtime.spec import Namespaces, ProcessKind, Rlimit, Spec
from dockerlab.engine.runtime.steps import Plan, Step, namespace_flags
from dockerlab.errors import InvalidRequest

NODES = (
    ("/dev/null", 1, 3), ("/dev/zero", 1, 5), ("/dev/full", 1, 7), ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9), ("/dev/tty", 5, 0),
)  # fmt: skip
LINKS = (
    ("/dev/fd", "/proc/self/fd"), ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"), ("/dev/stderr", "/proc/self/fd/2"),
    ("/dev/ptmx", "pts/ptmx"),
)  # fmt: skip
RLIMITS = (
    "cpu", "fsize", "data", "stack", "core", "rss", "nproc", "nofile", "memlock", "as", "locks",
    "sigpending", "msgqueue", "nice", "rtprio", "rttime",
)  # fmt: skip
"""Names of ulimits in the order of the kernel's numbers."""

# Before any link is up: taking IPv6 away from a link that has it costs the kernel milliseconds.
_BEFORE_LINKS = frozenset({"net.ipv6.conf.all.disable_ipv6"})
INIT_PATH = "/sbin/docker-init"
# What `--read-only` leaves writable among the engine's own mounts.
_STAYS_WRITABLE = ("/proc", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue")  # noqa: S108


def plan(spec: Spec, cgroup: CgroupPlan, *, docker_init: str = "") -> Plan:
    """Turn a Spec into the steps of its start.

    Args:
        spec: the process; `join_pid` makes it an exec.
        cgroup: how it gets under its limits.
        docker_init: host path of a static init program for `use_init`; "" for our own.
    """
    build = _exec if spec.join_pid else _container
    return build(spec, cgroup, docker_init)


def _container(spec: Spec, cgroup: CgroupPlan, docker_init: str) -> Plan:
    spaces = spec.namespaces
    enter: list[Step] = []
    if cgroup.tasks:
        enter.append(steps.EnterCgroup(cgroup.tasks))
    for kind in ("net", "ipc", "uts", "cgroup"):
        where = getattr(spaces, kind)
        if where.startswith("/"):
            enter.append(steps.JoinNamespace(namespace_flags((kind,)), where))
    if spaces.cgroup == "private":
        # Only now: the group we are in becomes the root of the namespace.
        enter.append(steps.Unshare(namespace_flags(("cgroup",))))
    if not isinstance(spec.rootfs, Rootfs):
        raise InvalidRequest(f"container {spec.id[:12]} has no root file system")
    mounts = _all_mounts(spec, cgroup, docker_init)
    early, late = _file_system_steps(spec, mounts, cgroup)
    return Plan(
        streams=_streams(spec, cgroup),
        shim=(*_cgroup_steps(cgroup), *_join_pid(spaces)),
        namespaces=_new_namespaces(spaces),
        cgroup=cgroup.clone_into,
        # All that needs nothing from the engine is done while the engine wires the network.
        enter=(
            *enter,
            *_names(spec),
            *_sysctls(spec, early=True),
            *_apparmor(spec),
            *(steps.TakeTree(one.source) for one in mounts if _shared(one)),
            *(steps.TakeForeignTree(one.namespace, one.source) for one in mounts if one.namespace),
            steps.Propagate("rslave"),
            _root_step(spec.rootfs),
            *early,
            steps.SetOomScore(spec.oom_score_adj),
        ),
        start=(
            *_network(spec),
            *late,
            steps.PivotRoot(),
            steps.MakeDirectory(spec.cwd),
            *((steps.OpenConsole(*spec.console_size, True),) if spec.tty else ()),
            *((steps.SealRoot(),) if spec.readonly_rootfs else ()),
            *_process_steps(spec, docker_init),
        ),
    )


def _exec(spec: Spec, cgroup: CgroupPlan, docker_init: str) -> Plan:
    del docker_init  # an exec'ed process is nobody's init
    joined = namespace_flags(("mnt", "cgroup", "uts", "ipc", "net"))
    return Plan(
        streams=_streams(spec, CgroupPlan()),
        shim=(steps.JoinPidNamespace(""),),
        cgroup=cgroup.clone_into,
        enter=((steps.EnterCgroup(cgroup.tasks),) if cgroup.tasks else ()),
        start=(
            steps.SetOomScore(spec.oom_score_adj),
            *_apparmor(spec),
            steps.JoinProcess(spec.join_pid, joined),
            *((steps.OpenConsole(*spec.console_size, False),) if spec.tty else ()),
            *_process_steps(spec, ""),
        ),
    )


def _streams(spec: Spec, cgroup: CgroupPlan) -> dict[str, object]:
    log = spec.log
    return {
        "id": spec.id,
        "kind": str(spec.kind),
        "tty": spec.tty,
        "stdin_open": spec.stdin_open,
        "stdin_once": spec.stdin_once,
        "exit_path": spec.exit_path,
        "run_dir": spec.run_dir,
        "oom_events": cgroup.oom_events,
        # Only its own: the folders above are everybody's.
        "groups": [one for one in cgroup.directories if one.endswith(f"/{spec.cgroup}")],
        "log": [log.driver, log.path, log.max_bytes, log.max_files, dict(log.attrs)],
    }


def _cgroup_steps(cgroup: CgroupPlan) -> tuple[Step, ...]:
    result: list[Step] = [steps.MakeCgroup(path) for path in cgroup.directories]
    result += [steps.WriteCgroup(*write) for write in cgroup.writes]
    if cgroup.device_filter:
        result.append(steps.FilterDevices(cgroup.clone_into, cgroup.device_filter))
    return tuple(result)


def _join_pid(spaces: Namespaces) -> tuple[Step, ...]:
    return (steps.JoinPidNamespace(spaces.pid),) if spaces.pid.startswith("/") else ()


def _new_namespaces(spaces: Namespaces) -> tuple[str, ...]:
    kinds = ["mnt"]
    kinds += [kind for kind in ("uts", "ipc", "pid") if getattr(spaces, kind) == "private"]
    if spaces.net in {"private", "none"}:
        kinds.append("net")
    return tuple(kinds)


def _names(spec: Spec) -> tuple[Step, ...]:
    if spec.namespaces.uts != "private":
        return ()
    hostname = (steps.SetHostname(spec.hostname),) if spec.hostname else ()
    domainname = (steps.SetDomainname(spec.domainname),) if spec.domainname else ()
    return (*hostname, *domainname)


def _network(spec: Spec) -> tuple[Step, ...]:
    own = spec.namespaces.net in {"private", "none"}
    return (*((steps.ReplayNetlink(),) if own else ()), *_sysctls(spec, early=False))


def _sysctls(spec: Spec, *, early: bool) -> tuple[Step, ...]:
    return tuple(
        steps.SetSysctl(name, value)
        for name, value in sorted(spec.sysctls.items())
        if (name in _BEFORE_LINKS) is early
    )


def _apparmor(spec: Spec) -> tuple[Step, ...]:
    return (steps.OpenAppArmor(spec.apparmor_profile),) if spec.apparmor_profile else ()


def _root_step(rootfs: Rootfs) -> Step:
    if not isinstance(rootfs, Overlay):
        return steps.BindRoot(rootfs.path)
    if not rootfs.lowers:
        return steps.BindRoot(rootfs.upper)  # the kernel refuses an overlay over nothing
    options = [
        f"lowerdir={':'.join(_escaped(one) for one in rootfs.lowers)}",
        f"upperdir={_escaped(rootfs.upper)}",
        f"workdir={_escaped(rootfs.work)}",
    ]
    if rootfs.volatile:
        options.append("volatile")
    return steps.MountOverlay(rootfs.layers_dir, rootfs.upper, rootfs.work, ",".join(options))


def _escaped(path: str) -> str:
    return path.replace("\\", "\\\\").replace(",", "\\,").replace(":", "\\:")


def _all_mounts(spec: Spec, cgroup: CgroupPlan, docker_init: str) -> list[Mount]:
    mounts = list(spec.mounts)
    if not any(one.target == "/sys/fs/cgroup" for one in mounts):
        mounts += cgroup.mounts
    if spec.use_init and docker_init:
        mounts.append(
            Mount(kind="bind", source=docker_init, target=INIT_PATH, options=("bind", "ro"))
        )
    # Parents before children; equals keep their order, and "remount" follows what it remounts.
    return sorted(mounts, key=_depth)


def _depth(mount: Mount) -> int:
    return 0 if mount.target == "/" else mount.target.rstrip("/").count("/")


def _shared(mount: Mount) -> bool:
    if mount.kind != "bind" or mount.within:
        return False
    return bool(parse_options(mount.options)[1] & MS_SHARED)


def _file_system_steps(
    spec: Spec, mounts: list[Mount], cgroup: CgroupPlan
) -> tuple[list[Step], list[Step]]:
    """Decide what is furnished before "go", and what after: files of the engine and the user."""
    own = set(cgroup.mounts)
    waiting = [one for one in mounts if one.kind == "bind" and one not in own]
    late_mounts = [
        one for one in mounts if one in waiting or any(_within(one, other) for other in waiting)
    ]
    early: list[Step] = [
        _mount_step(one, spec) for one in mounts if one.kind != "remount" and one not in late_mounts
    ]
    late: list[Step] = [_mount_step(one, spec) for one in late_mounts if one.kind != "remount"]
    devices = [] if any(one.target == "/dev" for one in waiting) else _device_steps(spec)
    early += devices
    if any(one.target == "/sys/fs/cgroup" and one.kind == "tmpfs" for one in mounts):
        early += [steps.MakeLink(path, target) for target, path in cgroup.links]
    # After everything below it is there.
    early += [_mount_step(one, spec) for one in mounts if one.kind == "remount"]
    masks: list[Step] = [steps.Mask(path) for path in spec.masked_paths]
    masks += [steps.MakeReadOnly(path) for path in spec.readonly_paths]
    # What the user mounts in /proc or /sys is masked, too.
    masked_late = any(f"{one.target}/".startswith(("/proc/", "/sys/")) for one in late_mounts)
    (late if masked_late else early).extend(masks)
    return early, late


def _within(mount: Mount, other: Mount) -> bool:
    return f"{mount.target}/".startswith(f"{other.target.rstrip('/')}/")


def _device_steps(spec: Spec) -> list[Step]:
    return [
        *(steps.MakeNode(path, "c", major, minor, 0o666) for path, major, minor in NODES),
        *(steps.MakeLink(path, target) for path, target in LINKS),
        steps.MakeLink("/dev/core", "/proc/kcore", "/proc/kcore"),
        *(
            steps.MakeNode(one.path, one.kind, one.major, one.minor, one.mode)
            for one in spec.devices
        ),
    ]


def _mount_step(mount: Mount, spec: Spec) -> Step:
    flags, propagation, recursive, data = parse_options(mount.options)
    if (
        spec.readonly_rootfs
        and mount.kind not in {"bind", "remount"}
        and mount.target not in _STAYS_WRITABLE
        and mount.kind != "tmpfs"
    ):
        flags |= MS_RDONLY
    return steps.MountAt(
        mount.kind,
        f"{mount.namespace}:{mount.source}" if mount.namespace else mount.source,
        mount.target,
        flags,
        propagation,
        recursive,
        data,
        mount.make_source,
        mount.within,
        ",".join(mount.options),
    )


def _process_steps(spec: Spec, docker_init: str) -> tuple[Step, ...]:
    result: list[Step] = [steps.JoinKeyring(f"_ses.{spec.id}")]
    result += [_rlimit(one) for one in spec.rlimits]
    result.append(steps.DropBounding(spec.capabilities))
    if not spec.no_new_privileges and spec.seccomp is not None:
        # Without no_new_privs a filter needs CAP_SYS_ADMIN: before the privileges go.
        result.append(steps.Seccomp(spec.seccomp))
    result.append(steps.BecomeUser(spec.user, spec.groups_add))
    result.append(steps.SetCapabilities(spec.capabilities))
    result.append(steps.EnterDirectory(spec.cwd))
    if spec.no_new_privileges:
        result.append(steps.NoNewPrivileges())
        if spec.seccomp is not None:
            result.append(steps.Seccomp(spec.seccomp))
    args, reap = spec.args, False
    if spec.use_init and spec.namespaces.pid == "private" and spec.kind != ProcessKind.EXEC:
        if docker_init:
            args = (INIT_PATH, "--", *args)
        else:
            reap = True
    result.append(steps.Execute(args, spec.env, reap))
    return tuple(result)


def _rlimit(limit: Rlimit) -> Step:
    if limit.name not in RLIMITS:
        raise InvalidRequest(f"invalid ulimit type: {limit.name}")
    return steps.SetRlimit(RLIMITS.index(limit.name), limit.soft, limit.hard, limit.name)
