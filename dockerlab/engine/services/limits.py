"""Refuse limits that Docker refuses, in its words; fill in those that follow from others.

Knows:   the floors, the ceilings, which limits go together.
Refuses: the cgroup files; `linux/cgroups.py` writes them.
Source:  moby daemon/daemon_unix.go, verifyPlatformContainerResources.
"""

from __future__ import annotations

import re

from dockerlab.errors import InvalidRequest
from dockerlab.wire.documents import HostConfig, Resources

_MEMORY_FLOOR_BYTES = 6 * 1024 * 1024
_NANO = 1_000_000_000
_HIGHEST_CPU = 8191
_RANGE = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?")


def memory_swap_default(host: Resources) -> int:
    """Memory and swap together: twice the memory where only memory is limited."""
    return host.memory_swap or (2 * host.memory if host.memory > 0 else 0)


def check(host: HostConfig, cpus: int, *, update: bool = False) -> None:
    """Refuse what can't be on a machine with this many CPUs; an update may leave things out.

    Raises:
        InvalidRequest: a limit below its floor, above the machine, or against another limit.
    """
    _check_memory(host, update=update)
    _check_cpu(host, cpus)
    if host.blkio_weight and not 10 <= host.blkio_weight <= 1000:
        raise InvalidRequest("Range of blkio weight is from 10 to 1000")
    if not -1000 <= host.oom_score_adj <= 1000:
        raise InvalidRequest(
            f"Invalid value {host.oom_score_adj}, range for oom score adj is [-1000, 1000]"
        )
    if host.shm_size < 0:
        raise InvalidRequest("SHM size can not be less than 0")


def _check_memory(host: Resources, *, update: bool) -> None:
    memory, swap, reservation = host.memory, host.memory_swap, host.memory_reservation
    if 0 < memory < _MEMORY_FLOOR_BYTES:
        raise InvalidRequest("Minimum memory limit allowed is 6MB")
    if swap > 0 and memory == 0 and not update:
        raise InvalidRequest(
            "You should always set the Memory limit when using Memoryswap limit, see usage"
        )
    if 0 < swap < memory:
        raise InvalidRequest(
            "Minimum memoryswap limit should be larger than memory limit, see usage"
        )
    swappiness = host.memory_swappiness
    if swappiness is not None and not -1 <= swappiness <= 100:
        raise InvalidRequest(f"Invalid value: {swappiness}, valid memory swappiness range is 0-100")
    if 0 < reservation < _MEMORY_FLOOR_BYTES:
        raise InvalidRequest("Minimum memory reservation allowed is 6MB")
    if memory and reservation and memory < reservation:
        raise InvalidRequest(
            "Minimum memory limit can not be less than memory reservation limit, see usage"
        )


def _check_cpu(host: Resources, cpus: int) -> None:
    if host.nano_cpus:
        for other, name in ((host.cpu_period, "CPU Period"), (host.cpu_quota, "CPU Quota")):
            if other:
                raise InvalidRequest(
                    f"Conflicting options: Nano CPUs and {name} cannot both be set"
                )
        if not _NANO // 100 <= host.nano_cpus <= cpus * _NANO:
            raise InvalidRequest(
                f"range of CPUs is from 0.01 to {cpus}.00, as there are only {cpus} CPUs available"
            )
    if host.cpu_shares < 0:
        raise InvalidRequest(
            f"invalid CPU shares ({host.cpu_shares}): value must be a positive integer"
        )
    if host.cpu_period and not 1000 <= host.cpu_period <= 1_000_000:
        raise InvalidRequest(
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)"
        )
    if 0 < host.cpu_quota < 1000:
        raise InvalidRequest("CPU cfs quota can not be less than 1ms (i.e. 1000)")
    _check_cpuset(host.cpuset_cpus, cpus)


def _check_cpuset(text: str, cpus: int) -> None:
    wanted = parse_list(text)
    missing = [cpu for cpu in wanted if cpu >= cpus]
    if missing:
        available = f"0-{cpus - 1}" if cpus > 1 else "0"
        raise InvalidRequest(
            f"Requested CPUs are not available - requested {text}, available: {available}"
        )


def parse_list(text: str) -> list[int]:
    """Read a kernel list such as "0-2,5".

    Raises:
        InvalidRequest: it is none.
    """
    numbers: list[int] = []
    for part in filter(None, text.split(",")):
        found = _RANGE.fullmatch(part)
        if found is None or int(found[2] or found[1]) > _HIGHEST_CPU:
            raise InvalidRequest(f"Invalid value {text} for cpuset cpus: invalid format: {text}")
        numbers.extend(range(int(found[1]), int(found[2] or found[1]) + 1))
    return numbers
