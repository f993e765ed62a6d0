"""The engine's settings, read once from the environment and frozen.

Knows:   where state and sockets live, and the names of what is ours in the kernel.
Refuses: to make folders; `daemon/` does, and checks who owns them.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dockerlab.errors import InvalidRequest

SYSTEM_ROOT = Path("/var/lib/dockerlab")
SYSTEM_RUN = Path("/run/dockerlab")
# A unix socket's path ends at 107 bytes; below the run folder we need "/c/16HEX/pid".
_MAX_RUN_BYTES = 107 - len("/c/0123456789abcdef/pid")
_MAX_LINK_NAME = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What an engine was told before it started.

    Attributes:
        root: state that outlives the machine's boot.
        run: sockets and pid files, gone with the boot.
        instance: tells engines on one machine apart; "" for the machine's own at its usual root.
        bridge: name of the default bridge's link.
        bridge_subnet: "" lets the engine choose one that nothing else on the machine uses.
        log_driver: of containers that name none.
        log_level: of the engine's own log.
        images_only: nothing shall run here, even where it could.
    """

    root: Path
    run: Path
    instance: str = ""
    bridge: str = "dockerlab0"
    bridge_subnet: str = ""
    log_driver: str = "json-file"
    log_level: str = "info"
    images_only: bool = False

    @property
    def socket(self) -> Path:
        """Where clients connect."""
        return self.run / "docker.sock"

    @property
    def pid_file(self) -> Path:
        """Who serves it; for people and for `dockerlab engine stop`."""
        return self.run / "engine.pid"

    @property
    def log_file(self) -> Path:
        """The engine's own log."""
        return self.root / "engine.log"

    @property
    def table(self) -> str:
        """Name of our nftables table."""
        return f"dockerlab_{self.instance}" if self.instance else "dockerlab"


def from_environment(environment: Mapping[str, str] | None = None) -> Settings:
    """Read the settings of this process.

    Raises:
        InvalidRequest: a value that can't work, named.
    """
    env = os.environ if environment is None else environment
    root = Path(env.get("DOCKERLAB_ROOT") or _default_root(env)).absolute()
    # Two engines on one machine may not share a bridge, a rules table or a run folder.
    own = root != _default_root(env)
    instance = hashlib.sha256(os.fsencode(root)).hexdigest()[:8] if own else ""
    run = Path(env.get("DOCKERLAB_RUN") or _default_run(env, instance)).absolute()
    if len(os.fsencode(run)) > _MAX_RUN_BYTES:
        raise InvalidRequest(
            f"DOCKERLAB_RUN is too long for a unix socket: {run}",
            hint=f"Choose a folder of at most {_MAX_RUN_BYTES} bytes, such as /run/lab.",
        )
    bridge = env.get("DOCKERLAB_BRIDGE") or (f"dl{instance}" if instance else "dockerlab0")
    if not 0 < len(bridge) <= _MAX_LINK_NAME or "/" in bridge:
        raise InvalidRequest(
            f"DOCKERLAB_BRIDGE is no name for a link: {bridge}", hint="15 letters at most."
        )
    return Settings(
        root=root,
        run=run,
        instance=instance,
        bridge=bridge,
        bridge_subnet=env.get("DOCKERLAB_BRIDGE_SUBNET", ""),
        log_driver=env.get("DOCKERLAB_LOG_DRIVER") or "json-file",
        log_level=(env.get("DOCKERLAB_LOG_LEVEL") or "info").lower(),
        images_only=env.get("DOCKERLAB_MODE", "") == "images",
    )


def _default_root(env: Mapping[str, str]) -> Path:
    if os.geteuid() == 0:
        return SYSTEM_ROOT
    data = env.get("XDG_DATA_HOME") or str(Path(env.get("HOME") or "/").absolute() / ".local/share")
    return Path(data) / "dockerlab"


def _default_run(env: Mapping[str, str], instance: str) -> Path:
    name = f"dockerlab-{instance}" if instance else "dockerlab"
    if os.geteuid() == 0:
        return SYSTEM_RUN.with_name(name)
    runtime = env.get("XDG_RUNTIME_DIR", "")
    # Logout deletes this folder, and containers shall outlive a logout.
    lingers = Path("/var/lib/systemd/linger", env.get("USER", "")).is_file()
    if runtime and lingers:
        return Path(runtime) / name
    return Path(f"/tmp/{name}-{os.geteuid()}")  # noqa: S108 - made 0700 and checked by daemon/
