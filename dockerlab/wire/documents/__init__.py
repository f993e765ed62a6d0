"""The API's documents: Docker's field names around values with Python's names.

Knows:   which noun lives in which file; import every name from here.
Refuses: behaviour; a document is what was said, not what it means.
Source:  Docker Engine API 1.50, definitions.
"""

from __future__ import annotations

from dockerlab.wire.documents.base import Document, render
from dockerlab.wire.documents.containers import (
    ContainerConfig,
    CreateContainer,
    ExecConfig,
    ExecProcess,
    ExecStart,
    Healthcheck,
    UpdateContainer,
)
from dockerlab.wire.documents.host import (
    BindOptions,
    DeviceMapping,
    DeviceRequest,
    DriverConfig,
    HostConfig,
    ImageOptions,
    LogConfig,
    MountDocument,
    PortBinding,
    Resources,
    RestartPolicy,
    ThrottleDevice,
    TmpfsOptions,
    Ulimit,
    VolumeOptions,
    WeightDevice,
)
from dockerlab.wire.documents.networks import (
    IPAM,
    ConfigReference,
    EndpointIPAMConfig,
    EndpointSettings,
    IPAMConfig,
    NetworkConnect,
    NetworkCreate,
    NetworkDisconnect,
    NetworkingConfig,
)
from dockerlab.wire.documents.others import AuthConfig, Platform, VolumeCreate

__all__ = [
    "IPAM",
    "AuthConfig",
    "BindOptions",
    "ConfigReference",
    "ContainerConfig",
    "CreateContainer",
    "DeviceMapping",
    "DeviceRequest",
    "Document",
    "DriverConfig",
    "EndpointIPAMConfig",
    "EndpointSettings",
    "ExecConfig",
    "ExecProcess",
    "ExecStart",
    "Healthcheck",
    "HostConfig",
    "IPAMConfig",
    "ImageOptions",
    "LogConfig",
    "MountDocument",
    "NetworkConnect",
    "NetworkCreate",
    "NetworkDisconnect",
    "NetworkingConfig",
    "Platform",
    "PortBinding",
    "Resources",
    "RestartPolicy",
    "ThrottleDevice",
    "TmpfsOptions",
    "Ulimit",
    "UpdateContainer",
    "VolumeCreate",
    "VolumeOptions",
    "WeightDevice",
    "render",
]
