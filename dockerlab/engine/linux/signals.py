"""Signals by name, as `docker kill` takes them.

Knows:   names with and without SIG, numbers, real-time signals by offset.
Refuses: to send any; only a container's shim does.
Source:  man 7 signal; moby/sys/signal.
"""

from __future__ import annotations

import re
import signal

from dockerlab.errors import InvalidRequest

_REAL_TIME = re.compile(r"^RT(MIN|MAX)(?:([+-])(\d+))?$")
_OLD_NAMES = {"CLD": signal.SIGCHLD, "POLL": signal.SIGIO, "IOT": signal.SIGABRT}


def signal_number(text: str) -> int:
    """Read a signal: "SIGTERM", "term", "15" or "RTMIN+3".

    Raises:
        InvalidRequest: Linux has no such signal.
    """
    if text.isdigit():
        number = int(text)
        if 0 < number <= signal.SIGRTMAX:
            return number
        raise _unknown(text)
    name = text.upper().removeprefix("SIG")
    if name in _OLD_NAMES:
        return _OLD_NAMES[name]
    if found := _REAL_TIME.match(name):
        base = signal.SIGRTMIN if found[1] == "MIN" else signal.SIGRTMAX
        number = base + int(f"{found[2] or '+'}{found[3] or 0}")
        if signal.SIGRTMIN <= number <= signal.SIGRTMAX:
            return number
        raise _unknown(text)
    try:
        return signal.Signals[f"SIG{name}"]
    except KeyError:
        raise _unknown(text) from None


def _unknown(text: str) -> InvalidRequest:
    return InvalidRequest(f"invalid signal: {text}", hint="A name such as SIGTERM, or a number.")
