"""Translate a container's row into the `Spec` of its next run.

Knows:   which of Docker's defaults apply to which wish, and where the engine's own files appear.
Refuses: to touch anything; what only the kernel or the disk can tell comes in as `Surroundings`.
Source:  moby daemon/oci_linux.go; OCI runtime-spec config.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from dockerlab.engine.linux import apparmor
from dockerlab.engine.model.container import Container
from dockerlab.engine.model.limits import Resources
from dockerlab.engine.model.mount import Mount
from dockerlab.engine.model.rootfs import Rootfs
from dockerlab.engine.model.volume import MountPoint
from dockerlab.engine.runtime import defaults
from dockerlab.engine.runtime.host_devices import throttled
from dockerlab.engine.runtime.log_target import log_target
from dockerlab.engine.runtime.security import bounding_set, seccomp_program, security_options
from dockerlab.engine.runtime.spec import Device, Namespaces, ProcessKind, Rlimit, Spec
from dockerlab.errors import InvalidRequest
from dockerlab.wire.documents import HostConfig
from dockerlab.wire.documents import Resources as Limits

_KEEP_WRITABLE = ("/proc", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue")  # noqa: S108 - inside


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a run needs to know beside the container's own row.

    Attributes:
        directory: the container's folder in the store; the log and the exit record go there.
        run_dir: where the shim listens.
        devices: the host's nodes that the container names (all of them when privileged).
        files: container path -> host path of the engine's own files (/etc/hosts, ...).
        shm_source: path of another's shared memory, "" for one of its own.
        shm_namespace: file of the mount namespace that it is in, "" for the host's.
        links: variables of the containers it is linked to.
        ipv6: whether a network gives it an address of that family, or the kernel knows none.
        devices_limited: whether this machine can keep it from the devices it has no right to.
        hostname: as it shall be inside; "" leaves the host's.
    """

    rootfs: Rootfs
    directory: str
    run_dir: str
    namespaces: Namespaces
    devices: Sequence[Device] = ()
    files: Mapping[str, str]
    shm_source: str = ""
    shm_namespace: str = ""
    links: Sequence[str] = ()
    devices_limited: bool = True
    ipv6: bool = True
    hostname: str = ""


def spec_of(container: Container, around: Surroundings) -> Spec:
    """Decide the next run of a container.

    Raises:
        InvalidRequest: an unknown capability, a bad seccomp profile, a sysctl that is not its own.
    """
    config, host = container.config, container.host
    bounding = bounding_set(host, devices_limited=around.devices_limited)
    options = security_options(host.security_opt)
    return Spec(
        id=container.id,
        kind=ProcessKind.CONTAINER,
        rootfs=around.rootfs,
        cgroup=container.id,
        args=(container.path, *container.args),
        env=environment(container, links=around.links),
        cwd=config.working_dir or "/",
        user=config.user,
        groups_add=tuple(host.group_add),
        hostname=around.hostname,
        domainname=config.domainname,
        tty=config.tty,
        console_size=console_size(host.console_size),
        stdin_open=config.open_stdin,
        stdin_once=config.stdin_once,
        use_init=bool(host.init),
        namespaces=around.namespaces,
        capabilities=bounding,
        no_new_privileges=options.no_new_privileges,
        seccomp=seccomp_program(options.seccomp, bounding, privileged=host.privileged),
        apparmor_profile=apparmor.profile_for(options.apparmor, privileged=host.privileged),
        mounts=mounts(container, around),
        devices=tuple(around.devices),
        masked_paths=() if host.privileged else tuple(host.masked_paths or ()),
        readonly_paths=() if host.privileged else tuple(host.readonly_paths or ()),
        readonly_rootfs=host.readonly_rootfs,
        privileged=host.privileged,
        resources=resources(host, around.devices, privileged=host.privileged),
        rlimits=tuple(Rlimit(name=one.name, soft=one.soft, hard=one.hard) for one in host.ulimits),
        sysctls=_sysctls(host, around),
        oom_score_adj=host.oom_score_adj,
        log=log_target(container, around.directory),
        exit_path=f"{around.directory}/exit",
        run_dir=around.run_dir,
    )


def console_size(size: Sequence[int] | None) -> tuple[int, int]:
    """Height and width of the first terminal; (0, 0) leaves the kernel's."""
    if not size or len(size) != 2:
        return (0, 0)
    return (size[0], size[1])


def environment(
    container: Container, *, tty: bool | None = None, links: Iterable[str] = ()
) -> tuple[str, ...]:
    """The environment of a program in Docker's order; a later entry replaces an earlier in place.

    Args:
        container: whose configuration counts.
        tty: of an exec, which may differ from the container's own.
        links: what its links add.
    """
    config = container.config
    entries = {"PATH": f"PATH={defaults.DEFAULT_PATH}", "HOSTNAME": f"HOSTNAME={config.hostname}"}
    if config.tty if tty is None else tty:
        entries["TERM"] = "TERM=xterm"
    entries |= {entry.partition("=")[0]: entry for entry in links}
    return with_entries(entries, config.env)


def with_entries(entries: Mapping[str, str], added: Iterable[str]) -> tuple[str, ...]:
    """Put `K=V` entries over others; a bare `K` removes the key."""
    result = dict(entries)
    for entry in added:
        key, assigned, _ = entry.partition("=")
        if assigned:
            result[key] = entry
        else:
            result.pop(key, None)
    return tuple(result.values())


