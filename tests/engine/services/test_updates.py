"""`docker update` decides upon what is asked and what is set already."""

from __future__ import annotations

import pytest

from dockerlab.engine.services.updates import updated
from dockerlab.errors import Conflict, InvalidRequest
from dockerlab.wire.documents import HostConfig, RestartPolicy, UpdateContainer

MIB = 1 << 20


def test_what_is_zero_stays():
    host = HostConfig(memory=64 * MIB, memory_swap=128 * MIB, cpu_shares=512, pids_limit=9)
    made = updated(host, UpdateContainer(memory=32 * MIB), 2)
    assert (made.memory, made.memory_swap, made.cpu_shares, made.pids_limit) == (
        32 * MIB, 128 * MIB, 512, 9,
    )  # fmt: skip


@pytest.mark.parametrize("wish", [-1, 0])
def test_pids_become_unlimited(wish):
    assert updated(HostConfig(pids_limit=9), UpdateContainer(pids_limit=wish), 2).pids_limit == 0


def test_swap_may_be_given_with_the_memory_or_be_unlimited():
    both = UpdateContainer(memory=64 * MIB, memory_swap=64 * MIB)
    assert updated(HostConfig(), both, 2).memory_swap == 64 * MIB
    endless = HostConfig(memory=32 * MIB, memory_swap=-1)
    assert updated(endless, UpdateContainer(memory=64 * MIB), 2).memory == 64 * MIB


def test_a_policy_is_taken_whole():
    policy = RestartPolicy(name="on-failure", maximum_retry_count=3)
    wishes = UpdateContainer(restart_policy=policy)
    assert updated(HostConfig(), wishes, 2).restart_policy == policy


@pytest.mark.parametrize(
    ("host", "wishes", "kind", "words"),
    [
        (HostConfig(), UpdateContainer(memory=64 * MIB), Conflict, "already set memoryswap limit"),
        (HostConfig(), UpdateContainer(memory=1), InvalidRequest, "Minimum memory limit allowed"),
        (
            HostConfig(nano_cpus=10**9),
            UpdateContainer(cpu_quota=20_000),
            Conflict,
            "CPU Quota cannot be updated as NanoCPUs has already been set",
        ),
        (
            HostConfig(cpu_period=20_000),
            UpdateContainer(nano_cpus=10**9),
            Conflict,
            "Nano CPUs cannot be updated as CPU Period has already been set",
        ),
        (
            HostConfig(auto_remove=True),
            UpdateContainer(restart_policy=RestartPolicy(name="always")),
            Conflict,
            "Restart policy cannot be updated because AutoRemove is enabled",
        ),
        (
            HostConfig(),
            UpdateContainer(restart_policy=RestartPolicy(name="foo")),
            InvalidRequest,
            "invalid restart policy",
        ),
    ],
)
def test_refusals(host, wishes, kind, words):
    with pytest.raises(kind) as caught:
        updated(host, wishes, 2)
    assert words in caught.value.message
