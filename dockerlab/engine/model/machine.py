"""The machine under the engine, in words that `docker info` shows.

Knows:   kernel, processor, memory, and which isolation it has to offer.
Refuses: to look; `engine/linux/machine.py` does, once.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Mode(StrEnum):
    """How much of the engine works here."""

    FULL = "full"
    ROOTLESS = "rootless"
    IMAGES_ONLY = "images only"


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What was found at the engine's start.

    Attributes:
        architecture: as uname says it: x86_64, aarch64.
        cgroup_version: 1, 2, or 0 for none to use.
        cgroup_supports: names from `linux.cgroups.FEATURES`.
        no_containers: why containers can't run here, in doctor's words; "" when they can.
    """

    kernel: str
    architecture: str
    operating_system: str
    os_version: str
    hostname: str
    cpus: int
    memory_bytes: int
    cgroup_version: int
    cgroup_supports: frozenset[str] = frozenset()
    seccomp: bool = False
    apparmor: bool = False
    cgroup_namespaces: bool = False
    forwarding: bool = False
    mode: Mode = Mode.FULL
    no_containers: str = ""

    @property
    def go_architecture(self) -> str:
        """The architecture as images and /version name it."""
        return {"x86_64": "amd64", "aarch64": "arm64"}.get(self.architecture, self.architecture)
