"""Refuse what a create request asks of its host and Docker would refuse, in its words.

Knows:   the modes, options and names that HostConfig may hold on Linux.
Refuses: to touch anything; limits have a file of their own (`limits.py`), mounts too.
Source:  moby daemon/daemon_unix.go (verifyPlatformContainerSettings), runconfig/hostconfig_unix.go.
"""

from __future__ import annotations

from dockerlab.engine.runtime.security import security_options
from dockerlab.engine.services import limits, restarts
from dockerlab.errors import InvalidRequest
from dockerlab.wire.documents import ContainerConfig, HostConfig

# Options every driver takes; the engine needs neither, as its shims write without delay.
_ANY_DRIVER = frozenset({"mode", "max-buffer-size"})
_ROTATION = _ANY_DRIVER | {"max-size", "max-file", "compress"}
_LOG_OPTIONS = {
    "json-file": _ROTATION | {"labels", "labels-regex", "env", "env-regex", "tag"},
    "local": _ROTATION,
    "none": None,
}
_IPC_MODES = ("host", "private", "shareable", "none", "")
_RUNTIMES = ("", "runc", "io.containerd.runc.v2")


def check(host: HostConfig, config: ContainerConfig, cpus: int) -> None:
    """Refuse what can't be, on a machine with this many CPUs.

    Raises:
        InvalidRequest: in Docker's words.
    """
    restarts.check_policy(host.restart_policy, auto_remove=host.auto_remove)
    limits.check(host, cpus)
    _check_log(host)
    _check_modes(host)
    security_options(host.security_opt)
    if host.runtime not in _RUNTIMES:
        raise InvalidRequest(f"unknown or invalid runtime name: {host.runtime}")
    if host.isolation not in {"", "default"}:
        raise InvalidRequest(
            f"invalid isolation: \"{host.isolation}\" - linux only supports 'default'"
        )
    if host.storage_opt:
        raise InvalidRequest(
            "--storage-opt is supported only for overlay over xfs with 'pquota' mount option",
            hint="This engine can't limit the size of a container's own layer.",
        )
    if host.port_bindings and host.network_mode.startswith("container:"):
        raise InvalidRequest(
            "conflicting options: port publishing and the container type network mode"
        )
    if config.mac_address and host.network_mode in {"host", "none"}:
        raise InvalidRequest("conflicting options: mac-address and the network mode")


def warnings(host: HostConfig) -> list[str]:
    """What is accepted and has no effect."""
    if host.network_mode == "host" and host.port_bindings:
        return ["Published ports are discarded when using host network mode"]
    return []


def _check_log(host: HostConfig) -> None:
    driver, options = host.log_config.type, host.log_config.config
    if driver not in _LOG_OPTIONS:
        raise InvalidRequest(
            f'error looking up logging plugin {driver}: plugin "{driver}" not found',
            hint=f"This engine writes {', '.join(_LOG_OPTIONS)}.",
        )
    known = _LOG_OPTIONS[driver]
    for option in options:
        if known is not None and option not in known and not option.startswith("cache-"):
            raise InvalidRequest(
                f"unknown log opt '{option}' for {driver} log driver",
                hint="Known here: " + ", ".join(sorted(known)),
            )


def _check_modes(host: HostConfig) -> None:
    if host.ipc_mode not in _IPC_MODES and not _of_container(host.ipc_mode):
        raise InvalidRequest(f"invalid IPC mode: {host.ipc_mode}")
    if host.pid_mode not in {"", "host"} and not _of_container(host.pid_mode):
        raise InvalidRequest(f"invalid PID mode: {host.pid_mode}")
    if host.uts_mode not in {"", "host"}:
        raise InvalidRequest(f"invalid UTS mode: {host.uts_mode}")
    if host.userns_mode not in {"", "host"}:
        raise InvalidRequest(f"invalid user namespace mode: {host.userns_mode}")
    if host.cgroupns_mode not in {"", "host", "private"}:
        raise InvalidRequest(f"invalid cgroup namespace mode: {host.cgroupns_mode}")


def _of_container(mode: str) -> bool:
    return mode.startswith("container:")
