"""Draw containers as the API shows them: the long form of inspect, the short one of the list.

Knows:   every field clients read, and which of them depend on the request's version.
Refuses: to look anything up; what the row does not hold comes in as `Seen`.
Source:  API v1.50 ContainerInspectResponse, ContainerSummary; moby daemon/{inspect,list}.go.
"""

from __future__ import annotations

from typing import Any

from dockerlab.engine.model.container import Container
from dockerlab.engine.model.lifecycle import Status
from dockerlab.engine.model.seen import Seen
from dockerlab.engine.model.volume import MountPoint
from dockerlab.wire.documents import EndpointSettings, render
from dockerlab.wire.ports import exposed_port
from dockerlab.wire.times import human_duration, rfc3339

NEWEST = (1, 50)
_DNS_NAMES_SINCE = (1, 44)
_NO_SHORT_ID_SINCE = (1, 45)
_ANNOTATIONS_LISTED_SINCE = (1, 46)
_GATEWAY_PRIORITY_SINCE = (1, 48)
_PREDEFINED = frozenset({"bridge", "host", "none"})


def inspect_document(
    container: Container,
    seen: Seen,
    sizes: tuple[int, int] | None = None,
    *,
    version: tuple[int, int] = NEWEST,
) -> dict[str, Any]:
    """Draw the answer of `GET /containers/{id}/json`.

    Args:
        container: the row.
        seen: what surrounds it.
        sizes: (bytes written, bytes of the whole root), when the client asked for sizes.
        version: of the API that the client speaks.
    """
    prepared = container.state.started_ns > 0
    config = render(container.config)
    config["Image"] = container.image
    document: dict[str, Any] = {
        "Id": container.id,
        "Created": rfc3339(container.created_ns),
        "Path": container.path,
        "Args": list(container.args),
        "State": state_document(container, seen),
        "Image": container.image_id,
        # Written at the first start.
        "ResolvConfPath": f"{seen.directory}/resolv.conf" if prepared else "",
        "HostnamePath": f"{seen.directory}/hostname" if prepared else "",
        "HostsPath": f"{seen.directory}/hosts" if prepared else "",
        "LogPath": _log_path(container, seen) if prepared else "",
        "Name": f"/{container.name}",
        "RestartCount": container.state.restart_count,
        "Driver": "overlay2",
        "Platform": container.platform,
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": "",
        "ExecIDs": list(seen.exec_ids) or None,
        "HostConfig": render(container.host) | {"Links": list(seen.links) or None},
        "GraphDriver": {"Name": "overlay2", "Data": dict(seen.graph)},
        "Mounts": [mount_document(point) for point in container.mounts],
        "Config": config,
        "NetworkSettings": network_document(container, seen, version),
    }
    if sizes is not None:
        document["SizeRw"], document["SizeRootFs"] = sizes
    return document


def state_document(container: Container, seen: Seen) -> dict[str, Any]:
    """Draw `State`."""
    state = container.state
    document: dict[str, Any] = {
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


def network_document(
    container: Container, seen: Seen, version: tuple[int, int] = NEWEST
) -> dict[str, Any]:
    """Draw `NetworkSettings`; the unnamed fields are the default bridge's."""
    bridge = seen.endpoints.get("bridge", EndpointSettings())
    return {
        "Bridge": "",
        "SandboxID": container.id if container.state.pid else "",
        "SandboxKey": f"/proc/{container.state.pid}/ns/net" if container.state.pid else "",
        "Ports": render(dict(seen.ports)),
        "HairpinMode": False,
        "LinkLocalIPv6Address": "",
        "LinkLocalIPv6PrefixLen": 0,
        "SecondaryIPAddresses": None,
        "SecondaryIPv6Addresses": None,
        "EndpointID": bridge.endpoint_id,
        "Gateway": bridge.gateway,
        "GlobalIPv6Address": bridge.global_ipv6_address,
        "GlobalIPv6PrefixLen": bridge.global_ipv6_prefix_len,
        "IPAddress": bridge.ip_address,
        "IPPrefixLen": bridge.ip_prefix_len,
        "IPv6Gateway": bridge.ipv6_gateway,
        "MacAddress": bridge.mac_address,
        "Networks": _endpoints(container, seen, version),
    }


def _endpoints(container: Container, seen: Seen, version: tuple[int, int]) -> dict[str, Any]:
    documents: dict[str, Any] = render(dict(seen.endpoints))
    for name, document in documents.items():
        if version < _DNS_NAMES_SINCE:
            document.pop("DNSNames", None)
        if version < _GATEWAY_PRIORITY_SINCE:
            document.pop("GwPriority", None)
        if version < _NO_SHORT_ID_SINCE and name not in _PREDEFINED and container.state.pid:
            document["Aliases"] = [*(document.get("Aliases") or ()), container.short_id]
    return documents


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
    container: Container,
    seen: Seen,
    now_ns: int,
    sizes: tuple[int, int] | None = None,
    *,
    version: tuple[int, int] = NEWEST,
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
        "NetworkSettings": {"Networks": _endpoints(container, seen, version)},
        "Mounts": [mount_document(point) for point in container.mounts],
    }
    if container.host.annotations and version >= _ANNOTATIONS_LISTED_SINCE:
        document["HostConfig"]["Annotations"] = dict(container.host.annotations)
    if sizes is not None:
        # A list leaves out what is zero, an inspect does not.
        named = zip(("SizeRw", "SizeRootFs"), sizes, strict=True)
        document |= {name: size for name, size in named if size}
    return document


def status_text(  # noqa: PLR0911 - one answer for each status
    container: Container, seen: Seen, now_ns: int
) -> str:
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
        found += [
            {
                "IP": binding.host_ip,
                "PrivatePort": number,
                "PublicPort": int(binding.host_port),
                "Type": protocol,
            }
            for binding in bindings or ()
        ]
    return sorted(found, key=lambda one: (one["PrivatePort"], one["Type"], one.get("IP", "")))
