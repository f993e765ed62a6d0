"""What a container gets from its host: limits, mounts, ports, isolation.

Knows:   every field of `HostConfig` in API 1.50, with Docker's zero values.
Refuses: to judge or to fill in defaults; `engine/services/containers.py` does.
Source:  Docker Engine API 1.50, Resources, HostConfig, Mount.
"""

from __future__ import annotations

from typing import ClassVar

from msgspec import field

from dockerlab.wire.documents.base import Document


class WeightDevice(Document, frozen=True, kw_only=True):
    """A block device and its relative weight."""

    path: str = ""
    weight: int = 0


class ThrottleDevice(Document, frozen=True, kw_only=True):
    """A block device and its limit, in bytes or operations per second."""

    path: str = ""
    rate: int = 0


class DeviceMapping(Document, frozen=True, kw_only=True):
    """A device node of the host and its name in the container."""

    path_on_host: str = ""
    path_in_container: str = ""
    cgroup_permissions: str = ""


class DeviceRequest(Document, frozen=True, kw_only=True):
    """Devices asked for by capability, such as `--gpus`."""

    driver: str = ""
    count: int = 0
    device_ids: tuple[str, ...] = field(name="DeviceIDs", default=())
    capabilities: tuple[tuple[str, ...], ...] = ()
    options: dict[str, str] = field(default_factory=dict)


class Ulimit(Document, frozen=True, kw_only=True):
    """A resource limit by its name in `ulimit`; -1 is unlimited."""

    name: str = ""
    hard: int = 0
    soft: int = 0


class LogConfig(Document, frozen=True, kw_only=True):
    """The log driver and its options."""

    type: str = ""
    config: dict[str, str] = field(default_factory=dict)


class RestartPolicy(Document, frozen=True, kw_only=True):
    """When the engine starts a container again."""

    name: str = ""
    maximum_retry_count: int = 0


class PortBinding(Document, frozen=True, kw_only=True):
    """Where a container's port appears on the host; an empty or "0" port is a random one."""

    host_ip: str = ""
    host_port: str = ""


class BindOptions(Document, frozen=True, kw_only=True):
    """Options of a mount of type bind."""

    omit_empty: ClassVar[frozenset[str]] = frozenset(
        {
            "propagation",
            "non_recursive",
            "create_mountpoint",
            "read_only_non_recursive",
            "read_only_force_recursive",
        }
    )

    propagation: str = ""
    non_recursive: bool = False
    create_mountpoint: bool = False
    read_only_non_recursive: bool = False
    read_only_force_recursive: bool = False


class DriverConfig(Document, frozen=True, kw_only=True):
    """The driver of a volume made for a mount."""

    omit_empty: ClassVar[frozenset[str]] = frozenset({"name", "options"})

    name: str = ""
    options: dict[str, str] = field(default_factory=dict)


class VolumeOptions(Document, frozen=True, kw_only=True):
    """Options of a mount of type volume."""

    omit_empty: ClassVar[frozenset[str]] = frozenset(
        {"no_copy", "labels", "subpath", "driver_config"}
    )

    no_copy: bool = False
    labels: dict[str, str] = field(default_factory=dict)
    subpath: str = ""
    driver_config: DriverConfig | None = None


class ImageOptions(Document, frozen=True, kw_only=True):
    """Options of a mount of type image."""

    omit_empty: ClassVar[frozenset[str]] = frozenset({"subpath"})

    subpath: str = ""


class TmpfsOptions(Document, frozen=True, kw_only=True):
    """Options of a mount of type tmpfs; `mode` as a number, not in octal text."""

    omit_empty: ClassVar[frozenset[str]] = frozenset({"size_bytes", "mode", "options"})

    size_bytes: int = 0
    mode: int = 0
    options: tuple[tuple[str, ...], ...] = ()


class MountDocument(Document, frozen=True, kw_only=True):
    """A mount as `--mount` asks for it; `HostConfig.Mounts`."""

    omit_empty: ClassVar[frozenset[str]] = frozenset(
        {
            "type",
            "source",
            "target",
            "read_only",
            "consistency",
            "bind_options",
            "volume_options",
            "image_options",
            "tmpfs_options",
        }
    )

    type: str = ""
    source: str = ""
    target: str = ""
    read_only: bool = False
    consistency: str = ""
    bind_options: BindOptions | None = None
    volume_options: VolumeOptions | None = None
    image_options: ImageOptions | None = None
    tmpfs_options: TmpfsOptions | None = None


