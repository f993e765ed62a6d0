"""Decide what `docker update` makes of a container's limits and restart policy.

Knows:   which limits stand in each other's way when only some of them change.
Refuses: the cgroup and the row; `containers.py` applies what is decided here.
Source:  moby daemon/container/container_unix.go (UpdateContainer), daemon/update.go.
"""

from __future__ import annotations

import msgspec

from dockerlab.engine.services import limits, restarts
from dockerlab.errors import Conflict, InvalidRequest
from dockerlab.wire.documents import HostConfig, Resources, UpdateContainer

_CPU_TIME = (("cpu_period", "CPU Period"), ("cpu_quota", "CPU Quota"))


def updated(host: HostConfig, wishes: UpdateContainer, cpus: int) -> HostConfig:
    """Give what a container is limited to afterwards.

    Args:
        host: as it is now.
        wishes: what changes; what is zero stays.
        cpus: of this machine.

    Raises:
        InvalidRequest: a limit that can't be. Conflict: it can't be beside what is set already.
    """
    asked = {name: getattr(wishes, name) for name in Resources.__struct_fields__}
    limits.check(HostConfig(**asked), cpus, update=True)
    _check_cpu(host, wishes)
    if 0 <= host.memory_swap < wishes.memory and wishes.memory_swap == 0:
        raise Conflict(
            "Memory limit should be smaller than already set memoryswap limit, "
            "update the memoryswap at the same time",
            hint="Give --memory-swap, too; -1 for as much swap as there is.",
        )
    changes = {name: value for name, value in asked.items() if value}
    if wishes.pids_limit is not None:
        changes["pids_limit"] = max(0, wishes.pids_limit)
    policy = wishes.restart_policy
    if policy is not None and policy.name:
        restarts.check_policy(policy, auto_remove=False)
        if host.auto_remove and policy.name != "no":
            raise Conflict(
                "Restart policy cannot be updated because AutoRemove is enabled for the container"
            )
        changes["restart_policy"] = policy
    return msgspec.structs.replace(host, **changes)


def _check_cpu(host: HostConfig, wishes: UpdateContainer) -> None:
    for field, name in _CPU_TIME:
        if wishes.nano_cpus and getattr(host, field):
            raise Conflict(
                f"Conflicting options: Nano CPUs cannot be updated as {name} has already been set"
            )
        if getattr(wishes, field) and host.nano_cpus:
            raise Conflict(
                f"Conflicting options: {name} cannot be updated as NanoCPUs has already been set"
            )


def refused(container_id: str, error: Conflict | InvalidRequest) -> Conflict:
    """Say which container could not be updated, as Docker does."""
    return Conflict(f"Cannot update container {container_id}: {error.message}", hint=error.hint)
