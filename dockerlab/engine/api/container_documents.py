"""Draw containers as the API shows them: the long form of inspect, the short one of the list.

Knows:   every field clients read, and which of them depend on the request's version.
Refuses: to look anything up; what the row does not hold comes in as `Seen`.
Source:  API v1.50 ContainerInspectResponse, ContainerSummary; moby daemon/{inspect,list}.go.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dockerlab.engine.model.container import Container
from dockerlab.engine.model.lifecycle import Status
from dockerlab.engine.model.volume import MountPoint
from dockerlab.wire.documents import render
from dockerlab.wire.ports import exposed_port
from dockerlab.wire.times import human_duration, rfc3339

Version = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What is known of a container beside its row, at this moment.

    Attributes:
        endpoints: network name -> the EndpointSettings document of its endpoint.
        ports: "80/tcp" -> the host addresses it is published at; None when only exposed.
        directory: the container's folder in the store.
        health: the document of `State.Health`, None without a health check.
    """

    endpoints: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    ports: Mapping[str, Sequence[Mapping[str, str]] | None] = field(default_factory=dict)
    directory: str = ""
    exec_ids: Sequence[str] = ()
    health: Mapping[str, Any] | None = None
    graph: Mapping[str, str] = field(default_factory=dict)
    image_shown: str = ""


def inspect_document(
    container: Container, seen: Seen, sizes: tuple[int, int] | None = None
) -> dict[str, Any]:
    """Draw the answer of `GET /containers/{id}/json`.

    Args:
        container: the row.
        seen: what surrounds it.
        sizes: (bytes written, bytes of the whole root), when the client asked for sizes.
    """
    config = render(container.config)
    config["Image"] = container.image
    document: dict[str, Any] = {
        "Id": container.id,
        "Created": rfc3339(container.created_ns),
        "Path": container.path,
        "Args": list(container.args),
        "State": state_document(container, seen),
        "Image": container.image_id,
        "ResolvConfPath": f"{seen.directory}/resolv.conf",
        "HostnamePath": f"{seen.directory}/hostname",
        "HostsPath": f"{seen.directory}/hosts",
        "LogPath": _log_path(container, seen),
        "Name": f"/{container.name}",
        "RestartCount": container.state.restart_count,
        "Driver": "overlay2",
        "Platform": container.platform,
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": "",
        "ExecIDs": list(seen.exec_ids) or None,
        "HostConfig": render(container.host),
        "GraphDriver": {"Name": "overlay2", "Data": dict(seen.graph)},
        "Mounts": [mount_document(point) for point in container.mounts],
        "Config": config,
        "NetworkSettings": network_document(container, seen),
    }
    if sizes is not None:
        document["SizeRw"], document["SizeRootFs"] = sizes
    return document


def state_document(container: Container, seen: Seen) -> dict[str, Any]:
    """Draw `State`."""
    state = container.state
    document = {
        "Status": state.status.value,
        "Running": state.status.running,
        "Paused": state.status is Status.PAUSED,
        "Restarting": state.status is Status.RESTARTING,
        "OOMKilled": state.oom_killed,
        "Dead": state.status is Status.DEAD,
        "Pid": state.pid,
        "ExitCode": state.exit_code,
        "Error": state.error,
        "StartedAt": rfc3339(state.started_ns),
        "FinishedAt": rfc3339(state.finished_ns),
    }
    if seen.health is not None:
        document["Health"] = seen.health
    return document


