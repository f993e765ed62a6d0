"""A container as clients ask for it: its program, and the requests around it.

Knows:   the fields of `Config`, of create, update and exec, with Docker's zero values.
Refuses: to judge values; `engine/services/` checks them in Docker's words.
Source:  reference: Docker Engine API 1.50, ContainerConfig, HealthConfig, ContainerExec.
"""

from __future__ import annotations

from typing import Any, ClassVar

from msgspec import field

from dockerlab.wire.documents.base import Document
from dockerlab.wire.documents.host import HostConfig, Resources, RestartPolicy
from dockerlab.wire.documents.networks import NetworkingConfig


class Healthcheck(Document, frozen=True, kw_only=True):
    """How the engine asks a container whether it is well; durations in nanoseconds, 0 inherits."""

    omit_empty: ClassVar[frozenset[str]] = frozenset(
        {"test", "interval", "timeout", "start_period", "start_interval", "retries"}
    )

    test: tuple[str, ...] = ()
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0


class ContainerConfig(Document, frozen=True, kw_only=True):
    """What runs, independent of the host: `Config` of an inspect, and of an image.

    `cmd` and `entrypoint` are None when nothing was said (the image decides) and () when the
    client said "nothing".
    """

    omit_empty: ClassVar[frozenset[str]] = frozenset(
        {
            "exposed_ports",
            "healthcheck",
            "args_escaped",
            "network_disabled",
            "mac_address",
            "stop_signal",
            "stop_timeout",
            "shell",
        }
    )
    null_empty: ClassVar[frozenset[str]] = frozenset({"volumes", "on_build"})
    text_or_list: ClassVar[frozenset[str]] = frozenset({"cmd", "entrypoint", "shell"})

    hostname: str = ""
    domainname: str = ""
    user: str = ""
    attach_stdin: bool = False
    attach_stdout: bool = False
    attach_stderr: bool = False
    exposed_ports: dict[str, dict[str, Any]] = field(default_factory=dict)
    tty: bool = False
    open_stdin: bool = False
    stdin_once: bool = False
    env: tuple[str, ...] = ()
    cmd: tuple[str, ...] | None = None
    healthcheck: Healthcheck | None = None
    args_escaped: bool = False
    image: str = ""
    volumes: dict[str, dict[str, Any]] = field(default_factory=dict)
    working_dir: str = ""
    entrypoint: tuple[str, ...] | None = None
    network_disabled: bool = False
    mac_address: str = ""
    on_build: tuple[str, ...] = ()
    labels: dict[str, str] = field(default_factory=dict)
    stop_signal: str = ""
    stop_timeout: int | None = None
    shell: tuple[str, ...] | None = None


class CreateContainer(ContainerConfig, frozen=True, kw_only=True):
    """Body of POST /containers/create: the configuration with two more parts beside its fields."""

    host_config: HostConfig = HostConfig()
    networking_config: NetworkingConfig = NetworkingConfig()

    def config(self) -> ContainerConfig:
        """The configuration alone, as it is stored and inspected."""
        return ContainerConfig(
            **{name: getattr(self, name) for name in ContainerConfig.__struct_fields__}
        )


class UpdateContainer(Resources, frozen=True, kw_only=True):
    """Body of POST /containers/{id}/update."""

    restart_policy: RestartPolicy | None = None


class ExecConfig(Document, frozen=True, kw_only=True):
    """Body of POST /containers/{id}/exec."""

    text_or_list: ClassVar[frozenset[str]] = frozenset({"cmd"})

    user: str = ""
    privileged: bool = False
    tty: bool = False
    console_size: tuple[int, int] | None = None
    attach_stdin: bool = False
    attach_stderr: bool = False
    attach_stdout: bool = False
    detach: bool = False
    detach_keys: str = ""
    env: tuple[str, ...] = ()
    working_dir: str = ""
    cmd: tuple[str, ...] = ()


class ExecStart(Document, frozen=True, kw_only=True):
    """Body of POST /exec/{id}/start."""

    detach: bool = False
    tty: bool = False
    console_size: tuple[int, int] | None = None


class ExecProcess(Document, frozen=True, kw_only=True):
    """`ProcessConfig` of an exec's inspect; its keys are in lower case."""

    tty: bool = field(name="tty", default=False)
    entrypoint: str = field(name="entrypoint", default="")
    arguments: tuple[str, ...] = field(name="arguments", default=())
    privileged: bool = field(name="privileged", default=False)
    user: str = field(name="user", default="")