class Resources(Document, frozen=True, kw_only=True):
    """The limits of a container; what `docker update` may change.

    None in `memory_swappiness`, `oom_kill_disable` and `pids_limit` means that nothing was said.
    """

    null_empty: ClassVar[frozenset[str]] = frozenset(
        {"devices", "device_cgroup_rules", "device_requests", "ulimits"}
    )

    cpu_shares: int = 0
    memory: int = 0
    nano_cpus: int = 0
    cgroup_parent: str = ""
    blkio_weight: int = 0
    blkio_weight_device: tuple[WeightDevice, ...] = ()
    blkio_device_read_bps: tuple[ThrottleDevice, ...] = ()
    blkio_device_write_bps: tuple[ThrottleDevice, ...] = ()
    blkio_device_read_iops: tuple[ThrottleDevice, ...] = field(
        name="BlkioDeviceReadIOps", default=()
    )
    blkio_device_write_iops: tuple[ThrottleDevice, ...] = field(
        name="BlkioDeviceWriteIOps", default=()
    )
    cpu_period: int = 0
    cpu_quota: int = 0
    cpu_realtime_period: int = 0
    cpu_realtime_runtime: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    devices: tuple[DeviceMapping, ...] = ()
    device_cgroup_rules: tuple[str, ...] = ()
    device_requests: tuple[DeviceRequest, ...] = ()
    kernel_memory: int = 0
    kernel_memory_tcp: int = field(name="KernelMemoryTCP", default=0)
    memory_reservation: int = 0
    memory_swap: int = 0
    memory_swappiness: int | None = None
    oom_kill_disable: bool | None = None
    init: bool | None = None
    pids_limit: int | None = None
    ulimits: tuple[Ulimit, ...] = ()
    cpu_count: int = 0
    cpu_percent: int = 0
    io_maximum_iops: int = field(name="IOMaximumIOps", default=0)
    io_maximum_bandwidth: int = field(name="IOMaximumBandwidth", default=0)


class HostConfig(Resources, frozen=True, kw_only=True):
    """Everything about a container that depends on its host.

    `masked_paths` and `readonly_paths` are None when nothing was said (Docker's lists apply) and
    () when the client wants none.
    """

    omit_empty: ClassVar[frozenset[str]] = frozenset(
        {
            "annotations",
            "init",
            "kernel_memory",
            "kernel_memory_tcp",
            "mounts",
            "storage_opt",
            "sysctls",
            "tmpfs",
            "runtime",
        }
    )
    null_empty: ClassVar[frozenset[str]] = frozenset(
        {
            "binds",
            "cap_add",
            "cap_drop",
            "device_cgroup_rules",
            "device_requests",
            "extra_hosts",
            "group_add",
            "links",
            "security_opt",
            "ulimits",
            "volumes_from",
        }
    )
    text_or_list: ClassVar[frozenset[str]] = frozenset({"cap_add", "cap_drop"})

    binds: tuple[str, ...] = ()
    container_id_file: str = field(name="ContainerIDFile", default="")
    log_config: LogConfig = LogConfig()
    network_mode: str = ""
    port_bindings: dict[str, tuple[PortBinding, ...]] = field(default_factory=dict)
    restart_policy: RestartPolicy = RestartPolicy()
    auto_remove: bool = False
    volume_driver: str = ""
    volumes_from: tuple[str, ...] = ()
    console_size: tuple[int, int] = (0, 0)
    annotations: dict[str, str] = field(default_factory=dict)
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    cgroupns_mode: str = ""
    dns: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    extra_hosts: tuple[str, ...] = ()
    group_add: tuple[str, ...] = ()
    ipc_mode: str = ""
    cgroup: str = ""
    links: tuple[str, ...] = ()
    oom_score_adj: int = 0
    pid_mode: str = ""
    privileged: bool = False
    publish_all_ports: bool = False
    readonly_rootfs: bool = False
    security_opt: tuple[str, ...] = ()
    storage_opt: dict[str, str] = field(default_factory=dict)
    tmpfs: dict[str, str] = field(default_factory=dict)
    uts_mode: str = field(name="UTSMode", default="")
    userns_mode: str = ""
    shm_size: int = 0
    sysctls: dict[str, str] = field(default_factory=dict)
    runtime: str = ""
    isolation: str = ""
    mounts: tuple[MountDocument, ...] = ()
    masked_paths: tuple[str, ...] | None = None
    readonly_paths: tuple[str, ...] | None = None