def network_document(container: Container, seen: Seen) -> dict[str, Any]:
    """Draw `NetworkSettings`; the unnamed fields are the default bridge's."""
    bridge = seen.endpoints.get("bridge", {})
    return {
        "Bridge": "",
        "SandboxID": container.id if container.state.pid else "",
        "SandboxKey": f"/proc/{container.state.pid}/ns/net" if container.state.pid else "",
        "Ports": dict(seen.ports),
        "HairpinMode": False,
        "LinkLocalIPv6Address": "",
        "LinkLocalIPv6PrefixLen": 0,
        "SecondaryIPAddresses": None,
        "SecondaryIPv6Addresses": None,
        "EndpointID": bridge.get("EndpointID", ""),
        "Gateway": bridge.get("Gateway", ""),
        "GlobalIPv6Address": bridge.get("GlobalIPv6Address", ""),
        "GlobalIPv6PrefixLen": bridge.get("GlobalIPv6PrefixLen", 0),
        "IPAddress": bridge.get("IPAddress", ""),
        "IPPrefixLen": bridge.get("IPPrefixLen", 0),
        "IPv6Gateway": bridge.get("IPv6Gateway", ""),
        "MacAddress": bridge.get("MacAddress", ""),
        "Networks": dict(seen.endpoints),
    }


def mount_document(point: MountPoint) -> dict[str, Any]:
    """Draw one entry of `Mounts`; only volumes have a name and a driver."""
    document: dict[str, Any] = {"Type": point.type}
    if point.name:
        document["Name"] = point.name
    document |= {"Source": point.source, "Destination": point.destination}
    if point.driver:
        document["Driver"] = point.driver
    return document | {"Mode": point.mode, "RW": point.rw, "Propagation": point.propagation}


def summary_document(
    container: Container, seen: Seen, now_ns: int, sizes: tuple[int, int] | None = None
) -> dict[str, Any]:
    """Draw one entry of `GET /containers/json`."""
    document: dict[str, Any] = {
        "Id": container.id,
        "Names": [f"/{container.name}"],
        "Image": seen.image_shown or container.image,
        "ImageID": container.image_id,
        "Command": _command(container),
        "Created": container.created_ns // 10**9,
        "Ports": _port_list(seen),
        "Labels": dict(container.labels),
        "State": container.state.status.value,
        "Status": status_text(container, seen, now_ns),
        "HostConfig": {"NetworkMode": container.host.network_mode},
        "NetworkSettings": {"Networks": dict(seen.endpoints)},
        "Mounts": [mount_document(point) for point in container.mounts],
    }
    if sizes is not None:
        document["SizeRw"], document["SizeRootFs"] = sizes
    return document


def status_text(container: Container, seen: Seen, now_ns: int) -> str:
    """Say in words how a container fares: `Up 5 minutes (healthy)`, `Exited (0) 2 hours ago`."""
    state = container.state
    up = f"Up {human_duration(now_ns - state.started_ns)}"
    ago = f"{human_duration(now_ns - state.finished_ns)} ago"
    match state.status:
        case Status.RUNNING if seen.health is not None:
            health = seen.health["Status"]
            return f"{up} (health: starting)" if health == "starting" else f"{up} ({health})"
        case Status.RUNNING:
            return up
        case Status.PAUSED:
            return f"{up} (Paused)"
        case Status.RESTARTING:
            return f"Restarting ({state.exit_code}) {ago}"
        case Status.EXITED:
            return f"Exited ({state.exit_code}) {ago}"
        case Status.REMOVING:
            return "Removal In Progress"
        case status:
            return status.value.title()


def _log_path(container: Container, seen: Seen) -> str:
    keeps_file = container.host.log_config.type == "json-file"
    return f"{seen.directory}/{container.id}-json.log" if keeps_file else ""


def _command(container: Container) -> str:
    words = (container.path, *container.args)
    return " ".join(f"'{word}'" if " " in word else word for word in words)


def _port_list(seen: Seen) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for text, bindings in seen.ports.items():
        number, protocol = exposed_port(text)
        if not bindings:
            found.append({"PrivatePort": number, "Type": protocol})
        for binding in bindings or ():
            found.append(
                {
                    "IP": binding["HostIp"],
                    "PrivatePort": number,
                    "PublicPort": int(binding["HostPort"]),
                    "Type": protocol,
                }
            )
    return sorted(found, key=lambda one: (one["PrivatePort"], one["Type"], one.get("IP", "")))
