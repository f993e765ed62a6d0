"""Decide what a create request means: request and image become one container, or a clear no.

Knows:   how Docker merges the two, its defaults, its refusals.
Refuses: to touch disk, kernel or clock; the caller passes in what only they know.
Source:  moby runconfig/merge.go, daemon/container.go (verifyContainerSettings).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import msgspec

from dockerlab.engine.linux import capabilities
from dockerlab.engine.linux.signals import signal_number
from dockerlab.engine.model.container import Container
from dockerlab.engine.model.image import Image
from dockerlab.engine.runtime import defaults
from dockerlab.engine.services import host_checks, limits
from dockerlab.errors import Conflict, InvalidRequest, NotFound
from dockerlab.wire.documents import (
    ContainerConfig,
    CreateContainer,
    EndpointSettings,
    Healthcheck,
    HostConfig,
)

_ONE_MILLISECOND_NS = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the request can't know: the new id, the clock, the machine.

    Attributes:
        limits: features of this machine's cgroups.
    """

    id: str
    name: str
    now_ns: int
    host_name: str
    cgroup_version: int
    cpus: int
    limits: frozenset[str] = frozenset()


def decide(request: CreateContainer, image: Image, facts: Facts) -> Container:
    """Merge a request with its image.

    Raises:
        InvalidRequest: something in it can't be, in Docker's words.
    """
    host = _filled_host(request.host_config, facts)
    config = _with_hostname(merged(request.config(), image), host, facts)
    _check_config(config)
    host_checks.check(host, config, facts.cpus)
    path, *args = command_of(config.entrypoint, config.cmd)
    return Container(
        id=facts.id,
        name=facts.name,
        created_ns=facts.now_ns,
        image=request.image,
        image_id=image.id,
        path=path,
        args=tuple(args),
        config=config,
        host=host,
        networks=_networks(request, host),
    )


def check_platform(reference: str, image: Image, wanted: str) -> None:
    """Refuse an image of another platform than the one asked for ("linux/arm64/v8", or "").

    Raises:
        NotFound: so that a client pulls the right one. InvalidRequest: that is no platform.
    """
    if not wanted:
        return
    words = wanted.lower().split("/")
    if len(words) > 3 or not all(words):
        raise InvalidRequest(f'"{wanted}": cannot parse platform specifier: invalid argument')
    document = image.document
    own = [document.os, document.architecture, *([document.variant] if document.variant else [])]
    asked = words if len(words) > 1 else [document.os, *words]
    if asked[: len(own)] != own[: len(asked)] and words != [document.os]:
        raise NotFound(
            f"image with reference {reference} was found but its platform "
            f"({'/'.join(own)}) does not match the specified platform ({wanted})"
        )


def merged(config: ContainerConfig, image: Image) -> ContainerConfig:
    """Fill what the request leaves open from the image's own configuration."""
    base = image.document.config
    entrypoint, cmd = config.entrypoint, config.cmd
    if not entrypoint:
        cmd = cmd or base.cmd
        if entrypoint is None:
            entrypoint = base.entrypoint
    if entrypoint is not None and tuple(entrypoint) == ("",):
        entrypoint = None
    return msgspec.structs.replace(
        config,
        user=config.user or base.user,
        exposed_ports=base.exposed_ports | config.exposed_ports,
        env=_merged_env(config.env, base.env),
        labels=base.labels | config.labels,
        entrypoint=entrypoint,
        cmd=cmd,
        working_dir=config.working_dir or base.working_dir,
        volumes=base.volumes | config.volumes,
        stop_signal=config.stop_signal or base.stop_signal,
        healthcheck=_merged_health(config.healthcheck, image),
        shell=config.shell or base.shell,
    )


def command_of(entrypoint: Sequence[str] | None, cmd: Sequence[str] | None) -> tuple[str, ...]:
    """Join entrypoint and command into argv.

    Raises:
        InvalidRequest: there is neither.
    """
    argv = (*(entrypoint or ()), *(cmd or ()))
    if not argv:
        raise InvalidRequest(
            "no command specified", hint="Name one after the image: docker run IMAGE COMMAND"
        )
    return argv


def _merged_env(own: Sequence[str], inherited: Sequence[str]) -> tuple[str, ...]:
    keys = {entry.partition("=")[0] for entry in own}
    return (*own, *(entry for entry in inherited if entry.partition("=")[0] not in keys))


