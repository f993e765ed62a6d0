"""The shim's event loop: one epoll, one function per descriptor.

Knows:   epoll. Refuses: time and threads; anything heavy.
Source:  man 7 epoll.
"""

from __future__ import annotations

import select
from collections.abc import Callable

IN, OUT, HUP, ERR = select.EPOLLIN, select.EPOLLOUT, select.EPOLLHUP, select.EPOLLERR


class Poller:
    """Calls the function of each descriptor that something happened to."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._functions: dict[int, Callable[[int], None]] = {}

    def watch(self, descriptor: int, events: int, function: Callable[[int], None]) -> None:
        """Start watching, or watch for other events."""
        if descriptor in self._functions:
            self._epoll.modify(descriptor, events)
        else:
            self._epoll.register(descriptor, events)
        self._functions[descriptor] = function

    def forget(self, descriptor: int) -> None:
        """Stop watching; must come before the descriptor is closed. Twice is fine."""
        if self._functions.pop(descriptor, None) is not None:
            self._epoll.unregister(descriptor)

    def wait(self, timeout_s: float) -> bool:
        """Serve what happens next; False when nothing did in time. Negative waits for ever."""
        events = self._epoll.poll(timeout_s)
        for descriptor, mask in events:
            function = self._functions.get(descriptor)
            if function is not None:  # an earlier function of this round may have let go of it
                function(mask)
        return bool(events)
