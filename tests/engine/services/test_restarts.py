"""Restart policies: who starts again, after how long."""

from __future__ import annotations

from itertools import pairwise

import pytest

from dockerlab.engine.model.container import Container, State
from dockerlab.engine.model.lifecycle import Move, Status, after
from dockerlab.engine.services import restarts
from dockerlab.errors import AlreadyDone, Conflict, DockerlabError, InvalidRequest
from dockerlab.wire.documents import ContainerConfig, HostConfig, RestartPolicy

SECOND_NS = 10**9


def container(policy: str, *, limit: int = 0, **state: object) -> Container:
    return Container(
        id="a" * 64, name="web", created_ns=1, image="web", image_id="i", path="x", args=(),
        config=ContainerConfig(),
        host=HostConfig(restart_policy=RestartPolicy(name=policy, maximum_retry_count=limit)),
        state=State(status=Status.RUNNING, started_ns=1, **state),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("policy", "code", "state", "again"),
    [
        ("no", 1, {}, False),
        ("always", 0, {}, True),
        ("always", 0, {"stopped_by_user": True}, False),
        ("unless-stopped", 0, {}, True),
        ("on-failure", 0, {}, False),
        ("on-failure", 1, {}, True),
        ("on-failure", 1, {"restart_count": 3}, True),
    ],
)
def test_policies(policy, code, state, again):
    assert restarts.wants_restart(container(policy, **state), code) is again


def test_on_failure_counts():
    assert restarts.wants_restart(container("on-failure", limit=2, restart_count=1), 1)
    assert not restarts.wants_restart(container("on-failure", limit=2, restart_count=2), 1)


def test_a_manual_stop_outlives_the_engine_only_for_unless_stopped():
    assert restarts.wants_start_with_engine(container("always", stopped_by_user=True))
    assert not restarts.wants_start_with_engine(container("unless-stopped", stopped_by_user=True))


def test_delays_double_up_to_a_minute_and_begin_anew_after_a_steady_run():
    delays = [restarts.next_delay_ms(0, 0)]
    while delays[-1] < restarts.LONGEST_DELAY_MS:
        delays.append(restarts.next_delay_ms(delays[-1], SECOND_NS))
    assert delays[0] == 100
    assert all(later in {2 * earlier, 60_000} for earlier, later in pairwise(delays))
    assert restarts.next_delay_ms(60_000, 10 * SECOND_NS) == 100


@pytest.mark.parametrize(
    "policy",
    [
        RestartPolicy(name="sometimes"),
        RestartPolicy(name="always", maximum_retry_count=1),
        RestartPolicy(name="on-failure", maximum_retry_count=-1),
    ],
)
def test_impossible_policies_are_refused(policy):
    with pytest.raises(InvalidRequest):
        restarts.check_policy(policy, auto_remove=False)


@pytest.mark.parametrize("status", Status)
@pytest.mark.parametrize("move", Move)
def test_every_move_from_every_status_is_decided(status, move):
    """Each pair leads to a status or to a refusal with words; nothing is left open."""
    words = ""
    try:
        led_to = after(status, move, name="web", container_id="a" * 64)
    except DockerlabError as refusal:
        led_to, words = None, refusal.message
    assert isinstance(led_to, Status) or words


def test_the_refusals_clients_know():
    with pytest.raises(AlreadyDone):
        after(Status.RUNNING, Move.START, name="web", container_id="a")
    with pytest.raises(Conflict, match="cannot start a paused container, try unpause instead"):
        after(Status.PAUSED, Move.START, name="web", container_id="a")
    with pytest.raises(Conflict, match='cannot remove container "web": container is running'):
        after(Status.RUNNING, Move.REMOVE, name="web", container_id="a")
