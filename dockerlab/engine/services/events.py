"""Spread events: the last 256 are remembered, every subscriber gets the rest in order.

Knows:   Docker's matching rules for event filters; that a slow reader is dropped, not waited for.
Refuses: to decide when something is worth an event.
Source:  moby daemon/events/{events,filter}.go.
"""

from __future__ import annotations

import asyncio
import time
import weakref
from collections import deque
from collections.abc import AsyncIterator, Mapping

from dockerlab.engine.model.events import Event
from dockerlab.wire.filters import Filters

REMEMBERED = 256
# A reader this far behind does not read; its connection ends instead of our memory.
MAX_BEHIND = 16384

_FUZZY_ACTIONS = frozenset({"health_status", "exec_create", "exec_start"})


class Subscription:
    """One reader's events; iterate, and `close` in the end."""

    def __init__(self, owner: Events, filters: Filters, until_ns: int) -> None:
        self._owner = owner
        self._filters = filters
        self._until_ns = until_ns
        self._waiting: deque[Event] = deque()
        self._arrived = asyncio.Event()
        self._closed = False

    def offer(self, event: Event) -> None:
        """Add an event, if the reader wants it."""
        if self._closed or (self._until_ns and event.time_ns > self._until_ns):
            return
        if not matches(event, self._filters):
            return
        if len(self._waiting) >= MAX_BEHIND:
            self._waiting.clear()
            self.close()
            return
        self._waiting.append(event)
        self._arrived.set()

    def close(self) -> None:
        """No more events; the iteration ends after what is waiting."""
        self._closed = True
        self._arrived.set()
        self._owner.forget(self)

    async def __aiter__(self) -> AsyncIterator[Event]:
        """Give events as they come, until `until` or `close`."""
        try:
            while True:
                while self._waiting:
                    yield self._waiting.popleft()
                if self._closed or not await self._more():
                    break
        finally:
            self.close()

    async def _more(self) -> bool:
        self._arrived.clear()
        left_s = (self._until_ns - time.time_ns()) / 1e9 if self._until_ns else None
        if left_s is not None and left_s <= 0:
            return False
        try:
            async with asyncio.timeout(left_s):
                await self._arrived.wait()
        except TimeoutError:
            return bool(self._waiting)
        return True


class Events:
    """The engine's stream of events; used from the loop's thread only."""

    def __init__(self) -> None:
        self._last: deque[Event] = deque(maxlen=REMEMBERED)
        # Weak: a reader that went away before its first event is simply gone.
        self._subscriptions: weakref.WeakSet[Subscription] = weakref.WeakSet()

    @property
    def listeners(self) -> int:
        """How many read right now."""
        return len(self._subscriptions)

    def emit(self, kind: str, action: str, actor_id: str, attributes: Mapping[str, str]) -> None:
        """Tell everybody who wants to know."""
        event = Event(
            kind=kind,
            action=action,
            actor_id=actor_id,
            time_ns=time.time_ns(),
            attributes=dict(attributes),
        )
        self._last.append(event)
        for subscription in tuple(self._subscriptions):
            subscription.offer(event)

    def subscribe(
        self, *, since_ns: int = 0, until_ns: int = 0, filters: Filters | None = None
    ) -> Subscription:
        """Begin to listen: from now on nothing is missed, even before the first is asked for.

        Args:
            since_ns: replay what is remembered from there on; 0 replays nothing.
            until_ns: end there; 0 never.
            filters: as the API has them.
        """
        subscription = Subscription(self, filters or Filters(), until_ns)
        if since_ns:
            for event in self._last:
                if event.time_ns >= since_ns:
                    subscription.offer(event)
        self._subscriptions.add(subscription)
        return subscription

    def forget(self, subscription: Subscription) -> None:
        """A reader is gone."""
        self._subscriptions.discard(subscription)

    def close(self) -> None:
        """End every reader's stream."""
        for subscription in tuple(self._subscriptions):
            subscription.close()


def matches(event: Event, filters: Filters) -> bool:
    """Whether an event passes: any value of a key, all keys, all labels."""
    if not filters:
        return True
    return (
        _matches_action(event, filters)
        and filters.exact("type", event.kind)
        and filters.exact("scope", "local")
        and all(
            filters.prefix(key, event.actor_id, event.attributes.get("name", ""))
            for key in ("container", "volume", "network", "daemon", "plugin", "builder")
        )
        and _matches_image(event, filters)
        and filters.labels(event.attributes)
    )


def _matches_action(event: Event, filters: Filters) -> bool:
    if _FUZZY_ACTIONS.intersection(filters.get("event")):
        return filters.prefix("event", event.action)
    return filters.exact("event", event.action)


def _matches_image(event: Event, filters: Filters) -> bool:
    name = event.attributes.get("name" if event.kind == "image" else "image", "")
    return filters.exact(
        "image", event.actor_id, name, _without_tag(event.actor_id), _without_tag(name)
    )


def _without_tag(name: str) -> str:
    head, colon, tag = name.rpartition(":")
    return head if colon and "/" not in tag else name
