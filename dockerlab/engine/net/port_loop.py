"""The port helper's event loop: one epoll, one function per descriptor.

Knows:   epoll, and that a descriptor nobody wants anything from must not be watched at all.
Refuses: time beyond "look again after"; anything heavy.
Source:  man 7 epoll: EPOLLHUP and EPOLLERR come unasked, again and again.
"""

from __future__ import annotations

import contextlib
import select
from collections.abc import Callable

IN, OUT = select.EPOLLIN, select.EPOLLOUT

_SWEEP_EVERY_S = 10.0


class Loop:
    """Calls the function of each descriptor that something happened to."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._functions: dict[int, Callable[[int], None]] = {}
        self._swept_s = 0.0
        self.sweepers: list[Callable[[float], None]] = []

    def watch(self, descriptor: int, events: int, function: Callable[[int], None]) -> None:
        """Watch for these events; for none, stop watching."""
        if not events:
            self.forget(descriptor)
        elif descriptor in self._functions:
            self._epoll.modify(descriptor, events)
            self._functions[descriptor] = function
        else:
            self._epoll.register(descriptor, events)
            self._functions[descriptor] = function

    def forget(self, descriptor: int) -> None:
        """Stop watching; before the descriptor is closed. Twice is fine."""
        if self._functions.pop(descriptor, None) is not None:
            with contextlib.suppress(OSError):
                self._epoll.unregister(descriptor)

    def wait(self, timeout_s: float) -> None:
        """Serve what happens next, or return after a while when nothing does."""
        for descriptor, mask in self._epoll.poll(timeout_s):
            # An earlier function of this round may have let go of it.
            function = self._functions.get(descriptor)
            if function is not None:
                function(mask)

    def sweep(self, now_s: float) -> None:
        """Let those who keep something for a while look through it, now and then."""
        if now_s - self._swept_s >= _SWEEP_EVERY_S:
            self._swept_s = now_s
            for sweeper in self.sweepers:
                sweeper(now_s)
