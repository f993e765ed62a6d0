"""Events: what is remembered, who gets what, who is dropped."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable

import pytest

from dockerlab.engine.api.system import event_document
from dockerlab.engine.model.events import Event
from dockerlab.engine.services.events import MAX_BEHIND, REMEMBERED, Events, matches
from dockerlab.wire.filters import Filters


def run(case: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(case())  # type: ignore[arg-type]


def test_live_in_order_and_replay_from_memory() -> None:
    async def case() -> None:
        events = Events()
        reader = events.subscribe()
        for number in range(REMEMBERED + 10):
            events.emit("container", "start", str(number), {})
        late = events.subscribe(since_ns=1)
        events.close()
        assert [event.actor_id for event in [e async for e in reader]] == [
            str(number) for number in range(REMEMBERED + 10)
        ]
        assert (await anext(aiter(late))).actor_id == "10"
        assert events.listeners == 0

    run(case)


def test_until_ends_a_stream() -> None:
    async def case() -> None:
        events = Events()
        events.emit("container", "start", "a", {})
        past = [e async for e in events.subscribe(since_ns=1, until_ns=time.time_ns())]
        assert [event.actor_id for event in past] == ["a"]
        began = time.monotonic()
        soon = events.subscribe(until_ns=time.time_ns() + 50_000_000)
        assert [event async for event in soon] == []
        assert 0.04 < time.monotonic() - began < 5

    run(case)


def test_a_reader_that_does_not_read_is_dropped_not_waited_for() -> None:
    async def case() -> None:
        events = Events()
        reader = events.subscribe()
        for _ in range(MAX_BEHIND + 1):
            events.emit("container", "start", "a", {})
        assert events.listeners == 0
        assert [event async for event in reader] == []

    run(case)


def test_a_reader_that_never_began_is_forgotten() -> None:
    async def case() -> None:
        events = Events()
        events.subscribe()
        gc.collect()
        assert events.listeners == 0

    run(case)


DIED = Event(
    kind="container",
    action="die",
    actor_id="0123456789abcdef",
    time_ns=1,
    attributes={"name": "web", "image": "nginx:1.27", "app": "shop", "tier": "front"},
)
HEALTHY = Event(kind="container", action="health_status: healthy", actor_id="f00", time_ns=1)
TAGGED = Event(
    kind="image", action="tag", actor_id="sha256:12", time_ns=1, attributes={"name": "nginx:1.27"}
)


@pytest.mark.parametrize(
    ("event", "filters", "expected"),
    [
        (DIED, {}, True),
        (DIED, {"event": ["start", "die"]}, True),
        (DIED, {"event": ["start"]}, False),
        (DIED, {"event": ["die"], "type": ["image"]}, False),
        (DIED, {"container": ["web"]}, True),
        (DIED, {"container": ["0123456"]}, True),
        (DIED, {"container": ["other"]}, False),
        (DIED, {"image": ["nginx"]}, True),
        (DIED, {"image": ["nginx:1.27"]}, True),
        (DIED, {"image": ["redis"]}, False),
        (DIED, {"label": ["app", "tier=front"]}, True),
        (DIED, {"label": ["app=shop", "tier=back"]}, False),
        (DIED, {"scope": ["swarm"]}, False),
        (HEALTHY, {"event": ["health_status"]}, True),
        (HEALTHY, {"event": ["health"]}, False),
        (TAGGED, {"image": ["nginx"]}, True),
        (TAGGED, {"type": ["image"]}, True),
    ],
)
def test_filters(event: Event, filters: dict[str, list[str]], expected: bool) -> None:
    assert matches(event, Filters(filters)) is expected


def test_documents_keep_the_fields_of_old() -> None:
    assert event_document(DIED) == {
        "status": "die",
        "id": "0123456789abcdef",
        "from": "nginx:1.27",
        "Type": "container",
        "Action": "die",
        "Actor": {"ID": "0123456789abcdef", "Attributes": dict(DIED.attributes)},
        "scope": "local",
        "time": 0,
        "timeNano": 1,
    }