def resources(
    host: Limits, devices: Iterable[Device] = (), *, privileged: bool = False
) -> Resources:
    """Translate the limits of a create or update request into those of the kernel's files."""
    return Resources(
        memory=host.memory,
        memory_swap=host.memory_swap,
        memory_reservation=host.memory_reservation,
        memory_swappiness=host.memory_swappiness,
        oom_kill_disable=bool(host.oom_kill_disable),
        nano_cpus=host.nano_cpus,
        cpu_shares=host.cpu_shares,
        cpu_period=host.cpu_period,
        cpu_quota=host.cpu_quota,
        cpu_realtime_period=host.cpu_realtime_period,
        cpu_realtime_runtime=host.cpu_realtime_runtime,
        cpuset_cpus=host.cpuset_cpus,
        cpuset_mems=host.cpuset_mems,
        pids_limit=host.pids_limit or 0,
        blkio_weight=host.blkio_weight,
        read_bps=tuple(map(throttled, host.blkio_device_read_bps)),
        write_bps=tuple(map(throttled, host.blkio_device_write_bps)),
        read_iops=tuple(map(throttled, host.blkio_device_read_iops)),
        write_iops=tuple(map(throttled, host.blkio_device_write_iops)),
        device_rules=(
            *(f"{one.kind} {one.major}:{one.minor} {one.access}" for one in devices),
            *(host.device_cgroup_rules),
        ),
        privileged=privileged,
    )


def mounts(container: Container, around: Surroundings) -> tuple[Mount, ...]:
    """Every mount below the root, parents first; the user's replace ours at the same place."""
    host = container.host
    user = [_mount_of(point) for point in container.mounts]
    user += [
        Mount(kind="tmpfs", source="tmpfs", target=target, options=_tmpfs_options(options))
        for target, options in host.tmpfs.items()
    ]
    taken = {str(PurePosixPath(mount.target)) for mount in user}
    engine = [
        _frozen(mount, host) for mount in _engine_mounts(host, around) if mount.target not in taken
    ]
    if "/dev" in taken:
        engine = [mount for mount in engine if not mount.target.startswith("/dev/")]
    return (*_by_depth(engine), *_by_depth(user))


def _by_depth(group: list[Mount]) -> list[Mount]:
    return sorted(group, key=lambda mount: len(PurePosixPath(mount.target).parts))


def _engine_mounts(host: HostConfig, around: Surroundings) -> list[Mount]:
    bind = ("rbind", "ro", "rprivate") if host.readonly_rootfs else ("rbind", "rprivate")
    sys = defaults.SYS
    if host.privileged:
        sys = replace(sys, options=tuple(word for word in sys.options if word != "ro"))
    found = [defaults.PROC, defaults.DEV, defaults.PTS, sys, defaults.MQUEUE]
    if around.shm_source:
        found.append(
            Mount(
                kind="bind",
                source=around.shm_source,
                target="/dev/shm",  # noqa: S108 - inside
                options=("rbind",),
                namespace=around.shm_namespace,
            )
        )
    elif host.ipc_mode != "none":
        found.append(defaults.shm(host.shm_size))
    found += [
        Mount(kind="bind", source=source, target=target, options=bind)
        for target, source in around.files.items()
    ]
    return found


def _frozen(mount: Mount, host: HostConfig) -> Mount:
    """Make an engine mount read-only under `--read-only`, but for what programs must write."""
    if not host.readonly_rootfs or mount.target in _KEEP_WRITABLE or "ro" in mount.options:
        return mount
    return replace(mount, options=(*mount.options, "ro"))


def _mount_of(point: MountPoint) -> Mount:
    if point.type == "tmpfs":
        return Mount(
            kind="tmpfs",
            source="tmpfs",
            target=point.destination,
            options=_tmpfs_options(point.mode),
        )
    access = () if point.rw else ("ro",)
    return Mount(
        kind="bind",
        source=point.source,
        target=point.destination,
        options=("rbind", *access, point.propagation or "rprivate"),
        within=point.within,
    )


def _tmpfs_options(text: str) -> tuple[str, ...]:
    """Docker's careful defaults under the user's words; `exec` cancels `noexec`, and so on."""
    words = [word for word in text.split(",") if word]
    base = [word for word in ("noexec", "nosuid", "nodev") if word.removeprefix("no") not in words]
    return tuple(dict.fromkeys((*base, *words)))


def _sysctls(host: HostConfig, around: Surroundings) -> Mapping[str, str]:
    wanted = dict(host.sysctls)
    private_net = around.namespaces.net in {"private", "none"}
    for name in wanted:
        if name.startswith("net."):
            if not private_net:
                raise InvalidRequest(f'sysctl "{name}" not allowed in host network namespace')
        elif not name.startswith(("kernel.msg", "kernel.sem", "kernel.shm", "fs.mqueue.")):
            raise InvalidRequest(f"sysctl {name!r} is not in a separate kernel namespace")
        elif around.namespaces.ipc == "host":
            raise InvalidRequest(f'sysctl "{name}" is not allowed in the hosts ipc namespace')
    own = (
        {
            "net.ipv4.ip_unprivileged_port_start": "0",
            "net.ipv4.ping_group_range": "0 2147483647",
        }
        if private_net
        else {}
    )
    if private_net and not around.ipv6:
        own["net.ipv6.conf.all.disable_ipv6"] = "1"
    return own | wanted
