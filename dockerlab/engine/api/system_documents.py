"""Draw `docker version` and `docker info`.

Knows:   every field the CLI prints, and which of them need an object where we have nothing.
Refuses: to look at the machine; its facts come as values.
Source:  API v1.50, SystemVersion, SystemInfo; docker CLI cli/command/system/info.go.
"""

from __future__ import annotations

import platform
import time
from typing import Any

from dockerlab.engine.api.reply import ENGINE_VERSION
from dockerlab.engine.model.machine import Machine, Mode
from dockerlab.engine.model.overview import About, Counts
from dockerlab.wire.times import rfc3339

_COMMIT = "dockerlab"
_POOLS = [{"Base": "172.17.0.0/12", "Size": 16}, {"Base": "192.168.0.0/16", "Size": 20}]
# What the kernel offers, by the flag that tells clients, and Docker's warning where it is missing.
_FLAGS = (
    ("MemoryLimit", "memory", "WARNING: No memory limit support"),
    ("SwapLimit", "swap", "WARNING: No swap limit support"),
    ("CpuCfsPeriod", "cpu_cfs", "WARNING: No cpu cfs period support"),
    ("CpuCfsQuota", "cpu_cfs", "WARNING: No cpu cfs quota support"),
    ("CPUShares", "cpu_shares", "WARNING: No cpu shares support"),
    ("CPUSet", "cpuset", "WARNING: No cpuset support"),
    ("PidsLimit", "pids", "WARNING: No pids limit support"),
    ("OomKillDisable", "oom_kill_disable", "WARNING: No oom kill disable support"),
)


def version_document(about: About, api: tuple[int, int], oldest: tuple[int, int]) -> dict[str, Any]:
    """Draw GET /version."""
    machine = about.machine
    details = {
        "ApiVersion": f"{api[0]}.{api[1]}",
        "Arch": machine.go_architecture,
        "BuildTime": about.built,
        "Experimental": "false",
        "GitCommit": _COMMIT,
        "GoVersion": f"none, Python {platform.python_version()}",
        "KernelVersion": machine.kernel,
        "MinAPIVersion": f"{oldest[0]}.{oldest[1]}",
        "Os": "linux",
    }
    flat = {key: value for key, value in details.items() if key != "Experimental"}
    return {
        "Platform": {"Name": f"dockerlab {about.version}"},
        "Components": [{"Name": "Engine", "Version": ENGINE_VERSION, "Details": details}],
        "Version": ENGINE_VERSION,
        **flat,
    }


def info_document(about: About, counts: Counts, version: tuple[int, int]) -> dict[str, Any]:
    """Draw GET /info, as the request's version has it."""
    machine = about.machine
    flags = {flag: feature in machine.cgroup_supports for flag, feature, _ in _FLAGS}
    document: dict[str, Any] = {
        "ID": about.id,
        "Containers": counts.running + counts.paused + counts.stopped,
        "ContainersRunning": counts.running,
        "ContainersPaused": counts.paused,
        "ContainersStopped": counts.stopped,
        "Images": counts.images,
        "Driver": about.storage,
        "DriverStatus": [["Backing Filesystem", "dockerlab"], ["Mode", machine.mode.value]],
        "Plugins": {
            "Volume": ["local"],
            "Network": ["bridge", "host", "null"],
            "Authorization": None,
            "Log": ["json-file", "local", "none"],
        },
        **flags,
        "KernelMemoryTCP": False,
        "IPv4Forwarding": machine.forwarding,
        "Debug": about.debug,
        "NFd": counts.descriptors,
        "NGoroutines": counts.tasks,
        "SystemTime": rfc3339(time.time_ns()),
        "LoggingDriver": about.log_driver,
        "CgroupDriver": "cgroupfs" if machine.cgroup_version else "none",
        "CgroupVersion": str(machine.cgroup_version or 1),
        "NEventsListener": counts.listeners,
        "KernelVersion": machine.kernel,
        "OperatingSystem": machine.operating_system,
        "OSVersion": machine.os_version,
        "OSType": "linux",
        "Architecture": machine.architecture,
        "IndexServerAddress": "https://index.docker.io/v1/",
        "RegistryConfig": _registries(),
        "NCPU": machine.cpus,
        "MemTotal": machine.memory_bytes,
        "GenericResources": None,
        "DockerRootDir": about.root,
        "HttpProxy": "",
        "HttpsProxy": "",
        "NoProxy": "",
        "Name": machine.hostname,
        "Labels": [],
        "ExperimentalBuild": False,
        "ServerVersion": ENGINE_VERSION,
        "Runtimes": {"runc": {"path": "dockerlab"}},
        "DefaultRuntime": "runc",
        "Swarm": _no_swarm(),
        "LiveRestoreEnabled": True,
        "Isolation": "",
        "InitBinary": "docker-init",
        "ContainerdCommit": {"ID": _COMMIT},
        "RuncCommit": {"ID": _COMMIT},
        "InitCommit": {"ID": _COMMIT},
        "SecurityOptions": _security(machine),
        "ProductLicense": f"dockerlab {about.version}: Apache-2.0",
        "Warnings": [*_warnings(machine), *about.warnings] or None,
    }
    if version >= (1, 41):
        document["DefaultAddressPools"] = _POOLS
    if version >= (1, 44):
        document["CDISpecDirs"] = []
    if version < (1, 49):
        for part in ("ContainerdCommit", "RuncCommit", "InitCommit"):
            document[part] = {"ID": _COMMIT, "Expected": _COMMIT}
    if version >= (1, 49):
        document["FirewallBackend"] = {"Driver": "nftables"}
    if version >= (1, 50):
        document["DiscoveredDevices"] = []
    else:
        document["BridgeNfIptables"] = document["BridgeNfIp6tables"] = False
    return document


def _registries() -> dict[str, Any]:
    hub = {"Name": "docker.io", "Mirrors": [], "Secure": True, "Official": True}
    return {
        "AllowNondistributableArtifactsCIDRs": None,
        "AllowNondistributableArtifactsHostnames": None,
        "InsecureRegistryCIDRs": ["::1/128", "127.0.0.0/8"],
        "IndexConfigs": {"docker.io": hub},
        "Mirrors": None,
    }


def _no_swarm() -> dict[str, Any]:
    return {
        "NodeID": "",
        "NodeAddr": "",
        "LocalNodeState": "inactive",
        "ControlAvailable": False,
        "Error": "",
        "RemoteManagers": None,
    }


def _security(machine: Machine) -> list[str]:
    offered = (
        (machine.apparmor, "name=apparmor"),
        (machine.seccomp, "name=seccomp,profile=builtin"),
        (machine.mode is Mode.ROOTLESS, "name=rootless"),
        (machine.cgroup_namespaces, "name=cgroupns"),
    )
    return [text for there, text in offered if there]


def _warnings(machine: Machine) -> list[str]:
    if machine.mode is Mode.IMAGES_ONLY:
        return [f"WARNING: containers can't run here: {machine.no_containers}"]
    warnings = [
        text
        for flag, feature, text in _FLAGS
        if feature not in machine.cgroup_supports
        # The newer version of control groups has no such switch, and Docker does not warn there.
        and not (flag == "OomKillDisable" and machine.cgroup_version != 1)
    ]
    if not machine.forwarding:
        warnings.append("WARNING: IPv4 forwarding is disabled")
    return warnings
