"""Find the host's device nodes that a container names.

Knows:   a directory means every node below it; which parts of /dev a privileged container gets.
Refuses: to make nodes; `runtime/init.py` does, inside the container.
Source:  moby daemon/pkg/oci/devices_linux.go; opencontainers/cgroups devices (HostDevices).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator

from dockerlab.engine.model.limits import ThrottleDevice
from dockerlab.engine.runtime.spec import Device
from dockerlab.errors import InvalidRequest
from dockerlab.wire import documents
from dockerlab.wire.documents import DeviceMapping

_NOT_FOR_CONTAINERS = frozenset(
    {"pts", "shm", "fd", "mqueue", "console", ".lxc", ".lxd-mounts", ".udev"}
)


def every_device() -> tuple[Device, ...]:
    """List all nodes of the host's /dev, for a privileged container."""
    return tuple(_below("/dev", "/dev", "rwm"))


def named_devices(mappings: Iterable[DeviceMapping]) -> tuple[Device, ...]:
    """List the nodes of `--device` words.

    Raises:
        InvalidRequest: one is no device.
    """
    return tuple(device for mapping in mappings for device in _named(mapping))


def throttled(wish: documents.ThrottleDevice) -> ThrottleDevice:
    """Find the device of a `--device-read-bps` and its relatives.

    Raises:
        InvalidRequest: there is no such device.
    """
    try:
        status = os.stat(wish.path)
    except OSError as error:
        why = (error.strerror or "").lower()
        raise InvalidRequest(f"stat {wish.path}: {why}") from None
    return ThrottleDevice(
        major=os.major(status.st_rdev), minor=os.minor(status.st_rdev), rate=wish.rate
    )


def _named(mapping: DeviceMapping) -> list[Device]:
    host = os.path.realpath(mapping.path_on_host)
    inside = mapping.path_in_container or mapping.path_on_host
    access = mapping.cgroup_permissions or "rwm"
    if os.path.isdir(host):
        found = list(_below(host, inside, access))
    else:
        found = [one for one in (_node(host, inside, access),) if one is not None]
    if not found:
        raise InvalidRequest(
            f"error gathering device information while adding custom device "
            f'"{mapping.path_on_host}": no such file or directory'
        )
    return found


def _below(folder: str, inside: str, access: str) -> Iterator[Device]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        if entry.name in _NOT_FOR_CONTAINERS:
            continue
        target = f"{inside}/{entry.name}"
        if entry.is_dir(follow_symlinks=False):
            yield from _below(entry.path, target, access)
        elif (node := _node(entry.path, target, access)) is not None:
            yield node


def _node(path: str, inside: str, access: str) -> Device | None:
    try:
        status = os.lstat(path)
    except OSError:
        return None
    if stat.S_ISCHR(status.st_mode):
        kind = "c"
    elif stat.S_ISBLK(status.st_mode):
        kind = "b"
    else:
        return None
    return Device(
        path=inside,
        kind="c" if kind == "c" else "b",
        major=os.major(status.st_rdev),
        minor=os.minor(status.st_rdev),
        mode=stat.S_IMODE(status.st_mode),
        access=access,
    )