def _merged_health(own: Healthcheck | None, image: Image) -> Healthcheck | None:
    base = image.document.config.healthcheck
    if base is None:
        return own
    if own is None:
        return Healthcheck(**{name: getattr(base, name) for name in base.__struct_fields__})
    if own.test:
        return own
    inherited = {name: getattr(own, name) or getattr(base, name) for name in base.__struct_fields__}
    return Healthcheck(**inherited)


def _with_hostname(config: ContainerConfig, host: HostConfig, facts: Facts) -> ContainerConfig:
    if host.uts_mode == "host" and config.hostname:
        raise InvalidRequest("conflicting options: hostname and the UTS mode")
    if host.network_mode.startswith("container:") and config.hostname:
        raise InvalidRequest("conflicting options: hostname and the network mode")
    if config.hostname:
        return config
    own = facts.host_name if host.network_mode == "host" else facts.id[:12]
    return msgspec.structs.replace(config, hostname=own)


def _filled_host(host: HostConfig, facts: Facts) -> HostConfig:
    """Docker's defaults, as inspect shows them."""
    mode = host.network_mode
    log = host.log_config
    cgroupns = "host" if facts.cgroup_version == 1 else "private"
    masked, readonly = host.masked_paths, host.readonly_paths
    if not host.privileged:
        masked = defaults.MASKED_PATHS if masked is None else masked
        readonly = defaults.READONLY_PATHS if readonly is None else readonly
    policy = host.restart_policy
    oom_kill_disable = bool(host.oom_kill_disable) if facts.cgroup_version == 1 else None
    return msgspec.structs.replace(
        host,
        network_mode="bridge" if mode in {"", "default"} else mode,
        log_config=msgspec.structs.replace(log, type=log.type or "json-file"),
        restart_policy=msgspec.structs.replace(policy, name=policy.name or "no"),
        ipc_mode=host.ipc_mode or "private",
        security_opt=host.security_opt or _labels(host),
        cgroupns_mode=host.cgroupns_mode or cgroupns,
        shm_size=host.shm_size or defaults.DEFAULT_SHM_BYTES,
        runtime=host.runtime or "runc",
        masked_paths=masked,
        readonly_paths=readonly,
        memory_swap=limits.memory_swap_default(host),
        # Docker drops what it warned about before it looks at the range.
        blkio_weight=host.blkio_weight if "blkio_weight" in facts.limits else 0,
        oom_kill_disable=oom_kill_disable,
        pids_limit=host.pids_limit if (host.pids_limit or 0) > 0 else None,
        cap_add=capabilities.canonical(host.cap_add, "CapAdd"),
        cap_drop=capabilities.canonical(host.cap_drop, "CapDrop"),
    )


def _labels(host: HostConfig) -> tuple[str, ...]:
    open_to_host = host.privileged or "host" in {host.pid_mode, host.ipc_mode}
    return ("label=disable",) if open_to_host else ()


def _check_config(config: ContainerConfig) -> None:
    if config.working_dir and not PurePosixPath(config.working_dir).is_absolute():
        raise InvalidRequest(
            f"the working directory '{config.working_dir}' is invalid, "
            "it needs to be an absolute path"
        )
    for entry in config.env:
        if not entry or entry.startswith("="):
            raise InvalidRequest(f"invalid environment variable: {entry}")
    if config.stop_signal:
        signal_number(config.stop_signal)
    health = config.healthcheck
    if health is not None:
        for name in ("interval", "timeout", "start_period", "start_interval"):
            if 0 < getattr(health, name) < _ONE_MILLISECOND_NS:
                words = name.title().replace("_", "")
                raise InvalidRequest(f"{words} in Healthcheck cannot be less than 1ms")
        if health.retries < 0:
            raise InvalidRequest("Retries in Healthcheck cannot be negative")


def _networks(request: CreateContainer, host: HostConfig) -> Mapping[str, EndpointSettings]:
    """The networks to join: the mode's own, and those the request lists beside it."""
    mode = host.network_mode
    if mode.startswith("container:"):
        return {}
    asked = dict(request.networking_config.endpoints_config)
    if "default" in asked and mode == "bridge":
        asked["bridge"] = asked.pop("default")
    if mode in {"host", "none"} and set(asked) - {mode}:
        raise Conflict(
            "container cannot be connected to host network and others at the same time"
            if mode == "host"
            else "container cannot be connected to multiple networks with one of the networks "
            "in private (none) mode"
        )
    return {mode: asked.pop(mode, EndpointSettings()), **asked}
